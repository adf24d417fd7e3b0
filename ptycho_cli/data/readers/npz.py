"""NPZ files, also inside bz2 or gzip as tike and others ship them."""

from __future__ import annotations

import bz2
import gzip
import io
import zipfile
from pathlib import Path
from typing import Any

import numpy as np

from ptycho_cli.data.readers.named import COUNTS, raw_from_names
from ptycho_cli.data.readers.raw import RawScan
from ptycho_cli.errors import DataError


def read_npz(path: Path, max_frames: int | None = None) -> RawScan:
    """Read frames, positions, probe and truth by their names."""
    arrays = load_arrays(path)
    raw = raw_from_names(str(path), "NPZ", arrays, max_frames)
    if raw is None:
        raise DataError(
            f"{path}: no diffraction in it; it holds {', '.join(sorted(arrays)) or 'nothing'}, "
            f"expected one of {', '.join(COUNTS[:5])}.",
            hint="Rename the array of frames, or convert the file.",
        )
    return raw


def load_arrays(path: Path) -> dict[str, Any]:
    """All arrays of an NPZ file by name. Nothing that needs unpickling is loaded."""
    try:
        with np.load(io.BytesIO(_unwrapped(path)), allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files if _is_plain(archive, name)}
    except (OSError, EOFError, ValueError, zipfile.BadZipFile) as problem:
        raise DataError(f"{path}: damaged, expected an NPZ archive ({problem}).", hint="Copy the file anew.") from None


def _unwrapped(path: Path) -> bytes:
    data = path.read_bytes()
    if data.startswith(b"BZh"):
        return bz2.decompress(data)
    return gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data


def _is_plain(archive: Any, name: str) -> bool:
    try:
        archive[name]
    except ValueError:  # an object array; PtychoPINN files carry some that are not needed
        return False
    return True
