"""NumPy and MATLAB files of no particular layout: NPZ, also inside bz2 or gzip as tike ships them, .npy and .mat."""

from __future__ import annotations

from ptycho_cli.data.readers.common_names import has_frames, raw_from_arrays
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry


def can_read(source: Source) -> bool:
    """True for NPZ, .npy and .mat files in which an array may be frames."""
    return source.hdf5 is None and has_frames(source)


def read(source: Source) -> RawScan:
    """Read frames, positions, probe and truth."""
    return raw_from_arrays(source)


READER = ReaderEntry(
    "NPZ", "Arrays of familiar names or shapes in NPZ, .npy and .mat files.", can_read, read, generic=True
)
