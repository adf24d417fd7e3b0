"""NPZ files, also compressed as a whole, .npy, and MATLAB files before version 7.3, within bounds.

Shapes, types and sizes are compared before memory is taken for an array, and a file that claims to expand far more than
detector frames do is refused. Python objects are never loaded, since that can run code.
"""

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
from tokenize import TokenError
from typing import IO, Any

import numpy as np
from numpy.lib import format as npy
from numpy.typing import NDArray

from ptycho_cli.data.memory import physical_memory
from ptycho_cli.errors import DataError

BZ2_START, GZIP_START = b"BZh", b"\x1f\x8b"
NPZ_START = (b"PK\x03\x04", b"PK\x05\x06", BZ2_START, GZIP_START)
MATLAB_START, NPY_START = b"MATLAB 5.0", b"\x93NUMPY"
MOST_MEMBERS = 10_000
SMALL = 2**30  # bytes that any archive may expand to
LARGEST_RATIO = 250  # of a larger one to its compressed size; frames of single photons have 100
_BLOCK = 2**22
# Exceptions that damaged archives were seen to raise; RuntimeError and NotImplementedError are zipfile's for
# entries that are encrypted or compressed by an unknown method, the last ones those of MATLAB files.
DAMAGE = (
    *(OSError, EOFError, ValueError, RuntimeError, NotImplementedError, OverflowError, MemoryError),
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, SyntaxError, TokenError, TypeError, LookupError),
)


def refuse_expansion(path: Path, compressed: int, expanded: int, what: str = "it") -> None:
    """Refuse an archive that expands to more than detector frames do, or than memory holds.

    Args:
        path: The file, for the message.
        compressed: Its bytes.
        expanded: The bytes that it expands to, or has expanded to so far.
        what: The part of it that expands, for the message.

    Raises:
        DataError: If it is.
    """
    memory = physical_memory()
    if expanded <= max(SMALL, LARGEST_RATIO * compressed) and (memory is None or expanded <= memory / 2):
        return
    raise DataError(
        f"{path}: {compressed / 2**20:.3g} MiB, but {what} expands to {expanded / 2**30:.3g} GiB or more; expected "
        f"at most {LARGEST_RATIO} times its size, and half of the memory.",
        hint="Store the frames in an HDF5 file, or check where the file comes from.",
    )


class NpzArrays(Mapping[str, NDArray[Any]]):
    """Arrays of an open NPZ file by name; each is loaded when it is asked for, and then kept.

    Attributes:
        shapes: Shape of each array, known without loading it.
        dtypes: Type of each array, likewise.
        objects: Names of arrays of Python objects. They are never loaded, since that can run code.
    """

    def __init__(self, path: Path, file: IO[bytes], most_bytes: float = math.inf) -> None:
        self._path, self._most_bytes = path, most_bytes
        self._members: dict[str, zipfile.ZipInfo] = {}
        self._loaded: dict[str, NDArray[Any]] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.dtypes: dict[str, np.dtype[Any]] = {}
        self.objects: list[str] = []
        try:
            self._archive = zipfile.ZipFile(file)
            for member in self._archive.infolist()[:MOST_MEMBERS]:
                self._add(member)
        except DAMAGE as problem:
            raise _damaged_npz(path, problem) from None

    def _add(self, member: zipfile.ZipInfo) -> None:
        with self._archive.open(member) as file:
            if file.read(len(npy.MAGIC_PREFIX)) != npy.MAGIC_PREFIX:
                return
            header = npy.read_array_header_1_0 if tuple(file.read(2)) == (1, 0) else npy.read_array_header_2_0
            shape, _, dtype = header(file)
            stored = member.file_size - file.tell()
        name = member.filename.removesuffix(".npy")
        if dtype.hasobject:
            self.objects.append(name)
            return
        if min(shape, default=0) < 0 or math.prod(shape) * dtype.itemsize != stored:
            raise ValueError(f"'{name}' is {shape} {dtype}, but {stored} bytes are stored")
        self.shapes[name], self.dtypes[name], self._members[name] = shape, dtype, member

    def __getitem__(self, name: str) -> NDArray[Any]:
        if name not in self._loaded:
            self._refuse_too_large(name)
            member = self._members[name]
            refuse_expansion(self._path, max(member.compress_size, 1), member.file_size, f"'{name}'")
            try:
                with self._archive.open(member) as file:
                    self._loaded[name] = npy.read_array(file, allow_pickle=False)
            except DAMAGE as problem:
                raise _damaged_npz(self._path, problem) from None
        return self._loaded[name]

    def _refuse_too_large(self, name: str) -> None:
        needed = math.prod(self.shapes[name]) * self.dtypes[name].itemsize
        if needed > self._most_bytes:
            raise DataError(
                f"{self._path}: '{name}' needs {needed / 2**30:.3g} GiB, but data.memory_budget_gib is "
                f"{self._most_bytes / 2**30:.3g}, and an NPZ file cannot be read in parts.",
                hint="Raise it, or store the frames as HDF5 or .npy.",
            )

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
def opened_npz(path: Path, most_bytes: float = math.inf) -> Iterator[NpzArrays]:
    """Open an NPZ file, also one that is compressed as a whole with bz2 or gzip.

    Raises:
        DataError: If the file is damaged or expands too far, also where that shows when an array is loaded.
    """
    with path.open("rb") as file:
        yield NpzArrays(path, _unwrapped(path, file), most_bytes)


def _unwrapped(path: Path, file: IO[bytes]) -> IO[bytes]:
    """The archive itself: the file, or what it expands to, in memory."""
    start, compressed = file.read(4), path.stat().st_size
    file.seek(0)
    if not start.startswith((BZ2_START, GZIP_START)):
        return file
    found = io.BytesIO()
    try:
        with bz2.BZ2File(file) if start.startswith(BZ2_START) else gzip.GzipFile(fileobj=file) as inside:
            while block := inside.read(_BLOCK):
                found.write(block)
                refuse_expansion(path, compressed, found.tell())
    except DAMAGE as problem:
        raise _damaged_npz(path, problem) from None
    found.seek(0)
    return found


def other_arrays(path: Path, start: bytes) -> dict[str, NDArray[Any]] | None:
    """Arrays of a NumPy file (.npy) or of a MATLAB file before version 7.3; None for other files.

    Raises:
        DataError: If the file is damaged or expands too far.
    """
    try:
        if start.startswith(NPY_START):
            return {"array": np.load(path, mmap_mode="r", allow_pickle=False)}
        if start.startswith(MATLAB_START):
            return _matlab_arrays(path)
    except DataError:
        raise
    except Exception as problem:  # scipy has errors of its own for damaged files
        raise DataError(f"{path}: damaged ({problem}).", hint="Copy the file again.") from None
    return None


_MATLAB_BYTES = {"double": 8, "single": 4, "logical": 1} | {
    f"{sign}int{8 * size}": size for size in (1, 2, 4, 8) for sign in ("", "u")
}


def _matlab_arrays(path: Path) -> dict[str, NDArray[Any]]:
    """Arrays of numbers of a MATLAB file; cells, structures and texts are left out."""
    from scipy.io import loadmat, whosmat

    found = [(name, math.prod(shape) * _MATLAB_BYTES.get(kind, 0)) for name, shape, kind in whosmat(path)]
    names, size = [name for name, size in found if size], sum(size for _, size in found)
    refuse_expansion(path, path.stat().st_size, size)
    return {name: value for name, value in loadmat(path, variable_names=names).items() if name in names}
