"""The program ``ptycho``, also as ``python -m ptycho_cli``."""

import gc
import sys


def main() -> int:
    """Run the program and return its exit code.

    While it starts, hardly anything becomes garbage, and looking for it takes a tenth of the time; ``cli.app``
    turns the search on again before a command computes.
    """
    gc.disable()
    from ptycho_cli.cli.app import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
