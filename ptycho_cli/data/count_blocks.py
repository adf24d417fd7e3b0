"""Counts of scans in blocks of frames, in the smallest type that holds them exactly, for writing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.frame_stack import stack_of
from ptycho_cli.data.scan import Scan

Blocks = Iterator[tuple[slice, NDArray[Any]]]


class JoinedCounts:
    """Counts of several scans one after the other, 0 where the common mask is False; nothing is held in memory.

    Attributes:
        scans: The scans.
        mask: Valid detector pixels of all, bool ``(y, x)``.
        shape: Shape ``(frame, y, x)``.
    """

    def __init__(self, scans: Sequence[Scan], mask: NDArray[np.bool_]) -> None:
        self.scans, self.mask = scans, mask
        self.shape = (sum(scan.n_frames for scan in scans), *mask.shape)

    def blocks(self) -> Blocks:
        """All frames in order: which rows, and the frames ``(frame, y, x)``."""
        first = 0
        for scan in self.scans:
            for which, counts in stack_of(scan.counts).blocks():
                yield slice(first + which.start, first + which.stop), np.where(self.mask, counts, np.float32(0))
            first += scan.n_frames


def count_type(scan: Scan) -> np.dtype[Any]:
    """Type that holds all counts of a scan exactly: 16-bit or 32-bit integers where they are whole numbers."""
    largest = 0.0
    for _, counts in _blocks(scan):
        if not np.all(counts == np.rint(counts)):
            return np.dtype(np.float32)
        largest = max(largest, float(counts.max(initial=0)))
    kinds = {2**16: np.uint16, 2**32: np.uint32}
    return np.dtype(next((kind for limit, kind in kinds.items() if largest < limit), np.float32))


def count_blocks(scan: Scan, kind: np.dtype[Any]) -> Blocks:
    """All frames in order, in blocks: which frames, and their counts ``(frame, y, x)`` in a type."""
    return ((which, counts.astype(kind, copy=False)) for which, counts in _blocks(scan))


def write_counts(group: h5py.Group, name: str, scan: Scan) -> None:
    """Write the counts to a new dataset of an HDF5 group, each frame compressed on its own."""
    kind, shape = count_type(scan), (scan.n_frames, scan.n_pixels, scan.n_pixels)
    dataset = group.create_dataset(
        name, shape, kind, chunks=(1, *shape[1:]), compression="gzip", compression_opts=1, shuffle=True
    )
    for rows, counts in count_blocks(scan, kind):
        dataset[rows] = counts


def _blocks(scan: Scan) -> Blocks:
    counts: Any = scan.counts
    return counts.blocks() if isinstance(counts, JoinedCounts) else stack_of(counts).blocks()
