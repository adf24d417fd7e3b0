"""Values of single frames that are far above those beside them, gathered in a pass through the frames."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

EXCESS = 5.0  # times a neighbour's value that a spike exceeds: good scans have up to 3.4
SIGMAS = 6.0  # above chance, likewise
SIDES = 2  # of the neighbours above, below and beside a spike that are as dark, at least


@dataclass(frozen=True, eq=False)
class Spikes:
    """Values that may be spikes.

    Attributes:
        rows: Rows of their frames, int64 ``(n,)`` in ascending order.
        pixels: Row and column in the frame, int64 ``(n, 2)``.
        values: The values, float64 ``(n,)``.
    """

    rows: NDArray[np.int64]
    pixels: NDArray[np.int64]
    values: NDArray[np.float64]

    def select(self, which: Any) -> Spikes:
        """Some of them, by number or bool ``(n,)``."""
        return Spikes(self.rows[which], self.pixels[which], self.values[which])

    def of_frames(self, kept: NDArray[np.bool_]) -> Spikes:
        """Those of some frames, bool ``(frame,)``, with rows among these."""
        found = self.select(kept[self.rows])
        return Spikes((np.cumsum(kept) - 1)[found.rows], found.pixels, found.values)


class SpikeGatherer:
    """Gathers ``Spikes``."""

    def __init__(self) -> None:
        self._places: list[NDArray[np.int64]] = [np.zeros((0, 3), np.int64)]
        self._values: list[NDArray[Any]] = [np.zeros(0)]

    def add(self, which: slice, block: NDArray[Any]) -> None:
        """Take a block into account."""
        bright = block > SIGMAS**2
        if not bright.any():
            return
        limit = block / EXCESS
        around = np.pad(block, ((0, 0), (1, 1), (1, 1)))
        inner, before, after = slice(1, -1), slice(None, -2), slice(2, None)
        sides = ((before, inner), (after, inner), (inner, before), (inner, after))
        dark = sum((around[:, *side] < limit).astype(np.int8) for side in sides)
        places = np.argwhere(bright & (dark >= SIDES))
        self._values.append(block[tuple(places.T)])
        self._places.append(places + np.array([which.start, 0, 0]))

    def found(self) -> Spikes:
        """What may be spikes."""
        places = np.concatenate(self._places)
        return Spikes(places[:, 0], places[:, 1:], np.concatenate(self._values).astype(np.float64))
