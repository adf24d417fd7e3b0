"""The sequence of stored positions: as the frames, in reverse, or with every second row of a raster reversed."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

PositionSequence = Literal["stored", "reverse", "snake"]
Positions = NDArray[np.float64]
MIN_ROWS = MIN_ROW_LENGTH = 3
MAX_ROW_LENGTH = 1000  # of jittered rows, whose length is found by trying
FLAT = 0.1  # variance of the slow coordinate within rows, relative to the square of the step between them
SAME = 1.5  # variances that differ by no more than this factor are equal: half a row is as flat as a whole one
CLEAR = 0.25  # of the step between rows: the slow coordinate changes by less within a row that ends at a step


def raster_rows(positions: Positions) -> list[slice] | None:
    """Rows of a raster that is stored row by row; None where the positions form none.

    Rows end where the slow coordinate steps. Where jitter hides these steps, rows are taken to be of one length.

    Args:
        positions: Positions (y, x) in any unit, ``(frame, 2)``.
    """
    found: list[tuple[float, NDArray[np.int64]]] = []
    if len(positions) >= MIN_ROWS * MIN_ROW_LENGTH:
        for slow in (positions - positions.mean(axis=0)).T:
            starts = _starts_at_steps(slow)
            starts = _starts_of_one_length(slow) if starts is None else starts
            if starts is not None:
                found.append((_variance_within(slow, starts), starts))
    if not found:
        return None
    starts = min(found, key=lambda item: item[0])[1]
    return [slice(int(a), int(b)) for a, b in zip(starts, np.append(starts[1:], len(positions)), strict=True)]


def _starts_at_steps(slow: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """First frame of each row, where the slow coordinate changes by much less within rows than between them."""
    steps = np.abs(np.diff(slow))
    order = np.sort(steps)
    ratio = order[1:] / np.maximum(order[:-1], 1e-9 * max(float(order[-1]), 1e-300))
    split = int(np.argmax(ratio)) + 1  # the widest gap between short steps and long ones
    starts = np.append(0, np.flatnonzero(steps >= order[split]) + 1)
    lengths = np.diff(np.append(starts, len(slow)))
    clear = order[split - 1] < CLEAR * np.median(order[split:])
    return starts if clear and len(starts) >= MIN_ROWS and np.median(lengths) >= MIN_ROW_LENGTH else None


def _starts_of_one_length(slow: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """First frame of each row, for the longest length that makes rows flat; the last row may be shorter."""
    lengths = range(MIN_ROW_LENGTH, min(len(slow) // MIN_ROWS, MAX_ROW_LENGTH) + 1)
    within = np.array([_variance_within(slow, np.arange(0, len(slow), length)) for length in lengths])
    length = lengths[int(np.flatnonzero(within <= SAME * within.min())[-1])]
    means = slow[: len(slow) // length * length].reshape(-1, length).mean(axis=1)
    starts = np.arange(0, len(slow), length)
    step = float(np.median(np.abs(np.diff(means))))
    return starts if _variance_within(slow, starts) < FLAT * step**2 else None


def _variance_within(slow: NDArray[np.float64], starts: NDArray[np.int64]) -> float:
    """Variance of a coordinate about the mean of each row."""
    counts = np.diff(np.append(starts, len(slow)))
    within = float(np.sum(slow**2) - np.sum(np.add.reduceat(slow, starts) ** 2 / counts))
    return max(within, 0.0) / max(len(slow) - len(starts), 1)


def in_sequence(positions: Positions, sequence: PositionSequence) -> Positions | None:
    """Positions ``(frame, 2)`` in another sequence; None for ``snake`` where they are no raster.

    ``snake`` reverses the second row, the fourth, and so on. Each sequence, applied twice, gives the stored one.
    """
    if sequence == "stored":
        return positions
    if sequence == "reverse":
        return positions[::-1]
    rows = raster_rows(positions)
    if rows is None:
        return None
    turned = positions.copy()
    for row in rows[1::2]:
        turned[row] = positions[row][::-1]
    return turned
