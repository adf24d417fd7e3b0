"""What commands share about results: where they may go, and how they look as JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from ptycho_cli.config.paths import unwritable_file
from ptycho_cli.errors import OutputError


def refuse_unwritable(path: Path, *, force: bool) -> None:
    """Raise ``OutputError`` if a file cannot be written; asked before the work whose result it is to hold."""
    if (reason := unwritable_file(str(path), force=force)) is not None:
        raise OutputError(f"{path}: {reason[0]}.", hint=reason[1])


def print_json(report: Any) -> None:
    """Print a report to standard output; JSON has no NaN and no infinity, so a figure that is one becomes null."""
    typer.echo(json.dumps(_valid(report), indent=2, ensure_ascii=False, allow_nan=False))


def _valid(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _valid(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_valid(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
