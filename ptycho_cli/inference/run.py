"""From a trained run and a scan to files and figures."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from ptycho_cli.assembly.network import Assembled, Objective
from ptycho_cli.assembly.physics import auto_alpha
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.write import write_reconstruction
from ptycho_cli.inference.reconstruct import Result, reconstruct
from ptycho_cli.metrics import align, report
from ptycho_cli.render.pictures import save_reconstruction_png

Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, eq=False)
class Inferred:
    """A reconstruction with the time it took, imports and reading apart.

    Attributes:
        result: The reconstruction and its misfit.
        cpu_s: CPU time of this process, seconds.
        wall_s: Wall time, seconds.
    """

    result: Result
    cpu_s: float
    wall_s: float


def infer(objective: Objective, config: Config, scan: Scan, *, progress: Progress | None = None) -> Inferred:
    """Reconstruct a scan as the ``inference`` settings say.

    Raises:
        PtychoError: If run and scan do not fit together.
    """
    alpha = auto_alpha(scan) if config.model.alpha == "auto" else config.model.alpha
    settings = config.inference
    cpu, wall = time.process_time(), time.perf_counter()
    result = reconstruct(
        objective,
        scan,
        untrained=settings.untrained,
        own_probe=settings.probe == "scan",
        polish=settings.polish,
        alpha=alpha,
        seed=config.training.seed,
        progress=progress,
    )
    return Inferred(result, time.process_time() - cpu, time.perf_counter() - wall)


def write_result(result: Result, path: Path, record: Mapping[str, Any], *, title: str, force: bool = False) -> Path:
    """Write a reconstruction as HDF5 and, beside it, as a picture; return the picture's path.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    found = replace(result.reconstruction, run_record=record)
    write_reconstruction(path, found, force=force)
    picture = path.with_suffix(".png")
    save_reconstruction_png(
        picture, found.object, found.probe, found.coverage, pixel_m=found.object_pixel_m, title=title
    )
    return picture


def scores(result: Result, scan: Scan) -> dict[str, Any]:
    """Misfit and, where the true object is known, the metrics of ``ptycho evaluate``."""
    figures: dict[str, Any] = {"r_factor": result.r_factor, "deviance": result.deviance}
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
    found = reconstruct(assembled.objective, assembled.scans[0], alpha=1.0).reconstruction
    return found.object, found.coverage


def finish_run(
    assembled: Assembled, config: Config, folder: Path, record: Mapping[str, Any], *, progress: Progress | None = None
) -> dict[str, Any]:
    """Reconstruct the first training scan, write it into the run's folder, and score it beside the untrained network.

    Returns:
        ``trained`` and ``untrained``, each the figures of ``scores``.
    """
    scan, objective = assembled.scans[0], assembled.objective
    silent = config.inference.model_copy(update={"untrained": True, "polish": 0})
    trained = infer(objective, config, scan, progress=progress)
    untrained = infer(objective, config.model_copy(update={"inference": silent}), scan, progress=progress)
    write_result(trained.result, folder / "reconstruction.h5", record, title=Path(scan.source).name, force=True)
    return {"trained": scores(trained.result, scan), "untrained": scores(untrained.result, scan)}
