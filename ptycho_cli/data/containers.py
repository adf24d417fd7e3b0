"""Kinds of files by their first bytes, and HDF5 files: opened once, one clear line where they are damaged."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py

from ptycho_cli.data.archives import NPZ_START
from ptycho_cli.data.hdf5_check import damaged_heap
from ptycho_cli.errors import DataError

HDF5_START = b"\x89HDF\r\n\x1a\n"

# Exceptions of h5py for what it cannot open, read, or convert to NumPy.
HDF5_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)


def file_start(path: Path) -> bytes:
    """First 16 bytes of a file.

    Raises:
        DataError: If there is no file, it cannot be read, or it is empty.
    """
    if path.is_dir():
        found = path / "reconstruction.h5"
        hint = f"Name the file inside it, such as {found}." if found.exists() else "Name the file inside it."
        raise DataError(f"{path}: a folder, expected a file.", hint=hint)
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: not a regular file, expected a scan.", hint="Copy the data to a file.")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.", hint=nearest_name(path)) from None
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}).", hint="Check its permissions.") from None
    if not start:
        raise DataError(f"{path}: the file is empty, expected a scan.", hint="Copy the file again.")
    return start


def nearest_name(path: Path) -> str:
    """What to do about a file that is not there: take the one whose name is nearest, or look again."""
    from difflib import get_close_matches

    names = [entry.name for entry in path.parent.iterdir()] if path.parent.is_dir() else []
    near = get_close_matches(path.name, names, n=1, cutoff=0.7)
    return f"Did you mean {path.parent / near[0]}?" if near else "Check the path."


def is_hdf5(path: Path) -> bool:
    """True for an HDF5 file and False for an NPZ file, which may be compressed as a whole.

    Raises:
        DataError: If the file is missing, empty, or neither of the two.
    """
    start = file_start(path)
    if start.startswith(NPZ_START) or has_hdf5(path, start):
        return not start.startswith(NPZ_START)
    raise neither_hdf5_nor_npz(path, start)


def neither_hdf5_nor_npz(path: Path, start: bytes, more: str = "") -> DataError:
    """The error for a file of another kind; ``more`` is added to the message."""
    return DataError(
        f"{path}: neither an HDF5 nor an NPZ file (it starts with {start[:8]!r}){more}.",
        hint="Give a .h5, .cxi, .ptyd, .npz, .npy, .mat or .tif file with diffraction frames.",
    )


@contextmanager
def opened_hdf5(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read.

    Raises:
        DataError: If the file is damaged, also where that shows while the block reads from it.
    """
    import hdf5plugin  # noqa: F401 - registers the filters that detectors compress with

    refuse_damaged_heap(path)
    try:
        file = h5py.File(path, "r")
    except HDF5_ERRORS as problem:
        raise damaged_hdf5(path, "damaged or cut-off", problem) from None
    with file:
        try:
            yield file
        except HDF5_ERRORS as problem:
            raise damaged_hdf5(path, "damaged", problem) from None


def refuse_damaged_heap(path: Path) -> None:
    """Refuse a file in which HDF5 would not come back from reading names or texts.

    Raises:
        DataError: If this file, or one that it is linked to, is damaged in this way.
    """
    try:
        found = damaged_heap(path)
    except OSError:  # of the file system; opening the file tells
        return
    if found is not None:
        raise DataError(f"{found}: damaged HDF5 file (a heap without end).", hint="Copy the file again.")


def damaged_hdf5(path: Path, how: str, problem: Exception) -> DataError:
    """Keep the reason, which the library writes in brackets after the name of its own function."""
    text = str(problem.args[0] if problem.args else problem)
    reason = text.partition("(")[2].removesuffix(")") or text
    return DataError(f"{path}: {how} HDF5 file ({reason}).", hint="Copy the file again.")


def has_hdf5(path: Path, start: bytes) -> bool:
    """True for an HDF5 file, also one that begins with a block of another program, such as MATLAB's of version 7.3."""
    return start.startswith(HDF5_START) or (not start.startswith(NPZ_START) and h5py.is_hdf5(path))
