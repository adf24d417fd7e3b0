"""``python -m ptycho_cli``: the same as ``ptycho``."""

import sys

from ptycho_cli.cli.app import main

sys.exit(main())
