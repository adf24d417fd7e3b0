"""What commands share about results: where they may go, and how they look as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import typer

from ptycho_cli.config.paths import unwritable_file
from ptycho_cli.config.serialize import json_text
from ptycho_cli.errors import OutputError


def refuse_unwritable(path: Path, *, force: bool) -> None:
    """Raise ``OutputError`` if a file cannot be written; asked before the work whose result it is to hold."""
    if (reason := unwritable_file(str(path), force=force)) is not None:
        raise OutputError(f"{path}: {reason[0]}.", hint=reason[1])


def print_json(report: Any) -> None:
    """Print a report to standard output."""
    typer.echo(json_text(report))
