"""Reconstruction of a scan with a trained run, as the ``inference`` settings ask for it."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish, polish_rule
from ptycho_cli.calibration.verdict import Verdict
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out import held_out_of
from ptycho_cli.inference.reconstruct import reconstruct
from ptycho_cli.inference.results import Result
from ptycho_cli.inference.uncertainty import estimate_uncertainty
from ptycho_cli.physics.frame_share import ALONE, FrameShare
from ptycho_cli.progress_callback import StageProgress


@dataclass(frozen=True, eq=False)
class Inferred:
    """A reconstruction with the time it took: with the calibration of the scan, without imports and reading.

    Attributes:
        result: The reconstruction and its fit to the counts.
        cpu_s: CPU time of this process in seconds, without that of the uncertainty.
        wall_s: Wall time in seconds.
        polish: Iterations of the physics alone after the network.
        uncertainty_cpu_s: CPU time of the reconstructions from parts in seconds; None if there are none.
        notes: Messages about the probe and the polish.
        warnings: Messages about a probe that does not explain the scan.
        verdict: Whether the reconstruction explains the scan; None if it was not judged.
        verdict_cpu_s: CPU time of the verdict in seconds.
    """

    result: Result
    cpu_s: float
    wall_s: float
    polish: Polish
    uncertainty_cpu_s: float | None = None
    notes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    verdict: Verdict | None = None
    verdict_cpu_s: float = 0.0


def infer(
    objective: Objective,
    config: Config,
    scan: Scan,
    *,
    training_scan: int | None = None,
    polish: Polish | None = None,
    keep_unpolished: bool = False,
    share: FrameShare = ALONE,
    progress: StageProgress | None = None,
) -> Inferred:
    """Reconstruct a scan as the ``inference`` settings ask for it.

    Args:
        objective: Network and probe of a run.
        config: Settings of the run, and of this reconstruction.
        scan: The scan.
        training_scan: Its number among the scans that the run was trained on; None if it was not.
        polish: Iterations of polish, also for parts of the scan; by default what the settings choose for a run that
            chose none.
        keep_unpolished: Also return what the network found before the polish.
        share: The frames that this process computes with, where several reconstruct one scan together.
        progress: Called with (stage, steps done, steps in all).

    Raises:
        PtychoError: If run and scan do not fit together.
    """
    polish = polish or polish_rule(objective, config, scan).choose()
    chosen, update, settings = polish, update_for(config.physics, scan), config.inference

    def solve(part: Scan, name: str) -> Result:
        def report(stage: str, done: int, total: int) -> None:
            if progress is not None:
                progress(f"{name}: {stage}" if name else stage, done, total)

        return reconstruct(
            objective,
            part,
            update=update,
            physics_only=settings.untrained,
            polish=chosen.iterations,
            tv_weight=chosen.tv_weight,
            seed=config.training.seed,
            keep_unpolished=keep_unpolished and not name,
            share=share,
            progress=report,
        )

    cpu, wall = time.process_time(), time.perf_counter()
    result = solve(scan, "")
    done, took = time.process_time(), time.perf_counter() - wall
    if not settings.uncertainty:
        return Inferred(result, done - cpu, took, polish)
    held_out, unseen = held_out_of(config, scan, training_scan)
    uncertainty = estimate_uncertainty(
        lambda part, name: solve(part, name).reconstruction,
        scan,
        result.reconstruction,
        held_out=held_out,
        from_training=unseen,
        seed=config.training.seed,
    )
    result = replace(result, reconstruction=replace(result.reconstruction, uncertainty=uncertainty))
    return Inferred(result, done - cpu, took, polish, time.process_time() - done)
