"""``ptycho report``: a page on a run or a reconstruction, or a table of many."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptycho_cli.cli.common_options import AsJson, Force, Quiet
from ptycho_cli.cli.output import print_json, report_verdict
from ptycho_cli.render.console import print_text


def command(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN|RESULT...", help="Folders of runs, or files of reconstructions.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="Page to write; by default beside what it is about."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a page on a run or a reconstruction: one HTML file to open in a browser, print or send.

    It has the verdict, pictures, curves, findings, settings with their origin, versions, and the commands that
    repeat it, and loads nothing from elsewhere.
    """
    from ptycho_cli.reporting.run_page import write_report

    path = output or _beside(sources[0])
    verdict = write_report(sources[0], path, force=force).verdict
    if as_json:
        print_json({"report": str(path), "verdict": verdict})
    elif not quiet:
        print_text(f"report:  {path}")
    report_verdict(verdict, as_json=as_json, quiet=quiet, strict=False)


def _beside(source: Path) -> Path:
    """Default name of the page on a run or a reconstruction."""
    return source / "report.html" if source.is_dir() else source.with_name(f"{source.stem}-report.html")
