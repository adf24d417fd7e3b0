"""Statistics of frames, gathered over blocks, so that frames in files are read once and never held.

Sums over frames are formed frame by frame. They do not depend on the blocks, nor on where the frames are.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.frame_stack import FrameStack, stack_of

Array = NDArray[Any]
Totals = NDArray[np.float64]
Mask = NDArray[np.bool_]

LIMITS = tuple(
    sorted({2**bits - 1 - below for bits in (15, 16, 31, 32, 63, 64) for below in (0, 1)}, reverse=True)
)  # the largest numbers of integer types, also when copied to a wider type, and those just below
CELLS = 16  # along each axis, in which the light of a frame is added up
SAMPLE = 200_000  # values that are looked at one by one
EXACT, EXACT_FLOAT32 = 2.0**53, 2.0**24  # below which sums of whole numbers are exact, and whole numbers as float32


class _Gatherer(Protocol):
    def add(self, which: slice, block: Array) -> None: ...


def gather(frames: FrameStack, *gatherers: _Gatherer) -> bool:
    """Pass once over all frames; what is not finite counts as 0. Return whether all values are finite."""
    all_finite = True
    for which, block in frames.blocks():
        if np.issubdtype(block.dtype, np.floating) and not (finite := np.isfinite(block)).all():
            all_finite, block = False, np.where(finite, block, block.dtype.type(0))
        for gatherer in gatherers:
            gatherer.add(which, block)
    return all_finite


def of_frames(frames: FrameStack, compute: Callable[[Array], Array]) -> Array:
    """Join what is computed from each block, one value for each frame, ``(frame, ...)``."""
    return np.concatenate([compute(block) for _, block in frames.blocks()])


def of_pixels(frames: FrameStack, compute: Callable[[Array], Array]) -> Array:
    """Add up what is computed from each block, one value for each pixel, ``(y, x)``."""
    found = np.zeros(frames.shape[1:])
    for _, block in frames.blocks():
        found += compute(block)
    return found


def total_of(frames: Any) -> Totals:
    """Sum of all frames, float64 ``(y, x)``."""
    return _Gathered.of(frames).total if isinstance(frames, FrameStack) else _sum(frames)


def photons_of(frames: Any) -> Totals:
    """Sum of each frame, float64 ``(frame,)``."""
    if isinstance(frames, FrameStack):
        return _Gathered.of(frames).photons
    return np.asarray(frames.sum(axis=(1, 2), dtype=np.float64))


def squares_of(frames: Any) -> float:
    """Sum of the squares of all values."""
    if isinstance(frames, FrameStack):
        return _Gathered.of(frames).squares
    return float(of_frames(stack_of(frames), _squares).sum())


def largest_of(frames: Any) -> float:
    """The largest value."""
    return _Gathered.of(frames).largest if isinstance(frames, FrameStack) else float(frames.max())


def whole_share_of(frames: Any) -> float:
    """Share of the values that are whole numbers."""
    if isinstance(frames, FrameStack):
        return _Gathered.of(frames).whole_share
    return float(of_frames(stack_of(frames), _whole).sum() / frames.size)


def _sum(block: Array, total: Totals | None = None) -> Totals:
    total = np.zeros(block.shape[1:]) if total is None else total
    for frame in block:
        total += frame
    return total


def _squares(block: Array) -> Totals:
    return np.asarray(np.square(block, dtype=np.float64).sum(axis=(1, 2)))


def _whole(block: Array) -> Array:
    return np.asarray((block == np.floor(block)).sum(axis=(1, 2)))


class _Gathered:
    """Statistics of frames in files, from one pass, kept with the stack."""

    def __init__(self, frames: FrameStack) -> None:
        self.total = np.zeros(frames.shape[1:])
        self.photons = np.zeros(len(frames))
        self.squares, self.largest, whole = 0.0, 0.0, 0
        squares = np.zeros(len(frames))
        for which, block in frames.blocks():
            _sum(block, self.total)
            self.photons[which] = block.sum(axis=(1, 2), dtype=np.float64)
            squares[which] = _squares(block)
            self.largest = max(self.largest, float(block.max(initial=0)))
            whole += int(_whole(block).sum())
        self.squares = float(squares.sum())
        self.whole_share = whole / max(1, int(np.prod(frames.shape)))

    @staticmethod
    def of(frames: FrameStack) -> _Gathered:
        kept = frames.__dict__
        if "_gathered" not in kept:
            kept["_gathered"] = _Gathered(frames)
        found: _Gathered = kept["_gathered"]
        return found

    @classmethod
    def known(cls, pixels: PixelStatistics, photons: Totals) -> _Gathered:
        """The same, from statistics of frames of whole numbers."""
        found = cls.__new__(cls)
        found.total, found.photons, found.whole_share = pixels.total, photons, 1.0
        found.squares, found.largest = float(pixels.squares.sum()), float(pixels.largest.max())
        return found


def use_known(frames: FrameStack, pixels: PixelStatistics, photons: Totals, window: tuple[slice, slice]) -> None:
    """Use statistics from before frames were cropped, where they are those of a further pass: sums are then exact.

    Args:
        frames: The cropped frames.
        pixels: Statistics of their pixels before.
        photons: Photons of each frame before, ``(frame,)``.
        window: What of the frames is left.
    """
    outside = np.ones(pixels.total.shape, dtype=np.bool_)
    outside[window] = False
    exact = pixels.whole and pixels.all_finite and pixels.squares.sum() < EXACT and pixels.largest.max() < EXACT_FLOAT32
    if exact and pixels.is_zero(outside):
        frames.__dict__["_gathered"] = _Gathered.known(pixels.cropped(window), photons)


class Top:
    """The largest value above 0, and in how many frames each pixel has it.

    Attributes:
        value: The value, of the type of the frames; 0 where none is above 0.
        frames: Number of frames for each pixel, int64 ``(y, x)``.
    """

    def __init__(self, frames: FrameStack) -> None:
        self.value = frames.dtype.type(0)
        self.frames = np.zeros(frames.shape[1:], dtype=np.int64)

    def add(self, which: slice, block: Array) -> None:
        """Take a block into account."""
        largest = block.max(initial=0)
        if largest > self.value:
            self.value, self.frames = block.dtype.type(largest), np.zeros_like(self.frames)
        if largest == self.value and largest > 0:
            self.frames += (block == self.value).sum(axis=0)


class PixelStatistics:
    """Statistics of each pixel over all frames. What is not finite counts as 0.

    Attributes:
        total: Sum, float64 ``(y, x)``.
        squares: Sum of squares, float64 ``(y, x)``.
        smallest: Smallest value, ``(y, x)``.
        largest: Largest value, ``(y, x)``.
        top: The largest value of all pixels, and where it is; None if pixels were set to 0 since.
        all_finite: Whether all values are finite.
        limits: Which of ``LIMITS`` occur.
        n_frames: Number of frames.
        whole: Whether all values are whole numbers.
    """

    def __init__(self, frames: FrameStack) -> None:
        shape = frames.shape[1:]
        self.total, self.squares, self.n_frames = np.zeros(shape), np.zeros(shape), len(frames)
        self.smallest = self.largest = np.zeros(shape, dtype=frames.dtype)
        self.top: Top | None = Top(frames)
        self.all_finite, self.limits, self.whole = True, set[int](), True

    def add(self, which: slice, block: Array) -> None:
        """Take a block into account."""
        for frame in block:
            values = frame.astype(np.float64)
            self.total += values
            self.squares += values * values
        low, high = block.min(axis=0), block.max(axis=0)
        self.smallest = low if which.start == 0 else np.minimum(self.smallest, low)
        self.largest = high if which.start == 0 else np.maximum(self.largest, high)
        if self.top is not None:
            self.top.add(which, block)
        if self.whole and np.issubdtype(block.dtype, np.floating):
            self.whole = bool((block == np.floor(block)).all())
        most = float(high.max())
        for limit in LIMITS:
            if limit <= most and limit not in self.limits and (block == block.dtype.type(limit)).any():
                self.limits.add(limit)

    @property
    def any(self) -> bool:
        """Whether a value differs from 0."""
        return bool(self.squares.any()) or not self.all_finite

    def is_zero(self, pixels: Mask) -> bool:
        """Whether pixels ``(y, x)`` are 0 in all frames."""
        return self.all_finite and not self.squares[pixels].any()

    def without(self, pixels: Mask) -> PixelStatistics:
        """The same with pixels ``(y, x)`` set to 0; the largest value of all is not known then."""
        return self._changed(lambda values: np.where(pixels, values.dtype.type(0), values))

    def rolled(self, step: tuple[int, int]) -> PixelStatistics:
        """The same for frames that are rolled by whole pixels (y, x)."""
        return self._changed(lambda values: np.roll(values, step, axis=(0, 1)))

    def cropped(self, window: tuple[slice, slice]) -> PixelStatistics:
        """The same for a window of the frames."""
        return self._changed(lambda values: values[window])

    def _changed(self, change: Callable[[Array], Array]) -> PixelStatistics:
        found = copy(self)
        for name in ("total", "squares", "smallest", "largest"):
            setattr(found, name, change(getattr(self, name)))
        found.top = None
        return found


@dataclass(frozen=True, eq=False)
class FrameStatistics:
    """Statistics of each frame over its pixels.

    Attributes:
        photons: Sum, float64 ``(frame,)``.
        digests: Digest of the values.
        cells: Sums in cells of pixels, float64 ``(frame, row, column)``.
    """

    photons: Totals
    digests: Array
    cells: Totals

    def select(self, which: Any) -> FrameStatistics:
        """Those of some frames."""
        return replace(self, photons=self.photons[which], digests=self.digests[which], cells=self.cells[which])


def cell_edges(n: int) -> NDArray[np.int64]:
    """First pixels of the cells along an axis of ``n`` pixels, and ``n``, ``(cell + 1,)``."""
    return np.unique(np.linspace(0, n, CELLS + 1).astype(np.int64))


def cells_of(frames: Array) -> Totals:
    """Sums of frames ``(frame, y, x)`` in up to ``CELLS`` cells along each axis, ``(frame, row, column)``."""
    rows, columns = (cell_edges(side)[:-1] for side in frames.shape[1:])
    return np.asarray(np.add.reduceat(np.add.reduceat(frames, rows, 1, dtype=np.float64), columns, axis=2))


class FrameGatherer:
    """Gathers ``FrameStatistics``."""

    def __init__(self, frames: FrameStack) -> None:
        self._photons = np.zeros(len(frames))
        self._digests = np.zeros(len(frames), dtype="S16")
        self._cells = np.zeros((len(frames), *cells_of(np.zeros((1, *frames.shape[1:]))).shape[1:]))

    def add(self, which: slice, block: Array) -> None:
        """Take a block into account."""
        self._cells[which] = cells_of(block)
        self._photons[which] = block.sum(axis=(1, 2), dtype=np.float64)
        for row, frame in zip(range(which.start, which.stop), block, strict=True):
            key = hashlib.blake2b(np.ascontiguousarray(frame).data, digest_size=16).digest()
            self._digests[row] = key

    def found(self) -> FrameStatistics:
        """The statistics."""
        return FrameStatistics(self._photons, self._digests, self._cells)


class SampleGatherer:
    """Gathers some values of the pixels that are used, evenly spread over all frames.

    Args:
        frames: The frames.
        valid: Pixels that are used, bool ``(y, x)``.
    """

    def __init__(self, frames: FrameStack, valid: Mask) -> None:
        self._pixels = np.flatnonzero(valid)
        size = len(frames) * len(self._pixels)
        self._places = np.arange(0, size, max(1, size // SAMPLE))
        self._values: list[Array] = []

    def add(self, which: slice, block: Array) -> None:
        """Take a block into account."""
        n = max(1, len(self._pixels))
        low, high = np.searchsorted(self._places, (which.start * n, which.stop * n))
        frame, pixel = np.divmod(self._places[low:high], n)
        self._values.append(block.reshape(len(block), -1)[frame - which.start, self._pixels[pixel]])

    def found(self) -> NDArray[np.float64]:
        """The positive values among them, ``(n,)``."""
        values = np.concatenate([np.zeros(0), *self._values])
        return values[values > 0].astype(np.float64)
