"""Reconstruction of the first training scan: for callbacks during a training, and as the result at its end."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ptycho_cli.assembly.build import Assembled
from ptycho_cli.assembly.picture_style import picture_style
from ptycho_cli.assembly.polish_rule import Polish
from ptycho_cli.calibration.verdict import Verdict
from ptycho_cli.config.schema import Config
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out_trial import HeldOutTrial
from ptycho_cli.inference.inference_run import infer
from ptycho_cli.inference.reconstruct import reconstruct
from ptycho_cli.inference.results import scores, with_examples, write_result
from ptycho_cli.inference.scan_verdict import verdict_of_run
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.progress_callback import StageProgress


def first_training_scan(assembled: Assembled) -> Scan:
    """The first training scan with the objective's corrections, which a resumed run has from its checkpoint."""
    return assembled.objective.corrected(assembled.scans[0], 0) or assembled.scans[0]


def reconstruct_for_callbacks(assembled: Assembled) -> tuple[Any, Any]:
    """Object and coverage ``(y, x)`` of the first training scan with the current weights."""
    # without polish no update is made with this regularisation
    found = reconstruct(
        assembled.objective, first_training_scan(assembled), update=ObjectUpdate(alpha=1.0)
    ).reconstruction
    return found.object, found.coverage


def reconstruct_training_scan(
    assembled: Assembled,
    config: Config,
    folder: Path,
    record: Mapping[str, Any],
    polish: Polish,
    trial: HeldOutTrial,
    *,
    progress: StageProgress | None = None,
) -> tuple[dict[str, Any], Verdict]:
    """Reconstruct the first training scan, judge it, write it into the run's folder, and score it.

    Args:
        assembled: The trained network and its data.
        config: The settings.
        folder: Folder of the run.
        record: What ``run.json`` holds.
        polish: Iterations of polish.
        trial: The reconstruction without held-out frames, which judges.
        progress: Called with (stage, steps done, steps in all).

    Returns:
        ``trained``, the ``scores`` of what the network found. Where a polish followed, also ``polish``, its iterations,
        and ``trained_polished``, the scores of what is written. With ``training.compare_untrained`` the same of
        physics alone as ``untrained`` and ``untrained_polished``. And the verdict on what is written.
    """
    scan, objective = first_training_scan(assembled), assembled.objective
    trained = infer(objective, config, scan, polish=polish, keep_unpolished=True, progress=progress)
    verdict = verdict_of_run(trial, polish, trained.result.reconstruction, scan, config, progress=progress)
    write_result(
        with_examples(trained.result, scan, verdict.worst_frames),
        folder / "reconstruction.h5",
        {**record, "verdict": verdict.as_json()},
        title=Path(scan.source).name,
        force=True,
        style=picture_style(config.pictures),
    )
    results = {"trained": trained.result}
    if config.training.compare_untrained:
        inference = config.inference.model_copy(update={"untrained": True, "uncertainty": False})
        physics_only = config.model_copy(update={"inference": inference})
        found = infer(objective, physics_only, scan, polish=polish, keep_unpolished=True, progress=progress)
        results["untrained"] = found.result
    values: dict[str, Any] = {name: scores(result.unpolished or result, scan) for name, result in results.items()}
    if polish.iterations:
        values["polish"] = polish.iterations
        values |= {f"{name}_polished": scores(result, scan) for name, result in results.items()}
    return values, verdict
