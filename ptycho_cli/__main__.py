"""The program ``ptycho``, also as ``python -m ptycho_cli``."""

import gc
import sys


def main() -> int:
    """Run the program and return its exit code.

    Garbage collection is off while the program starts, when there is almost no garbage: it takes a tenth of that time.
    ``cli.typer_command`` switches it on before a command computes.
    """
    gc.disable()
    from ptycho_cli.cli.app import main as run

    return run()


if __name__ == "__main__":
    sys.exit(main())
