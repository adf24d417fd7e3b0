"""``ptycho reconstruct``: reconstruct a scan without training."""

from __future__ import annotations

from typing import Any

import typer

from ptycho_cli.cli.common_options import AsJson, Force, Quiet, Strict
from ptycho_cli.cli.options import settings_options
from ptycho_cli.cli.reconstruction_output import OutputFile, check_output, report_reconstruction, write_inferred
from ptycho_cli.cli.scan_report import report_scans, scans_as_json, training_scans


@settings_options("reconstruct")
def command(
    ctx: typer.Context,
    output: OutputFile = None,
    force: Force = False,
    strict: Strict = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Reconstruct a whole scan without training.

    Finds the probe and what else the scan needs as `ptycho train` does. Held-out frames then decide between the
    weights that come with this program and physics alone, and on the iterations of polish. Writes object, probe,
    coverage and the residual of each frame to an HDF5 file, and a picture.
    """
    from ptycho_cli.cli.settings import one_scan, read_settings

    resolved, host = read_settings(ctx, command="reconstruct").accepted()
    one_scan(resolved, "ptycho reconstruct scan.h5 -o object.h5")
    output = check_output(output, resolved.config, force=force)
    report_scans(lambda: training_scans(resolved, host), quiet=quiet, as_json=as_json)
    if not (quiet or as_json):
        from ptycho_cli.render.settings_table import print_settings

        print_settings(resolved, training=False)

    from ptycho_cli.render.live_display import LiveDisplay

    with LiveDisplay(quiet=quiet or as_json) as display:
        from ptycho_cli.inference_workflows import reconstruct_resolved

        scan, found, record = reconstruct_resolved(resolved, host, progress=display.progress)
        display.progress("writing", 0, 0)
        summary = write_inferred(found, scan, output, record, resolved.config, force=force)
    report_reconstruction(summary | scans_as_json((scan,)), quiet=quiet, as_json=as_json, strict=strict)
