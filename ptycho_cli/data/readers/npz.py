"""NPZ files, also inside bz2 or gzip as tike and others ship them."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from ptycho_cli.data.readers.common_names import COUNTS, raw_from_names
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.errors import DataError


def read_npz(path: Path, max_frames: int | None = None) -> RawScan:
    """Read frames, positions, probe and truth by their names."""
    arrays, objects = load_arrays(path)
    raw = raw_from_names(str(path), "NPZ", arrays, max_frames)
    if raw is None:
        held = [*sorted(arrays), *(f"{name} (Python objects, not read)" for name in objects)]
        raise DataError(
            f"{path}: no diffraction in it; it holds {', '.join(held) or 'nothing'}, "
            f"expected one of {', '.join(COUNTS[:5])}.",
            hint="Rename the array of frames, or convert the file.",
        )
    return raw


# What reading a damaged archive was seen to raise; RuntimeError and NotImplementedError are zipfile's for
# entries that are encrypted or compressed in a way it does not know.
_DAMAGE = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def load_arrays(path: Path) -> tuple[dict[str, Any], list[str]]:
    """All arrays of an NPZ file by name, and the names of those left out because they need unpickling.

    Raises:
        DataError: If the file is damaged.
    """
    arrays: dict[str, Any] = {}
    objects: list[str] = []
    try:
        with np.load(io.BytesIO(_unwrapped(path)), allow_pickle=False) as archive:
            for name in archive.files:
                try:
                    arrays[name] = archive[name]
                except ValueError as problem:
                    if "allow_pickle" not in str(problem):
                        raise
                    objects.append(name)  # PtychoPINN files carry some that are not needed
    except _DAMAGE as problem:
        raise DataError(f"{path}: damaged, expected an NPZ archive ({problem}).", hint="Copy the file anew.") from None
    return arrays, objects


def _unwrapped(path: Path) -> bytes:
    data = path.read_bytes()
    if data.startswith(b"BZh"):
        return bz2.decompress(data)
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data
