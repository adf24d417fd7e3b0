"""Read a scan file of any known kind; the content decides which reader takes it, not the name."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ptycho_cli.data.interpret import interpret
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import DataError

_HDF5 = b"\x89HDF\r\n\x1a\n"
_NPZ = (b"PK\x03\x04", b"PK\x05\x06", b"BZh", b"\x1f\x8b")


def read_scan(path: str | PathLike[str], options: ReadOptions | None = None) -> Scan:
    """Read and check a scan.

    Args:
        path: NPZ (also compressed as a whole), HDF5, CXI, Ptychodus or ptypy file.
        options: How to understand the file; by default as it says itself, and else as assumed.

    Returns:
        The scan; its ``assumptions`` name every guess.

    Raises:
        DataError: If the file is missing or cannot be used as a scan.
    """
    options = options or ReadOptions()
    return interpret(read_raw(Path(path), options), options)


def read_raw(path: Path, options: ReadOptions) -> RawScan:
    """Read a file as stored, without deciding anything about it."""
    if is_hdf5(path):
        from ptycho_cli.data.readers.hdf5 import read_hdf5

        return read_hdf5(path, options.max_frames)
    from ptycho_cli.data.readers.npz import read_npz

    return read_npz(path, options.max_frames)


def is_hdf5(path: Path) -> bool:
    """Whether a file is HDF5 by its first bytes; if not, it is an NPZ file, perhaps compressed as a whole.

    Raises:
        DataError: If it is missing, empty, or neither of the two.
    """
    start = file_start(path)
    if start.startswith((_HDF5, *_NPZ)):
        return start.startswith(_HDF5)
    raise DataError(
        f"{path}: neither an HDF5 nor an NPZ file (it starts with {start[:8]!r}).",
        hint="Give a .h5, .cxi, .ptyd or .npz file with diffraction frames and positions.",
    )


def file_start(path: Path) -> bytes:
    """First bytes of a file; raise ``DataError`` if there is no file, or nothing in it."""
    if path.is_dir():
        found = path / "reconstruction.h5"
        hint = f"Name the file inside it, such as {found}." if found.exists() else "Name the file inside it."
        raise DataError(f"{path}: a folder, expected a file.", hint=hint)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.", hint=_neighbour(path)) from None
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}).", hint="Check its permissions.") from None
    if not start:
        raise DataError(f"{path}: the file is empty, expected a scan.", hint="Copy the file anew.")
    return start


def _neighbour(path: Path) -> str:
    from difflib import get_close_matches

    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, n=1, cutoff=0.7)
    return f"Did you mean {path.parent / near[0]}?" if near else "Check the path."
