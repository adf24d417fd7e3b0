"""HDF5 and NPZ files: recognised by their first bytes, opened once, one clear line where they are damaged."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import math
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import h5py
import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ptycho_cli.errors import DataError

HDF5_START = b"\x89HDF\r\n\x1a\n"
BZ2_START, GZIP_START = b"BZh", b"\x1f\x8b"
NPZ_START = (b"PK\x03\x04", b"PK\x05\x06", BZ2_START, GZIP_START)

MOST_OBJECTS = 5000  # some instruments store every motor for every frame

# Exceptions that damaged archives were seen to raise; RuntimeError and NotImplementedError are zipfile's for
# entries that are encrypted or compressed by an unknown method.
_DAMAGE = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError),
)


def file_start(path: Path) -> bytes:
    """First 16 bytes of a file.

    Raises:
        DataError: If there is no file, it cannot be read, or it is empty.
    """
    if path.is_dir():
        found = path / "reconstruction.h5"
        hint = f"Name the file inside it, such as {found}." if found.exists() else "Name the file inside it."
        raise DataError(f"{path}: a folder, expected a file.", hint=hint)
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except FileNotFoundError:
        raise DataError(f"{path}: no such file.", hint=_nearest_name(path)) from None
    except OSError as problem:
        raise DataError(f"{path}: cannot be read ({problem.strerror}).", hint="Check its permissions.") from None
    if not start:
        raise DataError(f"{path}: the file is empty, expected a scan.", hint="Copy the file again.")
    return start


def _nearest_name(path: Path) -> str:
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
    if start.startswith((HDF5_START, *NPZ_START)):
        return start.startswith(HDF5_START)
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

    try:
        file = h5py.File(path, "r")
    except OSError as problem:
        raise damaged_hdf5(path, "damaged or cut-off", problem) from None
    with file:
        try:
            yield file
        except (OSError, KeyError) as problem:
            raise damaged_hdf5(path, "damaged", problem) from None


def damaged_hdf5(path: Path, how: str, problem: Exception) -> DataError:
    """Keep the reason, which the library writes in brackets after the name of its own function."""
    text = str(problem.args[0] if problem.args else problem)
    reason = text.partition("(")[2].removesuffix(")") or text
    return DataError(f"{path}: {how} HDF5 file ({reason}).", hint="Copy the file again.")


def objects_of(file: h5py.File) -> list[h5py.Group | h5py.Dataset]:
    """The root, and groups and datasets of a file in the order of their paths, at most ``MOST_OBJECTS`` of them."""
    found: list[h5py.Group | h5py.Dataset] = [file]

    def add(_: str, item: h5py.Group | h5py.Dataset) -> bool | None:
        found.append(item)
        return True if len(found) >= MOST_OBJECTS else None  # True ends the visit

    file.visititems(add)
    return found


class NpzArrays(Mapping[str, NDArray[Any]]):
    """Arrays of an open NPZ file by name; each is loaded when it is asked for, and then kept.

    Attributes:
        shapes: Shape of each array, known without loading it.
        dtypes: Type of each array, likewise.
        objects: Names of arrays of Python objects. They are never loaded, since that can run code.
    """

    def __init__(self, path: Path, file: IO[bytes]) -> None:
        self._path = path
        self._members: dict[str, str] = {}
        self._loaded: dict[str, NDArray[Any]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype[Any]] = {}
        self.objects: list[str] = []
        try:
            self._archive = zipfile.ZipFile(file)
            for member in self._archive.namelist():
                self._add(member)
        except _DAMAGE as problem:
            raise _damaged_npz(path, problem) from None

    def _add(self, member: str) -> None:
        with self._archive.open(member) as file:
            if file.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
                return
            header = npy.read_array_header_1_0 if tuple(file.read(2)) == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = header(file)
        name = member.removesuffix(".npy")
        if dtype.hasobject:
            self.objects.append(name)
        else:
            self.shapes[name], self.dtypes[name], self._members[name] = shape, dtype, member

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._loaded:
            try:
                with self._archive.open(self._members[name]) as file:
                    self._loaded[name] = npy.read_array(file, allow_pickle=False)
            except _DAMAGE as problem:
                raise _damaged_npz(self._path, problem) from None
        return self._loaded[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.shapes)

    def __len__(self) -> int:
        return len(self.shapes)


class LazyArray:
    """An array of an NPZ file that looks like an open HDF5 dataset: loaded when it is indexed."""

    def __init__(self, arrays: NpzArrays, name: str) -> None:
        self._arrays, self._name = arrays, name
        self.shape, self.dtype = arrays.shapes[name], arrays.dtypes[name]
        self.ndim, self.size, self.attrs = len(self.shape), math.prod(self.shape), dict[str, Any]()

    def __getitem__(self, index: Any) -> Any:
        return self._arrays[self._name][index]

    def __array__(self, dtype: Any = None, copy: Any = None) -> NDArray[Any]:
        return np.asarray(self._arrays[self._name], dtype)


def _damaged_npz(path: Path, problem: Exception) -> DataError:
    return DataError(f"{path}: damaged, expected an NPZ archive ({problem}).", hint="Copy the file again.")


@contextmanager
def opened_npz(path: Path) -> Iterator[NpzArrays]:
    """Open an NPZ file, also one that is compressed as a whole with bz2 or gzip.

    Raises:
        DataError: If the file is damaged, also where that shows when an array is loaded.
    """
    with path.open("rb") as file:
        yield NpzArrays(path, _unwrapped(path, file))


def _unwrapped(path: Path, file: IO[bytes]) -> IO[bytes]:
    start = file.read(4)
    file.seek(0)
    try:
        if start.startswith(BZ2_START):
            return io.BytesIO(bz2.decompress(file.read()))
        return io.BytesIO(gzip.decompress(file.read())) if start.startswith(GZIP_START) else file
    except _DAMAGE as problem:
        raise _damaged_npz(path, problem) from None


MATLAB_START, NPY_START = b"MATLAB 5.0", b"\x93NUMPY"


def other_arrays(path: Path, start: bytes) -> dict[str, NDArray[Any]] | None:
    """Arrays of a NumPy file (.npy) or of a MATLAB file before version 7.3; None for other files.

    Raises:
        DataError: If the file is damaged.
    """
    try:
        if start.startswith(NPY_START):
            return {"array": np.load(path, mmap_mode="r", allow_pickle=False)}
        if start.startswith(MATLAB_START):
            from scipy.io import loadmat

            return {name: value for name, value in loadmat(path).items() if isinstance(value, np.ndarray)}
    except _DAMAGE as problem:
        raise DataError(f"{path}: damaged ({problem}).", hint="Copy the file again.") from None
    return None


def has_hdf5(path: Path, start: bytes) -> bool:
    """True for an HDF5 file, also one that begins with a block of another program, such as MATLAB's of version 7.3."""
    return start.startswith(HDF5_START) or (start.startswith(b"MATLAB 7.3") and h5py.is_hdf5(path))
