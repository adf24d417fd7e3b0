"""``ptycho doctor``: what this machine and installation have, and what is slow or missing."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

import typer

from ptycho_cli.cli.common_options import AsJson, NoPlugin, load_plugins_without
from ptycho_cli.cli.output import print_json
from ptycho_cli.errors import TrainingError
from ptycho_cli.render.console import print_text


def command(
    fast: Annotated[bool, typer.Option("--fast", help="Leave out torch and its devices.")] = False,
    as_json: AsJson = False,
    no_plugin: NoPlugin = None,
) -> None:
    """Check versions, devices, threads, HDF5 filters, disks and plugins; say what is slow or missing, and the way out.

    Exit code 3 if something is missing. Attach the output to a question.
    """
    from ptycho_cli.system_check import check_system

    checks, found = check_system(load_plugins_without(no_plugin), with_torch=not fast)
    missing = [check for check in checks if check.state == "missing"]
    if as_json:
        print_json({"ok": not missing, "checks": [asdict(check) for check in checks], **found})
    else:
        from ptycho_cli.render.finding_lines import columns
        from ptycho_cli.render.system_lines import system_lines

        print_text(*system_lines(checks, columns(sys.stdout)))
    if missing:
        raise typer.Exit(TrainingError.exit_code)
