"""The bright disc in the mean frame of a converging beam: its radius is the semi-angle in detector pixels."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

MIN_AREA_PX = 20
MIN_SHARE = 0.5  # of the light inside the disc; a diffuse pattern has no disc
SOFTEST_PX, SOFTEST = 2.0, 0.2  # distance in which the brightness falls from 0.6 to 0.3; relative to the radius
ROUNDNESS = 0.1  # relative deviation of the mean radius of its pixels from that of a disc


def bright_disc_radius(mean: NDArray[np.float64], valid: NDArray[np.bool_]) -> float | None:
    """Radius of the bright disc in detector pixels.

    The disc is all pixels above half of the usual brightness inside it; its area gives the radius.

    Args:
        mean: Mean frame, ``(y, x)``.
        valid: Pixels that are used, ``(y, x)``.

    Returns:
        The radius; None where the mean frame is no filled disc with sharp edges.
    """
    mean = mean * valid
    level = mean.max()
    for _ in range(8):  # the median of a disc is its brightness, whatever single pixels do
        inside = mean > 0.5 * level
        level = float(np.median(mean[inside])) if inside.any() else 0.0
    area = int(inside.sum())
    if area < MIN_AREA_PX or mean[inside].sum() < MIN_SHARE * mean.sum():
        return None
    radius = float(np.sqrt(area / np.pi))
    soft_px = np.sqrt((mean > 0.3 * level).sum() / np.pi) - np.sqrt((mean > 0.6 * level).sum() / np.pi)
    if soft_px > max(SOFTEST_PX, SOFTEST * radius):
        return None
    where = np.argwhere(inside)
    distance = np.hypot(*(where - where.mean(axis=0)).T)
    return radius if abs(distance.mean() / (2 / 3 * radius) - 1) < ROUNDNESS else None
