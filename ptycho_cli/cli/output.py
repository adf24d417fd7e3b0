"""Checks of output files, and results as JSON, for all commands."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import typer

from ptycho_cli.cli.report_stream import print_report
from ptycho_cli.config.paths import unwritable_file
from ptycho_cli.config.serialize import json_text
from ptycho_cli.errors import OutputError, TrainingError


def refuse_unwritable(path: Path, *, force: bool, hdf5: bool = False) -> None:
    """Refuse an output file before any work is done for it.

    Args:
        path: The file.
        force: It may be overwritten.
        hdf5: It will be an HDF5 file, and must be named like one.

    Raises:
        OutputError: If it cannot be written.
    """
    if hdf5 and path.suffix not in {".h5", ".hdf5"}:
        name = path.with_suffix(".h5") if path.name else "scan.h5"
        raise OutputError(f"{path}: expected a name that ends in .h5 or .hdf5.", hint=f"Try -o {name}")
    if (reason := unwritable_file(str(path), force=force)) is not None:
        raise OutputError(f"{path}: {reason[0]}.", hint=reason[1])


def report_verdict(verdict: Mapping[str, Any] | None, *, as_json: bool, quiet: bool, strict: bool) -> None:
    """Print a verdict as the last lines of a command; with ``strict``, end with exit code 3 if it is a warning.

    Args:
        verdict: The verdict as ``run.json`` holds it; None if there is none.
        as_json: The command printed it as JSON.
        quiet: Print only a warning.
        strict: Whether an unexplained scan is a failure.
    """
    if verdict is None:
        return
    if not as_json:
        from ptycho_cli.render.verdict_lines import print_verdict

        print_verdict(verdict, quiet=quiet)
    if strict and not verdict["explained"]:
        raise typer.Exit(TrainingError.exit_code)


def print_json(report: Any) -> None:
    """Print a report to standard output."""
    print_report(json_text(report))
