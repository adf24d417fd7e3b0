"""Geometry of a scan: patch corners, sub-pixel shifts, canvas, overlap, rasters, covered area."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.float64]
Corners = NDArray[np.int64]

MIN_COVERAGE = 0.1  # relative to the median
MIN_RASTER_POSITIONS = 16
RASTER_TOLERANCE = 0.02  # rms distance of positions from a regular raster, relative to its shorter step


def split_positions(positions_px: Positions, n_pixels: int) -> tuple[Corners, Positions]:
    """Split positions into integer patch corners and sub-pixel shifts.

    Args:
        positions_px: Centre of the probe in object pixels, ``(..., 2)`` as (y, x).
        n_pixels: Pixels along one side of a frame.

    Returns:
        ``(corners, shifts)`` with ``corners + shifts = positions - n_pixels / 2`` and each
        shift in [-0.5, 0.5).
    """
    start = positions_px - n_pixels / 2
    corners = np.floor(start + 0.5)
    return corners.astype(np.int64), start - corners


def canvas_shape(corners: Corners, n_pixels: int, *, margin_px: int = 0, multiple: int = 1) -> tuple[int, int]:
    """Shape (y, x) of the smallest canvas that holds all patches and a margin, rounded up to a multiple."""
    extent = corners.max(axis=0) - corners.min(axis=0) + n_pixels + margin_px
    height, width = (-(-int(side) // multiple) * multiple for side in extent)
    return height, width


def typical_step_px(positions_px: Positions) -> float | None:
    """Median distance between a position and its nearest neighbour; None for a single position."""
    if len(positions_px) < 2:
        return None
    from scipy.spatial import cKDTree

    distances, _ = cKDTree(positions_px).query(positions_px, k=2)
    return float(np.median(distances[:, 1]))


def raster_steps_px(positions_px: Positions) -> Positions | None:
    """The two steps, ``(2, 2)`` with (y, x) each, of the regular raster of the positions; None if they form none.

    Rows may be tilted or staggered, and positions may be missing.
    """
    from scipy.spatial import cKDTree

    if len(positions_px) < MIN_RASTER_POSITIONS:
        return None
    centred = positions_px - np.median(positions_px, axis=0)
    order = np.argsort(np.hypot(*centred.T), kind="stable")
    _, near = cKDTree(centred).query(centred, k=9)
    middle = order[: len(order) // 4 + 1]  # each has neighbours on all sides
    between = (centred[near[middle]] - centred[middle, None]).reshape(-1, 2)
    between = between[np.argsort(np.hypot(*between.T), kind="stable")]
    between = between[np.hypot(*between.T) > 0]
    if not len(between):
        return None
    first = between[0]
    sine = np.abs(between @ (-first[1], first[0])) / (np.hypot(*first) * np.hypot(*between.T))
    if not np.any(sine > 0.3):
        return None
    steps, start = np.stack([first, between[sine > 0.3][0]]), centred[order[0]]
    reach = 3.0 * np.hypot(*steps[1])
    while True:  # a larger area determines the steps better
        part = centred[np.hypot(*(centred - centred[order[0]]).T) <= reach]
        numbers = np.column_stack([np.rint((part - start) @ np.linalg.inv(steps)), np.ones(len(part))])
        fit, *_ = np.linalg.lstsq(numbers, part, rcond=None)
        off = float(np.sqrt(np.mean(np.sum((part - numbers @ fit) ** 2, axis=1))))
        if np.linalg.matrix_rank(numbers) < 3 or off > RASTER_TOLERANCE * np.hypot(*first):
            return None
        if len(part) == len(centred):
            return np.asarray(fit[:2])
        steps, start, reach = fit[:2], fit[2], 3 * reach


def probe_diameter_px(probe: NDArray[np.complex64]) -> float:
    """Diameter of the disc with the effective area ``(sum I)^2 / sum I^2`` of the probe, all modes together."""
    intensity = np.sum(np.abs(probe.astype(np.complex128)) ** 2, axis=0)
    area = float(intensity.sum() ** 2 / (intensity**2).sum())
    return 2.0 * float(np.sqrt(area / np.pi))


def linear_overlap(step_px: float, diameter_px: float) -> float:
    """Overlap of neighbouring frames relative to the diameter of the probe, from 0 to 1."""
    return float(np.clip(1.0 - step_px / diameter_px, 0.0, 1.0))


def covered_area(coverage: NDArray[np.floating[Any]]) -> NDArray[np.bool_]:
    """Pixels with at least a tenth of the median coverage; the median is over pixels above 0."""
    above_zero = coverage[coverage > 0]
    if above_zero.size == 0:
        return np.zeros(coverage.shape, dtype=np.bool_)
    return np.asarray(coverage >= MIN_COVERAGE * np.median(above_zero), dtype=np.bool_)
