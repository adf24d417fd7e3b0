"""A stack of frames, in memory or in files, with the corrections that are applied when frames are read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.frame_corrections import AsFloat, Correction
from ptycho_cli.data.stored_frames import StoredFrames

Rows = NDArray[np.int64]

BLOCK_PIXELS = 2**20  # in a block of frames; the same for frames in memory and in files, so that sums are the same


@dataclass(frozen=True, eq=False)
class FrameStack:
    """Frames ``(frame, y, x)`` that are read in blocks or by their rows; nothing else is held in memory.

    Attributes:
        base: Frames as stored: an array, or frames in files.
        corrections: What is done to frames that are read, in this order.
        rows: Numbers of the frames in ``base``, int64 ``(frame,)``; None for all.
    """

    base: NDArray[Any] | StoredFrames
    corrections: tuple[Correction, ...] = ()
    rows: Rows | None = None

    @cached_property
    def base_rows(self) -> Rows:
        """Numbers of the frames in ``base``, int64 ``(frame,)``."""
        return np.arange(self.base.shape[0], dtype=np.int64) if self.rows is None else self.rows

    @cached_property
    def _empty(self) -> NDArray[Any]:
        """No frames, as they would be after the corrections."""
        none = np.zeros(0, dtype=np.int64)
        return self._corrected(np.zeros((0, *self.base.shape[1:]), dtype=self.base.dtype), none)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape ``(frame, y, x)``."""
        return (len(self), *self._empty.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the frames after the corrections."""
        return self._empty.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.shape)

    @property
    def in_memory(self) -> bool:
        """Whether the frames as stored are in memory."""
        return not isinstance(self.base, StoredFrames)

    def __len__(self) -> int:
        return int(self.base.shape[0]) if self.rows is None else len(self.rows)

    def __getitem__(self, which: Any) -> NDArray[Any]:
        """Frames by number, slice, numbers or bool ``(frame,)``; ``(y, x)`` for a single number."""
        rows = np.asarray(self.base_rows[which])
        frames = self._read(rows.reshape(-1))
        return frames[0] if rows.ndim == 0 else frames

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return self.array(dtype)

    def select(self, which: Any) -> FrameStack:
        """The stack with only these frames, in this order: a slice, numbers, or bool ``(frame,)``."""
        return replace(self, rows=np.ascontiguousarray(self.base_rows[which]))

    def then(self, correction: Correction) -> FrameStack:
        """The stack with a further correction."""
        return replace(self, corrections=(*self.corrections, correction))

    def blocks(self) -> Iterator[tuple[slice, NDArray[Any]]]:
        """All frames in order, in blocks: which rows, and the frames ``(frame, y, x)``."""
        at_once = max(1, BLOCK_PIXELS // max(1, int(np.prod(self.base.shape[1:]))))
        for start in range(0, len(self), at_once):
            which = slice(start, min(start + at_once, len(self)))
            yield which, self._corrected(self._stored(which), self.base_rows[which])

    def array(self, dtype: Any = None) -> NDArray[Any]:
        """All frames in memory, contiguous, of a type; the base itself where that is the same."""
        dtype = np.dtype(dtype or self.dtype)
        if not isinstance(self.base, StoredFrames) and not self.corrections and self.rows is None:
            return np.ascontiguousarray(self.base, dtype=dtype)
        found = np.empty(self.shape, dtype=dtype)
        for which, block in self.blocks():
            found[which] = block
        return found

    def held(self, dtype: Any) -> NDArray[Any] | FrameStack:
        """All frames in memory where the stored ones are; else the stack, with frames of a type."""
        assert np.dtype(dtype) == np.float32
        return self.array(dtype) if self.in_memory else self.then(AsFloat())

    def _stored(self, which: slice) -> NDArray[Any]:
        """A block as stored, without a copy where that is possible."""
        if self.rows is None and not isinstance(self.base, StoredFrames):
            return self.base[which]
        return self._as_stored(self.base_rows[which])

    def _read(self, rows: Rows) -> NDArray[Any]:
        return self._corrected(self._as_stored(rows), rows)

    def _as_stored(self, rows: Rows) -> NDArray[Any]:
        return self.base.read(rows) if isinstance(self.base, StoredFrames) else self.base[rows]

    def _corrected(self, frames: NDArray[Any], rows: Rows) -> NDArray[Any]:
        for correction in self.corrections:
            frames = correction(frames, rows)
        return frames


def stack_of(frames: Any) -> FrameStack:
    """A stack of frames, which may be one already or an array ``(frame, y, x)``."""
    return frames if isinstance(frames, FrameStack) else FrameStack(np.asarray(frames))
