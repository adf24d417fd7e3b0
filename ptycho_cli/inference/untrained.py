"""The strongest opponent of a network: the same physics untrained, at any number of stages and any regularisation."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from ptycho_cli.physics.engine import Exposure
from ptycho_cli.physics.fields import intensity
from ptycho_cli.physics.probe import shift_probe
from ptycho_cli.physics.scene import FRAMES_AT_ONCE
from ptycho_cli.physics.update import Frames, back_project

MOST_STAGES = 128
_FIRST_LOOK = 4  # stages before which nothing is worth judging
_SURE = 16  # stages from which on a worse score is noise being fitted, not a start that is still rough
_COARSE, _FINE = 4.0, 2.0
_LEAST_ALPHA, _LARGEST_ALPHA = 1e-3, 256.0

Judge = Callable[[Tensor], float]
"""Score of an object, ``(y, x)``; higher is better."""


@torch.inference_mode()
def untrained_stages(
    exposure: Exposure, probe: Tensor, *, subsets: int, alpha: float, seed: int = 0
) -> Iterator[Tensor]:
    """Objects after 1, 2, 3, ... physics steps, each from one ordered subset of the frames; without end.

    Equal to the ``unrolled`` network of as many stages with silent CNNs.

    Args:
        exposure: The scan.
        probe: The probe, complex ``(mode, y, x)``.
        subsets: Ordered subsets of the frames.
        alpha: Regularisation, relative to the largest ``|P|^2``.
        seed: Seed of the subsets.
    """
    device = exposure.amplitude.device
    order = torch.randperm(len(exposure.amplitude), generator=torch.Generator().manual_seed(seed)).to(device)
    floor = alpha * intensity(probe).max()
    obj = torch.ones(1, *exposure.shape, dtype=probe.dtype, device=device)
    stage = 0
    while True:
        change, photons = torch.zeros_like(obj), torch.zeros_like(obj.real)
        subset = order[stage % subsets :: subsets]
        for first in range(0, len(subset), FRAMES_AT_ONCE):
            part = exposure.select(subset[first : first + FRAMES_AT_ONCE])
            shifted = shift_probe(probe, part.shifts)[None]
            frames = Frames(part.amplitude[None], part.index(), shifted, part.trusted)
            more_change, more_photons = back_project(obj, frames)
            change += more_change
            photons += more_photons
        obj = obj + change / (photons + floor)
        stage += 1
        yield obj[0]


@dataclass(frozen=True)
class Best:
    """What the search found. ``score`` is the judge's; ``runs`` is how many values of alpha were tried."""

    stages: int
    alpha: float
    score: float
    runs: int


def search(
    exposure: Exposure,
    probe: Tensor,
    judge: Judge,
    *,
    alpha: float,
    subsets: int,
    seed: int = 0,
    most: int = MOST_STAGES,
    report: Callable[[str, int, int], None] | None = None,
) -> Best:
    """The best number of stages, a power of two up to ``most``, and the best alpha.

    One run of stages shows every power of two on its way. Alpha is changed by factors of 4 as long as that
    helps, then by 2 to either side.

    Args:
        exposure: Frames to reconstruct from.
        probe: The probe, complex ``(mode, y, x)``.
        judge: Scores an object.
        alpha: Where the search begins.
        subsets: Ordered subsets of the frames.
        seed: Seed of the subsets.
        most: Largest number of stages.
        report: Called with (what is tried, stages done, of how many).
    """
    tried: dict[float, Best] = {}

    def attempt(value: float) -> Best:
        value = min(max(value, _LEAST_ALPHA), _LARGEST_ALPHA)
        if value not in tried:
            tried[value] = _one_run(exposure, probe, judge, value, subsets, seed, most, report)
        return tried[value]

    def climb(best: Best, factor: float) -> Best:
        while (found := attempt(best.alpha * factor)).score > best.score:
            best = found
        return best

    best = attempt(alpha)
    up = climb(best, _COARSE)
    best = up if up.score > best.score else climb(best, 1 / _COARSE)
    best = max((best, attempt(best.alpha * _FINE), attempt(best.alpha / _FINE)), key=lambda found: found.score)
    return Best(best.stages, best.alpha, best.score, len(tried))


def _one_run(
    exposure: Exposure,
    probe: Tensor,
    judge: Judge,
    alpha: float,
    subsets: int,
    seed: int,
    most: int,
    report: Callable[[str, int, int], None] | None,
) -> Best:
    best: Best | None = None
    for stage, obj in enumerate(untrained_stages(exposure, probe, subsets=subsets, alpha=alpha, seed=seed), start=1):
        if report is not None:
            report(f"best untrained, alpha {alpha:.3g}", stage, most)
        last = stage >= most
        if (stage & (stage - 1) == 0 and stage >= min(_FIRST_LOOK, most)) or last:
            score = judge(obj)
            if best is None or score > best.score:
                best = Best(stage, alpha, score, 1)
            elif stage >= _SURE:
                break
        if last:
            break
    assert best is not None
    return best
