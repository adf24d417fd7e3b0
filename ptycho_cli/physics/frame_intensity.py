"""What beam and detector do to each frame besides: its intensity, and a background; the likeliest of both."""

from __future__ import annotations

import torch
from torch import Tensor

# A frame may be so many times as bright as the others, or as dark; one without light has the bound.
LARGEST_FACTOR = 8.0
_NEWTON_STEPS = 12


@torch.no_grad()
def fit_intensities(counts: Tensor, rate: Tensor, background: float = 0.0, valid: Tensor | None = None) -> Tensor:
    """The factor ``s`` on each frame's rate ``r`` that makes its counts likeliest, ``(frame,)``.

    Without a background it is ``sum n / sum r``, photons counted to photons expected. With one it is the root of
    ``sum r (n / (s r + b) - 1)``, by Newton's method from below, where it cannot overshoot: the sum is convex in ``s``.

    Args:
        counts: Photons, ``(frame, y, x)``.
        rate: Photons expected at intensity 1 without background, shaped alike.
        background: Photons that every pixel expects besides.
        valid: 1 where a pixel may be used, else 0, ``(y, x)``; None: all.
    """
    if valid is not None:
        counts, rate = counts * valid, rate * valid
    light = rate.sum((-2, -1)).clamp_min(1e-30)
    if background == 0:
        return counts.sum((-2, -1)) / light
    # a lower bound: sum n r / (s r + b) is at least that with the largest r in the denominator
    found = ((counts * rate).sum((-2, -1)) / light - background).clamp_min(0) / rate.amax((-2, -1)).clamp_min(1e-30)
    for _ in range(_NEWTON_STEPS):
        share = rate / (found[:, None, None] * rate + background)
        slope = (counts * share.square()).sum((-2, -1))
        found = (found + ((counts * share).sum((-2, -1)) - light) / slope.clamp_min(1e-30)).clamp_min(0)
    return found


@torch.no_grad()
def fit_background(counts: Tensor, rate: Tensor, valid: Tensor | None = None) -> float:
    """The background ``b``, at least 0, that makes counts likeliest: the root of ``sum (n / (r + b) - 1)``.

    Newton's method from below, as for intensities.

    Args:
        counts: Photons, ``(frame, y, x)``.
        rate: Photons expected without background, shaped alike.
        valid: As there.
    """
    mask = torch.ones_like(counts[0]) if valid is None else valid
    pixels = mask.sum(dtype=torch.float64) * len(counts)
    found = 0.0
    for _ in range(4 * _NEWTON_STEPS):
        # beginning a little above 0, where a dark pixel's single photon would have no end of a slope
        share = counts * mask / (rate + max(found, 1e-4))
        value = float(share.sum(dtype=torch.float64) - pixels)
        slope = float((share / (rate + max(found, 1e-4))).sum(dtype=torch.float64))
        change = value / max(slope, 1e-30)
        found = max(0.0, max(found, 1e-4) + change)
        if abs(change) < 1e-4 * found or found == 0.0:
            break
    return found


def normalised_intensities(intensities: Tensor) -> Tensor:
    """Intensities bounded, and divided by their geometric mean.

    A common factor is the probe's: with it here too it could drift from one to the other.
    """
    logs = intensities.clamp_min(1e-30).log()
    logs = logs - logs.median()
    bound = torch.tensor(LARGEST_FACTOR, dtype=logs.dtype, device=logs.device).log()
    logs = logs.clamp(-bound, bound)
    return (logs - logs.mean()).exp()
