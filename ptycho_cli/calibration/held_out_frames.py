"""Frames that can judge a fit which is made without them, and the score that they give it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.special import stdtrit
from torch import Tensor

from ptycho_cli.data.misfit import HeldOutScore
from ptycho_cli.physics.forward import expected_rate, frame_illumination
from ptycho_cli.physics.frame_source import ScanFrameSource
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.likelihood import MeanDeviance, expected_deviance, poisson_deviance
from ptycho_cli.physics.patches import gather

# A frame judges a fit only if so much of its light falls where the others put at least half as much: at the rim of a
# scan the object is hardly known, and a frame there leaves many times the photon noise.
MIN_COVERED = 0.95
OTHER_LIGHT = 0.5


@torch.inference_mode()
def covered_share(frames: ScanFrames, probe: Tensor, others: ScanFrames | None = None) -> NDArray[np.float64]:
    """Share of each frame's light on object pixels that the others illuminate at least half as strongly, ``(frame,)``.

    Args:
        frames: The frames.
        probe: The probe, complex ``(mode, y, x)``.
        others: The others, none of which is among these; None for the rest of these.
    """
    source = ScanFrameSource(frames, probe)
    total, found = (source if others is None else ScanFrameSource(others, probe)).illumination(), []
    for part in source.parts():
        batch = source.frames(part)
        light = frame_illumination(batch)
        by_others = gather(total, batch.corners, light.shape[-1]) - (light if others is None else 0.0)
        found.append((light * (by_others >= OTHER_LIGHT * light)).sum((-2, -1)) / light.sum((-2, -1)))
    return np.asarray(torch.cat(found, 1)[0].double().cpu().numpy())


def judging_frames(share: NDArray[np.float64], held_out: NDArray[np.bool_], number: int) -> NDArray[np.bool_]:
    """Held-out frames that are covered well enough to judge by, or else the best-covered frames, bool ``(frame,)``.

    Args:
        share: ``covered_share`` of the frames.
        held_out: The frames that were held out.
        number: Number of frames to take where none of those is covered.
    """
    chosen = held_out & (share >= MIN_COVERED)
    if not chosen.any():
        chosen = np.zeros_like(held_out)
        chosen[np.argsort(-share, kind="stable")[:number]] = True
    return chosen


@torch.inference_mode()
def held_out_score(test: ScanFrames, used: ScanFrames, obj: Tensor, probe: Tensor) -> HeldOutScore:
    """Score a fit by frames that it was made without.

    Args:
        test: Those frames.
        used: The frames of the fit.
        obj: The object found, complex ``(y, x)``.
        probe: The probe, complex ``(mode, y, x)``.
    """
    pattern = mean_counts(used)
    found, noise, trivial = MeanDeviance(test.valid), MeanDeviance(test.valid), MeanDeviance(test.valid)
    for part in test.parts():
        counts, rate = part.measured().square(), expected_rate(part, obj, probe)
        found.add(poisson_deviance(counts, rate))
        noise.add(expected_deviance(rate))
        trivial.add(poisson_deviance(counts, pattern.expand_as(counts)))
    return HeldOutScore(found.value(), noise.value(), trivial.value())


def mean_counts(frames: ScanFrames) -> Tensor:
    """Mean frame, ``(y, x)``, zero frequency at the corner."""
    means = [(len(part) / len(frames), part.measured().square().mean(0)) for part in frames.parts()]
    return means[0][1] if len(means) == 1 else torch.stack([share * mean for share, mean in means]).sum(0)


def exceeds_error(values: NDArray[np.float64], confidence: float | None = None) -> bool:
    """Whether the mean of some values is above 0 by more than its standard error; not known of a single one.

    Args:
        values: The values.
        confidence: With one, the mean must exceed as many standard errors as Student's t distribution has at it.
    """
    if len(values) < 2:
        return False
    errors = 1.0 if confidence is None else float(stdtrit(len(values) - 1, confidence))
    return bool(values.mean() > errors * values.std(ddof=1) / np.sqrt(len(values)))
