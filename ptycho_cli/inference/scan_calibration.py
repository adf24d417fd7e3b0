"""Calibration of a scan for a trained run: what the run found of it, or what is found now by the same settings.

Everything is found with the probe that reconstructs the scan.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.calibration_settings import calibration_options
from ptycho_cli.assembly.group_loaders import real_type
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.geometry_check import GeometryCheck
from ptycho_cli.calibration.misfit_frames import without_misfits
from ptycho_cli.calibration.pipeline import corrected
from ptycho_cli.calibration.position_refinement import with_positions
from ptycho_cli.calibration.position_search import refine_positions
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.scan_probe import probe_mismatch, with_scan_probe
from ptycho_cli.progress_callback import StageProgress, stage_progress


@dataclass(frozen=True, eq=False)
class CalibratedScan:
    """A scan that is ready to be reconstructed, and the network with the probe to do it.

    Attributes:
        objective: The network, with the probe of the run or of the scan.
        scan: The scan with its frame intensities, background and refined positions.
        notes: Messages about the probe.
        warnings: Messages about a probe that does not explain the scan, and about another version of a plugin.
        cpu_s: CPU seconds that this took.
        wall_s: Seconds that this took.
        probe_fits: False if another probe explains the scan much better.
    """

    objective: Objective
    scan: Scan
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    cpu_s: float
    wall_s: float
    probe_fits: bool = True


def calibrate_for_run(
    objective: Objective, config: Config, scan: Scan, training_scan: int | None, progress: StageProgress | None = None,
    *, warnings: tuple[str, ...] = (),
) -> CalibratedScan:  # fmt: skip
    """Choose the probe of a scan and calibrate the scan with it.

    Args:
        objective: Network and probe of a run.
        config: Settings of the run and of ``inference``.
        scan: The scan.
        training_scan: Its number among the scans that the run was trained on; None if it was not.
        progress: Called with (stage, steps done, steps at most).
        warnings: Messages about the run, to which one about its probe is added.

    Raises:
        CheckpointError: If the scan's frames are not of the size that the run was trained on.
    """
    cpu, wall = time.process_time(), time.perf_counter()
    note, warning, as_read = "", None, scan
    refined, seed = config.physics.refine_positions is True, config.training.seed
    judged = partial(without_misfits, keep_moved=refined, seed=seed)
    if config.inference.probe == "scan":
        scan = judged(scan) if training_scan is None else scan
        finding = stage_progress(progress, "finding the probe")
        objective, note = with_scan_probe(objective, config, scan, finding)
        if training_scan is None and scan.probe is None:  # only now can frames be judged
            n_frames, scan = scan.n_frames, judged(scan, probe=objective.probe_for(scan))
            if scan.n_frames < n_frames:
                objective, note = with_scan_probe(objective, config, scan, finding)
        training_scan = None  # what is known of a training scan was found with the run's probe
    elif training_scan is None:
        warning = probe_mismatch(objective, config, scan)
        if warning is None:
            scan = judged(scan, probe=objective.probe_for(scan))
    left_out = [found.message for found in scan.added_to(as_read)]
    if warning is not None:
        config, scan = without_searches(config), replace(scan, geometry_tried=True)
        note = "Intensities, background and geometry are not searched for with a probe that does not explain the scan."
    scan = calibrated(objective, config, scan, training_scan, progress)
    notes, mismatch = (tuple(filter(None, lines)) for lines in ((*left_out, note), (warning,)))
    took = time.process_time() - cpu, time.perf_counter() - wall
    return CalibratedScan(objective, scan, notes, (*warnings, *mismatch), *took, probe_fits=warning is None)


def without_searches(config: Config) -> Config:
    """Settings for a probe that does not explain the scan: what would be found with it would explain its errors."""
    physics = config.physics
    found: dict[str, Any] = {} if physics.refine_intensity == "always" else {"refine_intensity": "never"}
    if physics.background == "auto":
        found["background"] = 0.0
    return config.model_copy(update={"physics": physics.model_copy(update=found)})


def calibrated(
    objective: Objective, config: Config, scan: Scan, training_scan: int | None, progress: StageProgress | None = None
) -> Scan:
    """The scan with its frame intensities, background and refined positions.

    Where intensities or a background would be called for, other geometries are tried first, and reported among the
    scan's findings instead.

    Args:
        objective: The network, the probe to use, and what the run found of its training scans.
        config: Settings of the run.
        scan: The scan.
        training_scan: Its number among the scans that the run was trained on; None if it was not.
        progress: Called with (stage, steps done, steps at most).
    """
    update = update_for(config.physics, scan)
    options = calibration_options(config.physics, update, seed=config.training.seed, dtype=real_type(config.execution))
    trying = stage_progress(progress, "trying other geometries")
    geometry = GeometryCheck(options.seed, options.refine_positions, trying)
    searching = stage_progress(progress, "intensities and background")
    known = objective.corrected(scan, training_scan)
    scan = corrected(scan, objective.probe_for(scan), options, geometry, searching) if known is None else known
    positions = objective.positions_for(scan, training_scan) if options.refine_positions else None
    if positions is not None:
        return with_positions(scan, positions.double().cpu().numpy())
    if not geometry.moves_frames(scan):
        return geometry.with_findings(scan)
    found = refine_positions(
        scan,
        objective.probe_for(scan),
        update=options.update,
        max_shift_px=options.max_position_shift_px,
        seed=options.seed,
        progress=stage_progress(progress, "refining positions"),
    )
    scan = with_positions(scan, found)
    scan = corrected(scan, objective.probe_for(scan), options, geometry, searching) if known is None else scan
    return geometry.with_findings(scan)
