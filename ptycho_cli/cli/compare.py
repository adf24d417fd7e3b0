"""``ptycho compare``: a trained network and physics-only reconstructions of one scan, scored side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Force, Quiet, References, RunFolder
from ptycho_cli.cli.options import settings_options
from ptycho_cli.errors import ConfigError, OutputError
from ptycho_cli.render.console import print_text
from ptycho_cli.render.diagnostics import print_warnings

OutputFolder = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FOLDER", help="Folder for the table and the picture.")
]


@settings_options("infer", without=("inference.untrained", "execution.devices"))
def command(
    ctx: typer.Context,
    run: RunFolder,
    output: OutputFolder = None,
    reference: References = None,
    force: Force = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Compare a trained network with physics-only reconstructions of one scan.

    Reconstructs the scan with the network, with the same network without its CNN, and with the best physics-only
    iterations (up to 128, with the best regularisation), each with and without polish. Scores them side by side,
    with other reconstructions if you give any. With --uncertainty, also the ring correlation of half the frames.
    """
    from ptycho_cli.cli.settings import one_scan, read_settings
    from ptycho_cli.training.run_record import read_record

    record = read_record(run)
    resolved, host = read_settings(ctx, command="infer", checkpoint=(record["config"], str(run))).accepted()
    scan_path = one_scan(resolved, f"ptycho compare {run} scan.h5")
    if (devices := resolved.config.execution.devices) > 1:
        raise ConfigError(f"execution.devices is {devices}, but a comparison runs on one.", hint="Leave it out.")
    if output is None:
        raise ConfigError("-o: no folder for the comparison.", hint="Name one, such as -o comparison")
    _check_folder(output, force=force)
    if not (quiet or as_json):
        from ptycho_cli.render.settings_table import print_settings

        print_settings(resolved, training=False)

    from ptycho_cli.render.live_display import LiveDisplay

    with LiveDisplay(quiet=quiet or as_json) as display:
        from ptycho_cli.inference_workflows import compare_resolved

        others = tuple(reference or ())
        rows, picture, warnings = compare_resolved(resolved, host, run, output, others, progress=display.progress)
    print_warnings(warnings)
    if as_json:
        from ptycho_cli.cli.output import print_json

        print_json({"picture": str(picture), "table": str(output / "compare.csv"), "reconstructions": rows})
    elif not quiet:
        from ptycho_cli.render.comparison_table import print_comparison

        print_comparison(rows, f"{Path(scan_path).name}, reconstructed with {run}")
        print_text(f"table:   {output / 'compare.csv'}")
        print_text(f"picture: {picture}")


def _check_folder(folder: Path, *, force: bool) -> None:
    from ptycho_cli.config.paths import unwritable_folder

    if (reason := unwritable_folder(str(folder), force=force)) is not None:
        raise OutputError(f"{folder}: {reason[0]}.", hint=reason[1])
