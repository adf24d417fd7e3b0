"""Maximum-likelihood frame intensities and background."""

from __future__ import annotations

import torch
from torch import Tensor

# Largest ratio of a frame's intensity to the median, and of the median to an intensity; dark frames get this bound.
MAX_FACTOR = 8.0
_NEWTON_STEPS = 12
_PATTERN_STEPS = 40
# Background from which Newton's method starts: at 0 the slope is infinite where a dark pixel counts a photon.
_MIN_BACKGROUND = 1e-4


@torch.no_grad()
def fit_intensities(
    counts: Tensor, rate: Tensor, background: Tensor | float = 0.0, valid: Tensor | None = None
) -> Tensor:
    """Return the factor ``s`` on each frame's rate ``r`` that maximises the likelihood of its counts ``n``.

    Without a background it is ``sum n / sum r``. With a background ``b`` it is the root of
    ``sum r (n / (s r + b) - 1)``, found by Newton's method from below, where it cannot overshoot: the sum is convex
    in ``s``.

    Args:
        counts: Measured photons, ``(frame, y, x)``.
        rate: Expected photons at intensity 1 without background, same shape.
        background: Background in photons per pixel: a number, or ``(y, x)``.
        valid: 1 for valid pixels, else 0, ``(y, x)``; None: all are valid.

    Returns:
        Factors, ``(frame,)``.
    """
    if valid is not None:
        counts, rate = counts * valid, rate * valid
    total = rate.sum((-2, -1)).clamp_min(1e-30)
    if isinstance(background, Tensor):
        background = background.clamp_min(_MIN_BACKGROUND)  # a pattern is 0 where masked pixels surround a pixel
        most: Tensor | float = background.max()
    elif background == 0:
        return counts.sum((-2, -1)) / total
    else:
        most = background
    # A lower bound: sum n r / (s r + b) is at least its value with the largest r in the denominator.
    factor = ((counts * rate).sum((-2, -1)) / total - most).clamp_min(0) / rate.amax((-2, -1)).clamp_min(1e-30)
    for _ in range(_NEWTON_STEPS):
        share = rate / (factor[:, None, None] * rate + background)
        slope = (counts * share.square()).sum((-2, -1))
        factor = (factor + ((counts * share).sum((-2, -1)) - total) / slope.clamp_min(1e-30)).clamp_min(0)
    return factor


@torch.no_grad()
def fit_background(counts: Tensor, rate: Tensor, valid: Tensor | None = None) -> float:
    """Return the background ``b``, at least 0, that maximises the likelihood: the root of ``sum (n / (r + b) - 1)``.

    Found by Newton's method from below, as in ``fit_intensities``.

    Args:
        counts: Measured photons ``n``, ``(frame, y, x)``.
        rate: Expected photons ``r`` without background, same shape.
        valid: 1 for valid pixels, else 0, ``(y, x)``; None: all are valid.

    Returns:
        Photons per pixel.
    """
    mask = torch.ones_like(counts[0]) if valid is None else valid
    n_pixels = mask.sum(dtype=torch.float64) * len(counts)
    background = 0.0
    for _ in range(4 * _NEWTON_STEPS):
        start = max(background, _MIN_BACKGROUND)
        share = counts * mask / (rate + start)
        value = float(share.sum(dtype=torch.float64) - n_pixels)
        slope = float((share / (rate + start)).sum(dtype=torch.float64))
        change = value / max(slope, 1e-30)
        background = max(0.0, start + change)
        if abs(change) < 1e-4 * background or background == 0.0:
            break
    return background


@torch.no_grad()
def fit_background_pattern(counts: Tensor, rate: Tensor, start: Tensor) -> Tensor:
    """Return the background of each pixel that makes its counts in all frames more likely, ``(y, x)``.

    Steps of expectation maximisation, ``b <- b mean_j(n_j / (r_j + b))``: each raises the likelihood and keeps what is
    positive so.

    Args:
        counts: Measured photons ``n``, ``(frame, y, x)``.
        rate: Expected photons ``r`` without background, same shape.
        start: Background to begin with, above 0, ``(y, x)``.

    Source: Richardson (1972), doi:10.1364/JOSA.62.000055.
    """
    background = start
    for _ in range(_PATTERN_STEPS):
        background = (background * (counts / (rate + background)).mean(0)).clamp_min(_MIN_BACKGROUND)
    return background


def normalised_intensities(intensities: Tensor) -> Tensor:
    """Bound intensities ``(frame,)`` and divide them by their geometric mean.

    A common factor belongs to the probe: if the intensities had it as well, it could drift from one to the other.
    """
    logs = intensities.clamp_min(1e-30).log()
    logs = logs - logs.median()
    bound = torch.tensor(MAX_FACTOR, dtype=logs.dtype, device=logs.device).log()
    logs = logs.clamp(-bound, bound)
    return (logs - logs.mean()).exp()
