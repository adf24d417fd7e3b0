"""``ptycho report``: a page on a run or a reconstruction, a table of many, or an archive for a question."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from ptycho_cli.cli.common_options import AsJson, Force, Quiet, load_plugins_without
from ptycho_cli.cli.output import print_json, report_verdict
from ptycho_cli.errors import ConfigError
from ptycho_cli.render.console import print_text


def command(
    sources: Annotated[
        list[Path], typer.Argument(metavar="RUN|RESULT", help="Folders of runs, or files of reconstructions.")
    ],
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="File to write; by default beside RUN or RESULT."),
    ] = None,
    bundle: Annotated[
        bool,
        typer.Option(
            "--bundle", help="Write a ZIP file for a question: 64 frames, settings, findings; no paths and names."
        ),
    ] = False,
    data: Annotated[
        Path | None, typer.Option("--data", metavar="SCAN", help="Scan for --bundle, where it has moved.")
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write a page on a run or a reconstruction: one HTML file to open in a browser, print or send.

    It has the verdict, pictures, curves, findings, settings with their origin, versions, and the commands that
    repeat it, and loads nothing from elsewhere. Several runs become one table, those that stand out first.
    """
    if data is not None and not bundle:
        raise ConfigError("--data has no effect without --bundle.", hint="Leave it out.")
    if bundle:
        _bundle(sources, output, data, force=force, quiet=quiet, as_json=as_json)
    elif len(sources) > 1:
        _table(sources, output or Path("ptycho-report.html"), force=force, quiet=quiet, as_json=as_json)
    else:
        _page(sources[0], output or _beside(sources[0], "report.html"), force=force, quiet=quiet, as_json=as_json)


def _page(source: Path, path: Path, *, force: bool, quiet: bool, as_json: bool) -> None:
    from ptycho_cli.reporting.run_page import write_report

    verdict = write_report(source, path, force=force).verdict
    if as_json:
        print_json({"report": str(path), "verdict": verdict})
    elif not quiet:
        print_text(f"report: {path}")
    report_verdict(verdict, as_json=as_json, quiet=quiet, strict=False)


def _table(sources: Sequence[Path], path: Path, *, force: bool, quiet: bool, as_json: bool) -> None:
    from ptycho_cli.reporting.page_template import refuse_other_file, write_page
    from ptycho_cli.reporting.run_table import summary_of, table_as_json, table_of, table_page

    refuse_other_file(path, force=force)
    rows = table_of(sources)
    write_page(path, table_page(rows), force=force)
    if as_json:
        print_json({"report": str(path), "summary": summary_of(rows), "runs": table_as_json(rows)})
    elif not quiet:
        print_text(summary_of(rows), *(f"  {row.path}" for row in rows if row.stands_out))
        print_text(f"report: {path}")


def _bundle(
    sources: Sequence[Path], output: Path | None, data: Path | None, *, force: bool, quiet: bool, as_json: bool
) -> None:
    if len(sources) > 1:
        raise ConfigError("--bundle: several runs, expected one.", hint="Write one archive for each of them.")
    from ptycho_cli.reporting.question_bundle import write_bundle
    from ptycho_cli.reporting.report_source import read_source

    path = output or _beside(sources[0], "question.zip")
    readers = load_plugins_without(None).readers
    frames = write_bundle(read_source(sources[0]), path, data=data, readers=readers, force=force)
    if as_json:
        print_json({"bundle": str(path), "frames": frames})
    elif not quiet:
        print_text(f"bundle: {path}, {frames} frames. Look at it before you send it.")


def _beside(source: Path, name: str) -> Path:
    """Default name of a file about a run or a reconstruction."""
    return source / name if source.is_dir() else source.with_name(f"{source.stem}-{name}")
