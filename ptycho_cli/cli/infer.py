"""``ptycho infer``: reconstruct a scan with a trained run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Force, Quiet, RunFolder, Strict
from ptycho_cli.cli.options import settings_options
from ptycho_cli.cli.output import print_json, refuse_unwritable, report_verdict
from ptycho_cli.cli.scan_report import report_scans, scans_as_json
from ptycho_cli.errors import ConfigError
from ptycho_cli.render.diagnostics import print_warnings

if TYPE_CHECKING:
    from ptycho_cli.config.provenance import Resolved
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.extend.host import Host


@settings_options("infer")
def command(
    ctx: typer.Context,
    run: RunFolder,
    output: Annotated[
        Path | None,
        typer.Option("-o", "--output", metavar="FILE", help="HDF5 file to write, and beside it the picture as .png."),
    ] = None,
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
    from ptycho_cli.training.run_record import read_record

    record = read_record(run)
    resolved, host = read_settings(ctx, command="infer", checkpoint=(record["config"], str(run))).accepted()
    one_scan(resolved, f"ptycho infer {run} scan.h5")
    if output is None:
        raise ConfigError("-o: no file for the reconstruction.", hint="Name one, such as -o object.h5")
    _check_output(output, force=force, uncertainty=resolved.config.inference.uncertainty)
    if resolved.config.physics.refine_positions:
        from ptycho_cli.render.position_shift_figure import position_figure_path

        refuse_unwritable(position_figure_path(output), force=force)
    silent = quiet or as_json
    scans = report_scans(lambda: _scans(resolved, host, quiet=silent), quiet=quiet, as_json=as_json)
    known = scans_as_json(scans)
    if not (quiet or as_json):
        from ptycho_cli.render.settings_table import print_settings

        print_settings(resolved, training=False)

    from ptycho_cli.render.live_display import LiveDisplay

    with LiveDisplay(quiet=quiet or as_json) as display:
        from ptycho_cli.config.serialize import resolved_to_json
        from ptycho_cli.workflows import infer_resolved

        scan, inferred = infer_resolved(resolved, host, run, progress=display.progress)
        display.progress("writing", 0, 0)
        from ptycho_cli.inference.results import scores, write_result

        polish, verdict = inferred.polish, inferred.verdict.as_json() if inferred.verdict else None
        made = {"verdict": verdict, "reconstruction": {**resolved_to_json(resolved), "auto": polish.auto}}
        stored = {**record, **made}
        pictures = write_result(inferred.result, output, stored, title=Path(scan.source).name, force=force)
        fit = scores(inferred.result, scan)
    summary = {
        "object": str(output),
        "picture": str(pictures[0]),
        **({"uncertainty_picture": str(pictures[1])} if len(pictures) > 1 else {}),
        "reconstruction_cpu_s": inferred.cpu_s,
        "reconstruction_s": inferred.wall_s,
        **({} if inferred.uncertainty_cpu_s is None else {"uncertainty_cpu_s": inferred.uncertainty_cpu_s}),
        "verdict_cpu_s": inferred.verdict_cpu_s,
        "polish": polish.iterations,
        **fit,
        **known,
        "notes": list(inferred.notes),
        "warnings": list(inferred.warnings),
        "verdict": verdict,
    }
    print_warnings(inferred.warnings)
    if as_json:
        print_json(summary)
    elif not quiet:
        from ptycho_cli.render.result_summary import print_inferred

        print_inferred(summary)
    report_verdict(verdict, as_json=as_json, quiet=quiet, strict=strict)


def _scans(resolved: Resolved, host: Host, *, quiet: bool) -> tuple[Scan, ...]:
    """Read the scan, and keep it for the reconstruction."""
    from ptycho_cli.assembly.scans import keep_scans
    from ptycho_cli.render.live_display import LiveDisplay

    with LiveDisplay(quiet=quiet) as display:
        return keep_scans(resolved.config.data.paths[:1], resolved.config, host.readers, display.progress)


def _check_output(output: Path, *, force: bool, uncertainty: bool) -> None:
    refuse_unwritable(output, force=force, hdf5=True)
    refuse_unwritable(output.with_suffix(".png"), force=force)
    if uncertainty:
        from ptycho_cli.render.uncertainty_figure import uncertainty_figure_path

        refuse_unwritable(uncertainty_figure_path(output), force=force)
