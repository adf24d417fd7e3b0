"""Options that several commands have, and the plugins that are left after ``--no-plugin``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptycho_cli.cli.completion import plugins

if TYPE_CHECKING:
    from ptycho_cli.extend.host import Host

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only warnings and errors.")]
Force = Annotated[bool, typer.Option("--force", help="Overwrite existing output.")]
Strict = Annotated[
    bool, typer.Option("--strict", help="End with exit code 3 if the model does not explain the frames.")
]
RunFolder = Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a trained run.")]
References = Annotated[
    list[str] | None,
    typer.Option("--reference", metavar="FILE[:NAME]", help="Another reconstruction of the scan; repeatable."),
]
NoPlugin = Annotated[
    list[str] | None,
    typer.Option(
        "--no-plugin",
        metavar="NAME",
        help="Do not load this plugin; repeatable.",
        autocompletion=plugins,
    ),
]


def load_plugins_without(names: list[str] | None) -> Host:
    """Load the installed plugins but those named, and print warnings about them."""
    from ptycho_cli.extend.host import load_plugins
    from ptycho_cli.render.diagnostics import print_warnings

    host = load_plugins(names or ())
    print_warnings(host.warnings)
    return host
