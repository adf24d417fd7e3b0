"""A stack of frames, in memory or in files, with the corrections that are applied when frames are read."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.frame_corrections import AsType, Correction
from ptycho_cli.data.frame_scratch import lack_of_room
from ptycho_cli.data.stored_frames import StoredFrames
from ptycho_cli.progress_callback import Progress

Rows = NDArray[np.int64]

# Of each pixel, for a scan that is reconstructed in memory: counts, amplitudes, expected photons and their copies.
SCAN_BYTES = 16
BLOCK_PIXELS = 2**20  # in a block of frames; the same for frames in memory and in files, so that sums are the same


@dataclass(frozen=True, eq=False)
class FrameStack:
    """Frames ``(frame, y, x)`` that are read in blocks or by their rows; nothing else is held in memory.

    Attributes:
        base: Frames as stored: an array, or frames in files.
        corrections: What is done to frames that are read, in this order.
        rows: Numbers of the frames in ``base``, int64 ``(frame,)``; None for all.
        in_blocks: Whether a scan is to read frames in blocks, since it does not fit into memory.
    """

    base: NDArray[Any] | StoredFrames
    corrections: tuple[Correction, ...] = ()
    rows: Rows | None = None
    in_blocks: bool = False

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
            if isinstance(self.base, StoredFrames) and self.base.progress is not None:
                self.base.progress(which.stop, len(self))

    def array(self, dtype: Any = None) -> NDArray[Any]:
        """All frames in memory, contiguous, of a type; the base itself where that is the same."""
        dtype = np.dtype(dtype or self.dtype)
        if not isinstance(self.base, StoredFrames) and not self.corrections and self.rows is None:
            return np.ascontiguousarray(self.base, dtype=dtype)
        found = np.empty(self.shape, dtype=dtype)
        for which, block in self.blocks():
            found[which] = block
        return found

    def in_budget(self, budget_bytes: float) -> FrameStack:
        """The stack with its stored frames in memory, if a scan of them fits there; else some of them will be kept."""
        if math.prod(self.base.shape) * SCAN_BYTES <= budget_bytes:
            return replace(self, base=self.base.read_all()) if isinstance(self.base, StoredFrames) else self
        if isinstance(self.base, StoredFrames):
            self.base.keep_bytes = int(budget_bytes)
        return replace(self, in_blocks=True)

    @property
    def lacks_scratch(self) -> str | None:
        """Reason why frames beyond the memory are decompressed each time they are read, one clause; None if not so."""
        frames = self.base
        if not self.in_blocks or not isinstance(frames, StoredFrames) or frames.as_cheap_as_scratch:
            return None
        return lack_of_room(frames.nbytes)

    @contextmanager
    def reporting(self, progress: Progress | None) -> Iterator[None]:
        """Report passes through frames in files."""
        if not isinstance(self.base, StoredFrames):
            yield
            return
        self.base.progress = progress
        try:
            yield
        finally:
            self.base.progress = None

    def as_counts(self, largest: float) -> NDArray[Any] | FrameStack:
        """All frames as counts of at least 0, in memory or as a stack that hands them out in blocks.

        Integers below 65,536 become uint8 or uint16, all else float32.

        Args:
            largest: No value is larger.
        """
        short = np.issubdtype(self.dtype, np.integer) and largest < 2**16
        kind = np.min_scalar_type(int(largest)) if short else np.dtype(np.float32)
        return self.then(AsType(kind)) if self.in_blocks else self.array(kind)

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


def rows_of(frames: NDArray[Any] | FrameStack, which: Any) -> Any:
    """Some frames: of an array an array, of a stack a stack, which reads nothing yet."""
    return frames.select(which) if isinstance(frames, FrameStack) else frames[which]


def joined(stacks: Sequence[Any]) -> FrameStack:
    """One stack of the frames of several, each a stack as stored or an array ``(frame, y, x)``.

    They stay in their files if all of them do.
    """
    bases = [stack.base for stack in map(stack_of, stacks)]
    stored = [base for base in bases if isinstance(base, StoredFrames)]
    if len(stored) < len(bases):
        return FrameStack(np.concatenate([np.asarray(stack) for stack in stacks]))
    return FrameStack(stored[0].joined(stored[1:]))
