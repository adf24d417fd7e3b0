"""``ptycho infer``: reconstruct a scan with a trained run."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Force, Quiet, RunFolder, Strict
from ptycho_cli.cli.options import settings_options
from ptycho_cli.cli.reconstruction_output import OutputFile, check_output, report_reconstruction, write_inferred
from ptycho_cli.cli.scan_report import report_scans, scans_as_json

if TYPE_CHECKING:
    from ptycho_cli.config.provenance import Resolved
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.extend.host import Host
    from ptycho_cli.training.distributed import ProcessInfo


@settings_options("infer")
def command(
    ctx: typer.Context,
    run: RunFolder,
    output: OutputFile = None,
    force: Force = False,
    strict: Strict = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Reconstruct a whole scan with a trained network, in seconds.

    Uses the refined probe of the run, scaled to the photons of the scan. Writes object, probe, coverage and the
    residual of each frame to an HDF5 file, and a picture. With --uncertainty, it also measures the errors: spread
    and ring correlation of two reconstructions from half of the frames each, and the deviance of held-out frames.
    """
    from ptycho_cli.cli.settings import one_scan, read_settings
    from ptycho_cli.training.distributed import process_info
    from ptycho_cli.training.run_record import read_record

    record = read_record(run)
    resolved, host = read_settings(ctx, command="infer", checkpoint=(record["config"], str(run))).accepted()
    one_scan(resolved, f"ptycho infer {run} scan.h5")
    output = check_output(output, resolved.config, force=force)
    process = process_info(resolved.config.execution)
    if process.rank > 0:
        quiet, as_json = True, False
    silent = quiet or as_json
    report_scans(lambda: _scans(resolved, host, quiet=silent), quiet=quiet, as_json=as_json)
    if not (quiet or as_json):
        from ptycho_cli.render.settings_table import print_settings

        print_settings(resolved, training=False)

    from ptycho_cli.render.live_display import LiveDisplay

    with _ranks(ctx, resolved, process) as process, LiveDisplay(quiet=quiet or as_json) as display:
        from ptycho_cli.config.serialize import resolved_to_json
        from ptycho_cli.inference_workflows import infer_resolved

        scan, found = infer_resolved(resolved, host, run, progress=display.progress, process=process)
        if process.rank > 0:
            return
        display.progress("writing", 0, 0)
        made = {"reconstruction": {**resolved_to_json(resolved), "auto": found.polish.auto}}
        summary = write_inferred(found, scan, output, {**record, **made}, resolved.config, force=force)
    report_reconstruction(summary | scans_as_json((scan,)), quiet=quiet, as_json=as_json, strict=strict)


def _ranks(ctx: typer.Context, resolved: Resolved, process: ProcessInfo) -> AbstractContextManager[ProcessInfo]:
    """Start the other ranks, where no launcher has."""
    if process.launched:
        return nullcontext(process)
    from ptycho_cli.assembly.device import refuse_too_many_devices
    from ptycho_cli.cli.local_ranks import other_ranks
    from ptycho_cli.cli.typer_command import all_arguments

    refuse_too_many_devices(resolved.config.execution)
    return other_ranks(process, resolved.config.execution.devices, all_arguments(ctx))


def _scans(resolved: Resolved, host: Host, *, quiet: bool) -> tuple[Scan, ...]:
    """Read the scan, and keep it for the reconstruction."""
    from ptycho_cli.assembly.scans import keep_scans
    from ptycho_cli.render.live_display import LiveDisplay

    with LiveDisplay(quiet=quiet) as display:
        return keep_scans(resolved.config.data.paths[:1], resolved.config, host.readers, display.progress)
