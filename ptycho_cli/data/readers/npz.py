"""NPZ files, also inside bz2 or gzip as tike and others ship them, with arrays of familiar names."""

from __future__ import annotations

from ptycho_cli.data.readers.common_names import has_frames, raw_from_names
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry


def can_read(source: Source) -> bool:
    """True for NPZ files in which an array has a familiar name for frames."""
    return source.npz is not None and has_frames(source.npz)


def read(source: Source) -> RawScan:
    """Read frames, positions, probe and truth by their names."""
    assert source.npz is not None
    return raw_from_names(source, source.npz)


READER = ReaderEntry("NPZ", "Arrays of familiar names in an NPZ file.", can_read, read, generic=True)
