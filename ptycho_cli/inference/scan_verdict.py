"""The verdict of ``train``, ``infer`` and ``evaluate``: their held-out frames, and the reconstruction they judge."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import Polish
from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.held_out_frames import covered_share, held_out_score, judging_frames
from ptycho_cli.calibration.outlier_frames import look_again
from ptycho_cli.calibration.scan_canvas import PIE_ALPHA_FACTOR, central_frames, scan_frames
from ptycho_cli.calibration.trial_fit import MOMENTUM
from ptycho_cli.calibration.verdict import LookedAgain, Verdict, outlying_frames, verdict
from ptycho_cli.config.schema import Config
from ptycho_cli.data.misfit import HeldOutScore, Residuals, residuals
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.inference.held_out_trial import HeldOutTrial
from ptycho_cli.inference.inference_run import Inferred
from ptycho_cli.inference.results import with_examples
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.progress_callback import StageProgress, stage_progress

STAGE = "looking for likely reasons"
# A file alone is judged by an object that is found anew with its probe, from so many frames.
FRAMES, FRAMES_PER_TEST_FRAME, ITERATIONS = 96, 12, 24


def verdict_of_run(
    trial: HeldOutTrial,
    polish: Polish,
    result: Reconstruction,
    scan: Scan,
    config: Config,
    *,
    progress: StageProgress | None = None,
) -> Verdict:
    """The verdict on a reconstruction that a run made.

    Args:
        trial: The reconstruction without held-out frames.
        polish: The polish.
        result: The reconstruction from all frames.
        scan: The scan, calibrated.
        config: The settings.
        progress: Called with (stage, steps done, steps in all).
    """
    seed, score = config.training.seed, trial.score(polish)
    left = residuals(result, scan)
    rows = outlying_frames(score, left, scan)
    again = LookedAgain(
        look_again(rows, left, score.explainable, result, scan, seed=seed), trial.score(polish, without=rows)
    )
    return verdict(
        score, left, scan, result.probe, again=again, seed=seed, progress=stage_progress(progress, STAGE),
    )  # fmt: skip


def judged(
    found: Inferred, objective: Objective, config: Config, scan: Scan, *,
    training_scan: int | None = None, record: Mapping[str, Any] | None = None, progress: StageProgress | None = None,
) -> Inferred:  # fmt: skip
    """The reconstruction with its verdict and example frames; arguments as in ``infer`` and ``HeldOutTrial``."""
    start = time.process_time()
    trial = HeldOutTrial(objective, config, scan, training_scan, record=record)
    result = found.result.reconstruction
    judgement = verdict_of_run(trial, found.polish, result, scan, config, progress=progress)
    shown = with_examples(found.result, scan, judgement.worst_frames)
    return replace(found, result=shown, verdict=judgement, verdict_cpu_s=time.process_time() - start)


def verdict_of_file(result: Reconstruction, scan: Scan, *, progress: StageProgress | None = None) -> Verdict:
    """The verdict on a reconstruction in a file, without the network that made it.

    An object is found anew with its probe, from up to 96 frames around the middle, and judged by a twelfth of them
    that were left out. Where the stored object explains its own frames worse than that, it is judged by these.

    Args:
        result: The reconstruction.
        scan: The scan it was made from.
        progress: Called with (stage, steps done, steps in all).

    Raises:
        DataError: If the two do not belong together.
    """
    left = residuals(result, scan)
    used = replace(
        scan,
        positions_px=result.positions_px,
        stored_positions_px=result.stored_positions_px,
        intensities=result.intensities,
        background=result.background,
    )
    score = _score(left, used, result, np.arange(scan.n_frames))
    rows = outlying_frames(score, left, used)
    without = _score(left, used, result, np.setdiff1d(np.arange(scan.n_frames), rows)) if len(rows) else score
    again = LookedAgain(look_again(rows, left, score.explainable, result, used), without)
    return verdict(score, left, used, result.probe, again=again, progress=stage_progress(progress, STAGE))


def _score(left: Residuals, scan: Scan, result: Reconstruction, rows: NDArray[np.int64]) -> HeldOutScore:
    """Score by some frames: that of the probe, or that of the stored object with its own frames, if it is worse."""
    score = _score_of_probe(scan.select(rows), torch.from_numpy(result.probe))
    own = replace(score, deviance=float(left.frames[rows].mean()), noise=float(left.frames_noise[rows].mean()))
    return max(score, own, key=lambda found: found.ratio)


def _score_of_probe(scan: Scan, probe: Tensor) -> HeldOutScore:
    """Score of the object that is found with a probe, complex ``(mode, y, x)``, from frames around the middle."""
    central = central_frames(scan, np.arange(scan.n_frames), FRAMES)
    frames = scan_frames(scan, central, dtype=torch.float32)
    chosen = np.random.default_rng([0, 11]).permutation(len(central)) < max(1, len(central) // FRAMES_PER_TEST_FRAME)
    test = judging_frames(covered_share(frames, probe), chosen, int(chosen.sum()))
    left_out, used = (frames.select(torch.from_numpy(np.flatnonzero(which))) for which in (test, ~test))
    update = ObjectUpdate(PIE_ALPHA_FACTOR * auto_alpha(scan))
    obj, _ = run_pie(used, used.vacuum(), probe, update=update, iterations=ITERATIONS, momentum=MOMENTUM)
    return held_out_score(left_out, used, obj, probe)
