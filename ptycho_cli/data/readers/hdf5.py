"""HDF5 files of no particular layout; frames and positions are found by name, shape and number."""

from __future__ import annotations

from ptycho_cli.data.readers.common_names import has_frames, raw_from_arrays
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry


def can_read(source: Source) -> bool:
    """True for HDF5 files in which a dataset may be frames."""
    return source.hdf5 is not None and has_frames(source)


def read(source: Source) -> RawScan:
    """Read frames, positions, probe and truth, at any depth and behind links."""
    return raw_from_arrays(source)


READER = ReaderEntry("HDF5", "Datasets of familiar names or shapes in an HDF5 file.", can_read, read, generic=True)
