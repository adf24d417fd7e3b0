"""Islands of frames: parts of a scan so far apart that they share no object, moved together for computation."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.position_outliers import groups_within, reach_px

Positions = NDArray[np.float64]
MAX_SHARE = 0.5  # of the area on which the frames would lie: what islands must need at most to be moved together


def offsets_of_islands(positions_px: Positions, n_pixels: int) -> Positions | None:
    """How far each frame is moved, whole pixels ``(frame, 2)``, so that all islands lie side by side.

    The largest island stays where it is. Two frames' width lie between the positions of neighbouring islands, so that
    their frames never share a pixel.

    Args:
        positions_px: Positions (y, x) in object pixels.
        n_pixels: Pixels along one side of a frame.

    Returns:
        What to subtract from the positions; None where there is one island, or moving them would gain little.
    """
    island = groups_within(positions_px, reach_px(positions_px, n_pixels))
    count = int(island.max()) + 1
    if count == 1:
        return None
    boxes = np.array(
        [(part.min(axis=0), part.max(axis=0)) for part in (positions_px[island == i] for i in range(count))]
    )
    low, size = boxes[:, 0], boxes[:, 1] - boxes[:, 0] + 2 * n_pixels
    order = np.argsort(-np.bincount(island), kind="stable")
    width = max(float(np.sqrt(size.prod(axis=1).sum())), float(size[:, 1].max()))
    corner, shelf, place = np.zeros(2), 0.0, np.zeros((count, 2))
    for i in order:  # shelves from top to bottom
        if corner[1] > 0 and corner[1] + size[i, 1] > width:
            corner, shelf = np.array([corner[0] + shelf, 0.0]), 0.0
        place[i] = corner
        corner, shelf = corner + np.array([0.0, size[i, 1]]), max(shelf, float(size[i, 0]))
    packed = (place + size).max(axis=0)
    if packed.prod() > MAX_SHARE * (np.ptp(positions_px, axis=0) + 2 * n_pixels).prod():
        return None
    first = order[0]
    offsets = np.round((low - low[first]) - (place - place[first]))
    return np.asarray(offsets[island])


def truth_of_islands(
    truth: NDArray[np.complex64],
    origin_px: tuple[float, float],
    positions_px: Positions,
    offsets: Positions,
    n_pixels: int,
) -> tuple[NDArray[np.complex64], tuple[float, float]]:
    """The known object where islands were moved together: its parts under them, and ones between.

    Args:
        truth: The object, complex ``(y, x)``.
        origin_px: Scan coordinate (y, x) of its pixel (0, 0), before the islands were moved.
        positions_px: Positions after that, ``(frame, 2)``.
        offsets: What was subtracted from them, ``(frame, 2)``.
        n_pixels: Pixels along one side of a frame.

    Returns:
        The object and its origin.
    """
    half = n_pixels // 2 + 1
    # a whole number of pixels from the stored object, so that nothing is interpolated
    start = np.floor(positions_px.min(axis=0) - origin_px).astype(np.int64) - half
    stop = np.ceil(positions_px.max(axis=0) - origin_px).astype(np.int64) + half
    made = np.ones(stop - start, dtype=np.complex64)
    for offset in np.unique(offsets, axis=0):
        part = positions_px[(offsets == offset).all(axis=1)] - origin_px
        low = np.maximum(np.floor(part.min(axis=0)).astype(np.int64) - half, start)
        high = np.minimum(np.ceil(part.max(axis=0)).astype(np.int64) + half, stop)
        move = offset.astype(np.int64)
        low = np.maximum(low, -move)
        high = np.minimum(high, np.array(truth.shape) - move)
        if np.all(high > low):
            source = tuple(slice(a, b) for a, b in zip(low + move, high + move, strict=True))
            made[tuple(slice(a, b) for a, b in zip(low - start, high - start, strict=True))] = truth[source]
    return made, (float(origin_px[0] + start[0]), float(origin_px[1] + start[1]))
