"""Corrections of stored frames, which are applied to each block of frames that is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.orientation import Orientation, oriented_frames

Block = NDArray[Any]
Rows = NDArray[np.int64]
Mask = NDArray[np.bool_]


class Correction(Protocol):
    """A change of frames, each by itself."""

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Change frames ``(frame, y, x)``, whose numbers among the stored frames are ``rows``; return others."""
        ...


@dataclass(frozen=True)
class Orient:
    """Swap and reverse the axes of the frames."""

    orientation: Orientation

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return a view."""
        return oriented_frames(block, self.orientation)


@dataclass(frozen=True, eq=False)
class ZeroPixels:
    """Set pixels ``(y, x)`` to 0 in all frames."""

    pixels: Mask

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return a copy."""
        return np.where(self.pixels, block.dtype.type(0), block)


@dataclass(frozen=True, eq=False)
class Marker:
    """A value that means "no data".

    Attributes:
        value: The value; NaN stands for all that is not finite.
        pixels: Pixels ``(y, x)`` in which it means that; None for all.
        frames: Stored frames in which it means that in every pixel, bool ``(frame,)``.
    """

    value: Any
    pixels: Mask | None = None
    frames: Mask | None = None

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Where a block holds it, bool ``(frame, y, x)``."""
        found: Mask = ~np.isfinite(block) if np.isnan(self.value) else block == self.value
        if self.pixels is not None and self.frames is not None:
            found &= self.pixels | self.frames[rows][:, None, None]
        return found


@dataclass(frozen=True, eq=False)
class Markers:
    """Where frames hold one of several markers."""

    markers: tuple[Marker, ...]

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Bool ``(frame, y, x)``."""
        found = np.zeros(block.shape, dtype=np.bool_)
        for marker in self.markers:
            found |= marker(block, rows)
        return found


@dataclass(frozen=True, eq=False)
class ZeroMarkers:
    """Set values that mean "no data" to 0."""

    markers: Markers

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return a copy."""
        return np.where(self.markers(block, rows), block.dtype.type(0), block)


@dataclass(frozen=True)
class SquareAmplitudes:
    """Square amplitudes; ``whole`` also rounds to whole photons."""

    whole: bool = False

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return float32."""
        if self.whole:
            return np.asarray(np.round(block.astype(np.float64) ** 2), dtype=np.float32)
        return block.astype(np.float32) ** 2


@dataclass(frozen=True)
class DivideByGain:
    """Divide by the detector's value for one photon; ``whole`` also rounds to whole photons."""

    gain: float
    whole: bool = False

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return float32."""
        photons = block.astype(np.float64) / self.gain
        return np.asarray(np.round(photons) if self.whole else photons, dtype=np.float32)


@dataclass(frozen=True, eq=False)
class DivideFrames:
    """Divide each frame by its own value of one photon, and round to whole photons.

    Attributes:
        rows: Stored frames, int64 ``(n,)``, in ascending order.
        gains: Their values of one photon, float64 ``(n,)``.
    """

    rows: Rows
    gains: NDArray[np.float64]

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return float32."""
        gains = self.gains[np.searchsorted(self.rows, rows)][:, None, None]
        return np.asarray(np.round(block.astype(np.float64) / gains), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class SubtractOffset:
    """Subtract the value that the detector reads without light; pixels that are not used stay 0."""

    offset: float
    valid: Mask

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return float32."""
        return np.where(self.valid, block - np.float64(self.offset), 0).astype(np.float32)


@dataclass(frozen=True)
class UndoLogarithm:
    """Counts from the logarithm, to a base, of counts plus one; ``whole`` also rounds to whole photons."""

    base: float
    whole: bool = False

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return float32."""
        photons = np.expm1(block.astype(np.float64) * np.log(self.base))
        return np.asarray(np.round(photons) if self.whole else photons, dtype=np.float32)


@dataclass(frozen=True)
class ClipNegative:
    """Set negative values to 0."""

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return a copy."""
        return np.maximum(block, 0)


@dataclass(frozen=True, eq=False)
class ReplaceValues:
    """Replace single values.

    Attributes:
        rows: Stored frames, int64 ``(n,)``, in ascending order.
        pixels: Row and column in a frame, int64 ``(n, 2)``.
        values: What takes their place, float64 ``(n,)``.
    """

    rows: Rows
    pixels: NDArray[np.int64]
    values: NDArray[np.float64]

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return a copy."""
        changed = block.copy()
        for i, row in enumerate(rows):
            which = slice(*np.searchsorted(self.rows, (row, row + 1)))
            changed[i, *self.pixels[which].T] = self.values[which]
        return changed


@dataclass(frozen=True)
class Roll:
    """Move frames cyclically by whole pixels (y, x)."""

    step: tuple[int, int]

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return a copy."""
        return np.roll(block, self.step, axis=(1, 2))


@dataclass(frozen=True, eq=False)
class RollEach:
    """Move each frame cyclically by its own whole pixels.

    Attributes:
        rows: Stored frames, int64 ``(n,)``, in ascending order.
        steps: Pixels (y, x) for each of them, int64 ``(n, 2)``.
    """

    rows: Rows
    steps: NDArray[np.int64]

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return a copy."""
        steps = self.steps[np.searchsorted(self.rows, rows)]
        moved = [np.roll(frame, (int(y), int(x)), axis=(0, 1)) for frame, (y, x) in zip(block, steps, strict=True)]
        return np.stack(moved) if moved else block


@dataclass(frozen=True)
class Crop:
    """Use a window (rows, columns) of each frame."""

    window: tuple[slice, slice]

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return a view."""
        return block[:, *self.window]


@dataclass(frozen=True)
class Bin:
    """Add up squares of pixels."""

    side: int

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return float32."""
        n, side = block.shape[1] // self.side, self.side
        binned = block.reshape(len(block), n, side, n, side).sum(axis=(2, 4), dtype=np.float32)
        return np.asarray(binned)


@dataclass(frozen=True)
class AsType:
    """Convert to a type of numbers."""

    dtype: np.dtype[Any]

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return frames of the type, contiguous in memory."""
        return np.ascontiguousarray(block, dtype=self.dtype)


@dataclass(frozen=True)
class SwapAxes:
    """Swap the axes of frames that MATLAB wrote."""

    def __call__(self, block: Block, rows: Rows) -> Block:
        """Return a view."""
        return np.swapaxes(block, -2, -1)
