"""From a trained run and a scan to files and figures."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.build import Assembled
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish, polish_rule
from ptycho_cli.config.schema import Config
from ptycho_cli.data.groups import held_out_frames
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.uncertainty_record import Uncertainty
from ptycho_cli.data.write import write_reconstruction
from ptycho_cli.inference.reconstruct import Result, reconstruct
from ptycho_cli.inference.uncertainty import assess
from ptycho_cli.metrics import report
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.progress_callback import StageProgress
from ptycho_cli.registration import align
from ptycho_cli.render.position_shift_figure import position_figure_path, save_positions_png
from ptycho_cli.render.reconstruction_figure import save_reconstruction_png
from ptycho_cli.render.uncertainty_figure import FrameMap, Rings, save_uncertainty_png, uncertainty_figure_path

HELD_OUT_SHARE = 0.05  # of the frames, where the settings hold out none


@dataclass(frozen=True, eq=False)
class Inferred:
    """A reconstruction with the time it took, imports and reading apart.

    Attributes:
        result: The reconstruction and its misfit.
        cpu_s: CPU time of this process, seconds; that of the uncertainty apart.
        wall_s: Wall time, seconds.
        polish: How long the physics alone went on after the network.
        uncertainty_cpu_s: CPU time of the reconstructions from parts; None if there are none.
    """

    result: Result
    cpu_s: float
    wall_s: float
    polish: Polish
    uncertainty_cpu_s: float | None = None


def infer(
    objective: Objective,
    config: Config,
    scan: Scan,
    *,
    training_scan: int | None = None,
    polish: Polish | None = None,
    keep_bare: bool = False,
    progress: StageProgress | None = None,
) -> Inferred:
    """Reconstruct a scan as the ``inference`` settings say.

    Args:
        objective: Network and probe of a run.
        config: Settings of the run, and of this reconstruction.
        scan: The scan.
        training_scan: Its number among the scans that the run was trained on; None if it was not.
        polish: Iterations of polish; by default what the settings choose for a run that chose none.
        keep_bare: Also judge what the network found before the polish.
        progress: Called with (what, done, of how many).

    Raises:
        PtychoError: If run and scan do not fit together.
    """
    chosen = polish or polish_rule(objective, config, scan).choose()  # for parts of the scan, too
    update = update_for(config.physics, scan)
    settings = config.inference

    def solve(part: Scan, name: str) -> Result:
        def tell(what: str, done: int, total: int) -> None:
            if progress is not None:
                progress(f"{name}: {what}" if name else what, done, total)

        return reconstruct(
            objective,
            part,
            untrained=settings.untrained,
            own_probe=settings.probe == "scan",
            polish=chosen.iterations,
            update=update,
            seed=config.training.seed,
            keep_bare=keep_bare and not name,
            progress=tell,
        )

    cpu, wall = time.process_time(), time.perf_counter()
    result = solve(scan, "")
    done, took = time.process_time(), time.perf_counter() - wall
    if not settings.uncertainty:
        return Inferred(result, done - cpu, took, chosen)
    left, unseen = held_out(config, scan, training_scan)
    found = assess(
        lambda part, name: solve(part, name).reconstruction,
        scan,
        result.reconstruction,
        held_out=left,
        from_training=unseen,
        seed=config.training.seed,
    )
    judged = replace(result, reconstruction=replace(result.reconstruction, uncertainty=found))
    return Inferred(judged, done - cpu, took, chosen, time.process_time() - done)


def held_out(config: Config, scan: Scan, training_scan: int | None) -> tuple[NDArray[np.int64], bool]:
    """Frames to judge a reconstruction by that is made without them, and whether training did not see them either.

    Those that training held out, for a scan that was trained on; of another scan as many, drawn alike.
    """
    data = config.data
    trained_on = training_scan is not None
    held_back = trained_on and data.validation_fraction > 0 and not data.validation_paths
    fraction = data.validation_fraction or HELD_OUT_SHARE
    lots = held_out_frames(scan.n_frames, fraction, config.training.seed, training_scan or 0)
    return np.flatnonzero(lots), held_back or not trained_on


def write_result(
    result: Result, path: Path, record: Mapping[str, Any], *, title: str, force: bool = False
) -> tuple[Path, ...]:
    """Write a reconstruction as HDF5 and, beside it, as pictures; return the pictures' paths.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    found = replace(result.reconstruction, run_record=record)
    write_reconstruction(path, found, force=force)
    picture = path.with_suffix(".png")
    save_reconstruction_png(
        picture, found.object, found.probe, found.coverage, pixel_m=found.object_pixel_m, title=title
    )
    pictures = [picture]
    if found.stored_positions_px is not None:
        pictures.append(position_figure_path(path))
        save_positions_png(pictures[-1], found.stored_positions_px, found.positions_px, title=title)
    if found.uncertainty is None or found.frame_residual is None:
        return tuple(pictures)
    second = uncertainty_figure_path(path)
    known = found.uncertainty
    save_uncertainty_png(
        second,
        known.amplitude_spread,
        known.phase_spread_rad,
        _rings(known),
        FrameMap(found.positions_px, found.frame_residual, known.held_out),
        pixel_m=found.object_pixel_m,
        title=f"{title}: uncertainty; deviance of {len(known.held_out)} held-out frames {known.held_out_deviance:.3g}",
    )
    return (*pictures, second)


def _rings(known: Uncertainty) -> Rings:
    cuts = {"0.5": known.frc50_nyquist, "1/7": known.frc143_nyquist, "half-bit": known.frc_half_bit_nyquist}
    return Rings(known.ring_radius, known.ring_correlation, known.ring_half_bit, cuts)


def scores(result: Result, scan: Scan) -> dict[str, Any]:
    """Misfit and, where the true object is known, the metrics of ``ptycho evaluate``."""
    figures: dict[str, Any] = {"r_factor": result.r_factor, "deviance": result.deviance}
    if result.reconstruction.uncertainty is not None:
        figures |= result.reconstruction.uncertainty.metrics()
    if scan.truth is not None:
        found = result.reconstruction
        offset = None
        if scan.truth_origin_px is not None:
            y, x = (a - b for a, b in zip(found.object_origin_px, scan.truth_origin_px, strict=True))
            offset = (y, x)
        figures |= report(align(found.object, scan.truth, coverage=found.coverage, offset_px=offset))
    return figures


def preview(assembled: Assembled) -> tuple[Any, Any]:
    """Object and coverage of the first training scan with the network as it is now, for callbacks."""
    found = reconstruct(assembled.objective, first_scan(assembled), update=ObjectUpdate(alpha=1.0)).reconstruction
    return found.object, found.coverage


def finish_run(
    assembled: Assembled,
    config: Config,
    folder: Path,
    record: Mapping[str, Any],
    polish: Polish,
    *,
    progress: StageProgress | None = None,
) -> dict[str, Any]:
    """Reconstruct the first training scan, write it into the run's folder, and score it beside the untrained network.

    Args:
        assembled: The trained network and its data.
        config: The settings.
        folder: Of the run.
        record: What ``run.json`` holds.
        polish: Iterations of polish, of both reconstructions.
        progress: Called with (what, done, of how many).

    Returns:
        ``trained`` and ``untrained``, each the figures of ``scores`` of what the network found. Where physics alone
        followed, also ``polish``, its iterations, and ``trained_polished``, which is what is written, and
        ``untrained_polished``.
    """
    scan, objective = first_scan(assembled), assembled.objective
    silent = config.inference.model_copy(update={"untrained": True, "uncertainty": False})
    trained = infer(objective, config, scan, polish=polish, keep_bare=True, progress=progress)
    silent_config = config.model_copy(update={"inference": silent})
    untrained = infer(objective, silent_config, scan, polish=polish, keep_bare=True, progress=progress)
    write_result(trained.result, folder / "reconstruction.h5", record, title=Path(scan.source).name, force=True)
    both = {"trained": trained.result, "untrained": untrained.result}
    found: dict[str, Any] = {name: scores(result.bare or result, scan) for name, result in both.items()}
    if trained.polish.iterations:
        found["polish"] = trained.polish.iterations
        found |= {f"{name}_polished": scores(result, scan) for name, result in both.items()}
    return found


def first_scan(assembled: Assembled) -> Scan:
    """With the intensities and the background that the objective has, of a resumed run from its checkpoint."""
    return assembled.objective.corrected(assembled.scans[0], 0) or assembled.scans[0]
