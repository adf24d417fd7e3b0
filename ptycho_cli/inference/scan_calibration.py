"""Calibration of a scan for a trained run: what the run found of it, or what is found now by the same settings."""

from __future__ import annotations

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.calibration_settings import calibration_options
from ptycho_cli.assembly.group_loaders import real_type
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.pipeline import correction_search
from ptycho_cli.calibration.position_refinement import with_positions
from ptycho_cli.calibration.position_search import refine_positions
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.progress_callback import StageProgress, stage_progress


def calibrated(
    objective: Objective, config: Config, scan: Scan, training_scan: int | None, progress: StageProgress | None = None
) -> Scan:
    """The scan with its frame intensities, background and refined positions.

    Args:
        objective: Network and probe of the run, and what it found of its training scans.
        config: Settings of the run.
        scan: The scan.
        training_scan: Its number among the scans that the run was trained on; None if it was not.
        progress: Called with (stage, steps done, steps at most).
    """
    update = update_for(config.physics, scan)
    options = calibration_options(config.physics, update, seed=config.training.seed, dtype=real_type(config.execution))
    search = correction_search(options, stage_progress(progress, "intensities and background"))
    known = objective.corrected(scan, training_scan)
    scan = search.find(scan, objective.probe_for(scan)) if known is None else known
    if not options.refine_positions:
        return scan
    positions = objective.positions_for(scan, training_scan)
    if positions is not None:
        return with_positions(scan, positions.double().cpu().numpy())
    found = refine_positions(
        scan,
        objective.probe_for(scan),
        update=options.update,
        max_shift_px=options.max_position_shift_px,
        seed=options.seed,
        progress=stage_progress(progress, "refining positions"),
    )
    scan = with_positions(scan, found)
    return search.find(scan, objective.probe_for(scan)) if known is None else scan
