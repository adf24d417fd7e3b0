"""Frames in files, read when they are asked for: HDF5 datasets, series of them, and .npy files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.containers import damaged_hdf5
from ptycho_cli.data.frame_scratch import FrameScratch, opened_scratch
from ptycho_cli.data.linked_files import part_files
from ptycho_cli.progress_callback import Progress

LOADED_BYTES = 2**25  # of frames that are read at once, if these are more than one chunk


@dataclass(frozen=True)
class FramePart:
    """Frames in one dataset of one file.

    Attributes:
        path: The file.
        name: Path of the dataset in an HDF5 file; empty for a .npy file.
        number: How many frames of it are used, from the first.
        first: Index of the axes before that of the frames, each of length 1.
        columns: Frames in a row of a raster ``(row, column, y, x)``; None for ``(frame, y, x)``.
        height: Entries of the first axis that are used where frames lie along the last of three; None where they do
            not.
    """

    path: str
    name: str
    number: int
    first: tuple[int, ...] = ()
    columns: int | None = None
    height: int | None = None

    def read(self, array: Any, start: int, stop: int) -> NDArray[Any]:
        """Frames ``start`` to ``stop`` of the open dataset, ``(frame, y, x)``."""
        if self.height is not None:
            return np.moveaxis(np.asarray(array[: self.height, :, start:stop]), -1, 0)
        if self.columns is None:
            return np.asarray(array[(*self.first, slice(start, stop))])
        rows = range(start // self.columns, (stop - 1) // self.columns + 1)
        found = [
            array[row, max(start - row * self.columns, 0) : min(stop - row * self.columns, self.columns)]
            for row in rows
        ]
        return np.concatenate(found)


class StoredFrames:
    """Frames that stay in their files; as many as ``keep_bytes`` allows are kept in memory, as they are stored.

    What is kept is what is read first: over passes through all frames, and for frames in random order, no other choice
    is better. Frames that are decompressed a second time go to a temporary file. Files are opened by path in the
    process that reads, so an object can be sent to other processes, which then have no temporary file.

    Args:
        parts: Where the frames are, one part after the other.
        shape: Shape (y, x) of a frame.
        dtype: Stored type.
        chunk: Frames that are stored together, and are read and kept together.
        as_cheap_as_scratch: Whether a single frame is read as fast as from a temporary file.

    Attributes:
        shape: ``(frame, y, x)``.
        dtype: Stored type.
        keep_bytes: The most memory for frames.
        progress: Called in passes through all frames with (frames done, frames in all).
    """

    progress: Progress | None = None

    def __init__(
        self, parts: tuple[FramePart, ...], shape: tuple[int, ...], dtype: Any, chunk: int = 1,
        as_cheap_as_scratch: bool = False,
    ) -> None:  # fmt: skip
        self.parts, self.dtype, self.chunk = parts, np.dtype(dtype), chunk
        self.as_cheap_as_scratch = as_cheap_as_scratch
        self.keep_bytes = 0
        self._starts = [0, *np.cumsum([part.number for part in parts]).tolist()]
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *shape)
        self._forget()

    def _forget(self) -> None:
        self._kept: dict[int, NDArray[Any]] = {}
        self.kept_bytes = 0
        self._latest: tuple[int, NDArray[Any]] = (0, np.zeros((0, *self.shape[1:]), dtype=self.dtype))
        self._read_before = np.zeros(-(-len(self) // self.chunk), dtype=np.bool_)
        self._scratch: FrameScratch | None = None
        self._open: dict[FramePart, Any] = {}
        self._files: list[Any] = []
        self._process = self._opened_by = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("parts", "shape", "dtype", "chunk")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(  # type: ignore[misc]
            state["parts"], state["shape"][1:], state["dtype"], state["chunk"], as_cheap_as_scratch=True
        )

    def __len__(self) -> int:
        return int(self.shape[0])

    @property
    def nbytes(self) -> int:
        """Bytes of all frames as stored, without compression."""
        return int(math.prod(self.shape) * self.dtype.itemsize)

    def use(self, dataset: h5py.Dataset) -> None:
        """Read the first part from a dataset that is open, for as long as it is."""
        self._open[self.parts[0]] = dataset

    def joined(self, others: list[StoredFrames]) -> StoredFrames:
        """These frames and those of others after them."""
        parts = (part for other in (self, *others) for part in other.parts)
        chunk = max(other.chunk for other in (self, *others))
        dtype = np.result_type(self.dtype, *(other.dtype for other in others))
        cheap = all(other.as_cheap_as_scratch for other in (self, *others))
        found = StoredFrames(tuple(parts), self.shape[1:], dtype, chunk, cheap)
        for other in (self, *others):
            found._open |= other._open
        return found

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Frames by their numbers, in that order, ``(frame, y, x)``.

        Raises:
            DataError: If a file is damaged or no longer there.
        """
        found = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        places = np.array([i for i, row in enumerate(rows.tolist()) if not self._recall(row, found[i])], dtype=np.int64)
        chunks = rows[places] // self.chunk
        for first, last in _runs(np.unique(chunks).tolist(), self._chunks_at_once):
            inside = places[(chunks >= first) & (chunks <= last)]
            start, stop = first * self.chunk, min((last + 1) * self.chunk, len(self))
            frames = self._load(start, stop)
            found[inside] = frames[rows[inside] - start]
            self._remember(first, last, frames)
        return found

    def _recall(self, row: int, into: NDArray[Any]) -> bool:
        """Copy a frame that is known from before; False if it is not."""
        start, frames = self._latest
        if start <= row < start + len(frames):
            into[...] = frames[row - start]
        elif (kept := self._kept.get(row // self.chunk)) is not None:
            into[...] = kept[row % self.chunk]
        else:
            return self._scratch is not None and self._scratch.read(row, into)
        return True

    def _remember(self, first: int, last: int, frames: NDArray[Any]) -> None:
        """Keep the chunks that were read in memory as far as there is room; the others the second time on the disk."""
        room = min(self._room(), last - first + 1)
        self._keep(first, room, frames)
        if self.chunk > 1:
            self._latest = first * self.chunk, frames
        rest = slice(first + room, last + 1)
        if self._read_before[rest].any() and not self.as_cheap_as_scratch:
            if self._scratch is None and self._process == os.getpid():
                self._scratch = opened_scratch(self.shape, self.dtype)
                self.as_cheap_as_scratch = self._scratch is None  # do not ask again
            if self._scratch is not None:
                self._scratch.write(rest.start * self.chunk, frames[room * self.chunk :])
        self._read_before[rest] = True

    def with_frames_last(self) -> StoredFrames | None:
        """The same dataset with frames along its last axis, ``(y, x, frame)``; None where that cannot be."""
        part = self.parts[0]
        if len(self.parts) > 1 or part.first or part.columns is not None:
            return None
        last = FramePart(part.path, part.name, self.shape[2], height=self.shape[0])
        frame_bytes = max(1, self.nbytes // self.shape[2])
        chunks = self._dataset(part).chunks if part.name else None
        return StoredFrames(
            (last,), self.shape[:2], self.dtype, max(LOADED_BYTES // frame_bytes, *(chunks or (1,))[-1:], 1)
        )

    def read_all(self) -> NDArray[Any]:
        """All frames, ``(frame, y, x)``."""
        return self._load(0, len(self))

    @property
    def _chunk_bytes(self) -> int:
        return max(1, self.chunk * self.nbytes // max(len(self), 1))

    @property
    def _chunks_at_once(self) -> int:
        return max(1, LOADED_BYTES // self._chunk_bytes)

    def _room(self) -> int:
        """Number of chunks that can still be kept; a process that was forked shares what was kept before."""
        return max(0, self.keep_bytes - self.kept_bytes) // self._chunk_bytes if self._process == os.getpid() else 0

    def _keep(self, first: int, number: int, frames: NDArray[Any]) -> None:
        """Keep a number of chunks of those that were read, from the first."""
        kept = frames[: number * self.chunk]
        kept = kept if len(kept) == len(frames) else kept.copy()
        self.kept_bytes += kept.nbytes
        for start in range(0, len(kept), self.chunk):
            self._kept[first + start // self.chunk] = kept[start : start + self.chunk]

    def _load(self, start: int, stop: int) -> NDArray[Any]:
        found = [np.zeros((0, *self.shape[1:]), dtype=self.dtype)] if start >= stop else []
        for part, (first, end) in zip(self.parts, pairwise(self._starts), strict=True):
            low, high = max(start, first), min(stop, end)
            if low < high:
                found.append(self._read_part(part, low - first, high - first))
        return found[0] if len(found) == 1 else np.concatenate(found)

    def _read_part(self, part: FramePart, start: int, stop: int) -> NDArray[Any]:
        if not part.name:  # mapped anew for each block, so that pages which were read are given back
            return np.array(part.read(np.load(part.path, mmap_mode="r", allow_pickle=False), start, stop))
        try:
            return part.read(self._dataset(part), start, stop)
        except (OSError, KeyError) as problem:
            raise damaged_hdf5(Path(part.path), "damaged or no longer there:", problem) from None

    def _dataset(self, part: FramePart) -> h5py.Dataset:
        """The open dataset. A process that was forked opens files of its own: HDF5 must not share them."""
        import hdf5plugin  # noqa: F401 - registers the filters that detectors compress with

        if self._opened_by != os.getpid():
            self._open, self._files, self._opened_by = {}, [], os.getpid()
        if not self._open.get(part):  # a dataset of a file that was closed is false
            file = h5py.File(part.path, "r")
            self._files.append(file)
            self._open[part] = file[part.name]
        return self._open[part]


def _runs(numbers: list[int], most: int) -> Iterator[tuple[int, int]]:
    """First and last of runs of at most ``most`` consecutive numbers, which are in ascending order."""
    breaks = [i for i, (a, b) in enumerate(pairwise(numbers), start=1) if b != a + 1]
    for start, stop in pairwise([0, *breaks, len(numbers)]) if numbers else ():
        for first in range(numbers[start], numbers[stop - 1] + 1, most):
            yield first, min(first + most, numbers[stop - 1] + 1) - 1


def stored_frames(stored: Any, max_frames: int | None, leading: int, raster: bool) -> StoredFrames | None:
    """Frames of an open HDF5 dataset or a mapped .npy file that stay there; None for arrays in memory.

    Args:
        stored: The dataset or array, ``(..., frame, y, x)``, or ``(row, column, y, x)``.
        max_frames: Use only the first frames; None for all.
        leading: Axes of length 1 before the others.
        raster: Whether it is a raster.
    """
    is_hdf5 = isinstance(stored, h5py.Dataset)
    if is_hdf5:
        path, name = stored.file.filename, stored.name
    elif isinstance(stored, np.memmap) and stored.filename is not None:
        path, name = str(stored.filename), ""
    else:
        return None
    shape = tuple(stored.shape)[leading:]
    number = shape[0] * shape[1] if raster else shape[0]
    number = number if max_frames is None else min(number, max_frames)
    part = FramePart(str(path), str(name), number, (0,) * leading, shape[1] if raster else None)
    chunks = _chunks(stored)[leading:] if is_hdf5 else ()
    cheap = not chunks
    found = StoredFrames((part,), shape[-2:], stored.dtype, _frames_in_chunk(chunks, shape, raster), cheap)
    if is_hdf5:
        found.use(stored)
    return found


def _chunks(dataset: h5py.Dataset) -> tuple[int, ...]:
    """Shape of the chunks of a dataset, of a virtual one those of its first part; empty where there are none."""
    if not dataset.is_virtual:
        return dataset.chunks or ()
    for source in dataset.virtual_sources()[:1]:
        for found in part_files(str(source.file_name), dataset.file.filename)[:1]:
            with suppress(OSError, KeyError, AttributeError), h5py.File(found) as file:
                return file[source.dset_name].chunks or ()
    return ()


def _frames_in_chunk(chunks: tuple[int, ...], shape: tuple[int, ...], raster: bool) -> int:
    """Frames that are decompressed together: of a raster, whole rows where a chunk has several frames."""
    if len(chunks) != len(shape):
        return 1
    if not raster:
        return chunks[0]
    return chunks[0] * shape[1] if max(chunks[:2]) > 1 else 1
