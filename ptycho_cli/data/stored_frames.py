"""Frames in files, read when they are asked for: HDF5 datasets, series of them, and .npy files."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.containers import damaged_hdf5
from ptycho_cli.progress_callback import Progress

# Of decompressed chunks that HDF5 keeps for each dataset, so that a chunk of many frames is not read again for each.
CHUNK_CACHE_BYTES, CHUNK_CACHE_SLOTS = 2**26, 10_007


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

    Files are opened by path in the process that reads, so an object can be sent to other processes. What is kept is
    what is read first: over passes through all frames, and for frames in random order, no other choice is better.

    Args:
        parts: Where the frames are, one part after the other.
        shape: Shape (y, x) of a frame.
        dtype: Stored type.
        chunk: Frames that are stored together, and are read and kept together.

    Attributes:
        shape: ``(frame, y, x)``.
        dtype: Stored type.
        keep_bytes: The most memory for frames.
        progress: Called in passes through all frames with (frames done, frames in all).
    """

    progress: Progress | None = None

    def __init__(self, parts: tuple[FramePart, ...], shape: tuple[int, ...], dtype: Any, chunk: int = 1) -> None:
        self.parts, self.dtype, self.chunk = parts, np.dtype(dtype), chunk
        self.keep_bytes = 0
        self._starts = [0, *np.cumsum([part.number for part in parts]).tolist()]
        self.shape: tuple[int, ...] = (int(self._starts[-1]), *shape)
        self._forget()

    def _forget(self) -> None:
        self._kept: dict[int, NDArray[Any]] = {}
        self.kept_bytes = 0
        self._open: dict[FramePart, Any] = {}
        self._files: list[Any] = []
        self._process = self._opened_by = os.getpid()

    def __getstate__(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in ("parts", "shape", "dtype", "chunk")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["parts"], state["shape"][1:], state["dtype"], state["chunk"])  # type: ignore[misc]

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
        found = StoredFrames(tuple(parts), self.shape[1:], dtype, chunk)
        for other in (self, *others):
            found._open |= other._open
        return found

    def read(self, rows: NDArray[np.int64]) -> NDArray[Any]:
        """Frames by their numbers, in that order, ``(frame, y, x)``.

        Raises:
            DataError: If a file is damaged or no longer there.
        """
        found = np.empty((len(rows), *self.shape[1:]), dtype=self.dtype)
        chunks = rows // self.chunk
        needed = np.unique(chunks).tolist()
        for chunk in needed:
            if (kept := self._kept.get(chunk)) is not None:
                inside = np.flatnonzero(chunks == chunk)
                found[inside] = kept[rows[inside] - chunk * self.chunk]
        for first, last in _runs([chunk for chunk in needed if chunk not in self._kept]):
            inside = np.flatnonzero((chunks >= first) & (chunks <= last))
            start, stop = first * self.chunk, min((last + 1) * self.chunk, len(self))
            room = min(self._room(), last - first + 1)
            if not room:
                start, stop = int(rows[inside].min()), int(rows[inside].max()) + 1
            frames = self._load(start, stop)
            found[inside] = frames[rows[inside] - start]
            self._keep(first, room, frames)
        return found

    def with_frames_last(self) -> StoredFrames | None:
        """The same dataset with frames along its last axis, ``(y, x, frame)``; None where that cannot be."""
        part = self.parts[0]
        if len(self.parts) > 1 or part.first or part.columns is not None:
            return None
        last = FramePart(part.path, part.name, self.shape[2], height=self.shape[0])
        return StoredFrames((last,), self.shape[:2], self.dtype)

    def read_all(self) -> NDArray[Any]:
        """All frames, ``(frame, y, x)``."""
        return self._load(0, len(self))

    def _room(self) -> int:
        """Number of chunks that can still be kept; a process that was forked shares what was kept before."""
        needed = self.chunk * self.nbytes // max(len(self), 1)
        return max(0, self.keep_bytes - self.kept_bytes) // max(needed, 1) if self._process == os.getpid() else 0

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
            access = h5py.h5p.create(h5py.h5p.DATASET_ACCESS)
            access.set_chunk_cache(CHUNK_CACHE_SLOTS, CHUNK_CACHE_BYTES, 1.0)
            self._files.append(file)
            self._open[part] = h5py.Dataset(h5py.h5d.open(file.id, part.name.encode(), access))
        return self._open[part]


def _runs(numbers: list[int]) -> Iterator[tuple[int, int]]:
    """First and last of each run of consecutive numbers, which are in ascending order."""
    breaks = [i for i, (a, b) in enumerate(pairwise(numbers), start=1) if b != a + 1]
    for start, stop in pairwise([0, *breaks, len(numbers)]) if numbers else ():
        yield numbers[start], numbers[stop - 1]


def stored_frames(stored: Any, max_frames: int | None, leading: int, raster: bool) -> StoredFrames | None:
    """Frames of an open HDF5 dataset or a mapped .npy file that stay there; None for arrays in memory.

    Args:
        stored: The dataset or array, ``(..., frame, y, x)``, or ``(row, column, y, x)``.
        max_frames: Use only the first frames; None for all.
        leading: Axes of length 1 before the others.
        raster: Whether it is a raster.
    """
    if isinstance(stored, h5py.Dataset):
        path, name, chunks = stored.file.filename, stored.name, stored.chunks
    elif isinstance(stored, np.memmap) and stored.filename is not None:
        path, name, chunks = str(stored.filename), "", None
    else:
        return None
    shape = tuple(stored.shape)[leading:]
    number = shape[0] * shape[1] if raster else shape[0]
    number = number if max_frames is None else min(number, max_frames)
    part = FramePart(str(path), str(name), number, (0,) * leading, shape[1] if raster else None)
    chunk = 1 if chunks is None else int(chunks[leading + raster])
    found = StoredFrames((part,), shape[-2:], stored.dtype, chunk)
    if isinstance(stored, h5py.Dataset):
        found.use(stored)
    return found
