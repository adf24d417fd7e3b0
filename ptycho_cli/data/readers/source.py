"""A scan file that has been opened once, for every reader to look into."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from difflib import get_close_matches
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.archives import NPZ_START, LazyArray, NpzArrays, opened_npz, other_arrays
from ptycho_cli.data.containers import file_start, has_hdf5, opened_hdf5
from ptycho_cli.data.hdf5_tree import Tree, item_at, tree_of
from ptycho_cli.data.image_series import first_in_folder, holds_images
from ptycho_cli.data.memory import memory_budget
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.raw_scan import loaded
from ptycho_cli.data.text_table import text_columns
from ptycho_cli.errors import DataError

_SHOWN = 20  # arrays in a message


class Source:
    """A file as readers see it.

    Attributes:
        path: The file. Other files of the same scan may lie beside it.
        start: Its first 16 bytes.
        options: How to read. A reader obeys ``max_frames``; ``data.interpret`` applies the rest.
        hdf5: The open ``h5py.File`` if it is HDF5; None if not.
    """

    def __init__(self, path: Path, start: bytes, options: ReadOptions, hdf5: Any, stack: ExitStack) -> None:
        self.path, self.start, self.options, self.hdf5 = path, start, options, hdf5
        self._stack = stack

    @property
    def name(self) -> str:
        """The path as text, for messages."""
        return str(self.path)

    @property
    def max_frames(self) -> int | None:
        """Number of frames to read; None for all."""
        return self.options.max_frames

    @cached_property
    def tree(self) -> Tree:
        """Contents of an HDF5 file."""
        return tree_of(self.hdf5, allow_links=self.options.allow_links)

    def dataset(self, *paths: str) -> Any:
        """The first of some paths of an HDF5 file at which there is a dataset with values; None without any."""
        items = (None if self.hdf5 is None else item_at(self.hdf5, path) for path in paths)
        return next((item for item in items if isinstance(item, h5py.Dataset) and item.size), None)

    def group(self, path: str) -> Any:
        """The group at a path of an HDF5 file; None if there is none."""
        item = None if self.hdf5 is None else item_at(self.hdf5, path)
        return item if isinstance(item, h5py.Group) else None

    @cached_property
    def npz(self) -> NpzArrays | None:
        """Arrays by name if it is an NPZ file, each loaded when it is asked for; None if not.

        A file that is compressed as a whole is decompressed first: look at ``start`` before.
        """
        if not self.start.startswith(NPZ_START):
            return None
        return self._stack.enter_context(opened_npz(self.path, memory_budget(self.options.memory_budget_gib)))

    @cached_property
    def arrays(self) -> dict[str, Any]:
        """Arrays of any file by path, with ``shape``, ``dtype`` and ``attrs``; loaded when they are indexed.

        Attributes of an HDF5 root are arrays too, unless a dataset has their name.
        """
        if self.hdf5 is not None:
            root = {f"/{name}": np.asarray(value) for name, value in attributes_of(self.hdf5).items()}
            found = {path: item for path, item in self.tree.datasets.items() if item.shape is not None}
            return root | found | _fields(found)
        if self.npz is not None:
            arrays = {name: LazyArray(self.npz, name) for name in self.npz.shapes}
            return {**arrays, **_fields(arrays)}
        others = other_arrays(self.path, self.start) or {}
        return {**others, **_fields(others)}

    def named(self, place: str) -> tuple[str, Any]:
        """An array by the path that a user gives: ``PATH`` in this file, ``FILE:PATH`` in another, or ``FILE``.

        Returns:
            Its name for messages, and the array.

        Raises:
            DataError: If file or array is not there.
        """
        file, colon, path = place.rpartition(":")
        if not colon or not file:
            other = self.whole_file(place)
            if other is None:
                return path, _array_at(self, path, ", and no file of that name")
            return other.name, _array_at(other, "")
        source = self._other(self._file(file) or Path(file))
        return f"{source.path}:{path}", _array_at(source, path)

    def whole_file(self, place: str) -> Source | None:
        """Another file that a user names without a path in it; None if this file has an array of that name."""
        if place in self.arrays or f"/{place.lstrip('/')}" in self.arrays:
            return None
        found = self._file(place)
        return None if found is None else self._other(found)

    def _file(self, name: str) -> Path | None:
        """A file by its name, which is looked for beside this one first; None if there is none."""
        return next((found for found in (self.path.parent / name, Path(name)) if found.is_file()), None)

    def _other(self, path: Path) -> Source:
        return self._stack.enter_context(opened_source(path, self.options))

    @cached_property
    def columns(self) -> dict[str, Any]:
        """Columns of a text file of numbers; empty for files with ``arrays``."""
        return {} if self.hdf5 is not None or self.arrays else text_columns(self.path)

    def contents(self) -> list[str]:
        """Every array of a file in words, for messages; stacks of images come first."""
        arrays = {name: array for name, array in self.arrays.items() if array.shape is not None}
        objects = self.npz.objects if self.hdf5 is None and self.npz is not None else []
        listed = sorted(sorted(arrays), key=lambda name: -len(arrays[name].shape))
        return [
            *(described(name, arrays[name]) for name in listed),
            *(f"{name} (Python objects, not read)" for name in objects),
        ]

    def single_values(self) -> dict[str, float | str]:
        """Numbers and texts that stand alone, by name: arrays of one entry, and attributes of an HDF5 file."""
        found: dict[str, Any] = {}
        if self.hdf5 is not None:
            found = {name: value for path, item in self.tree.objects.items() for name, value in _values_of(path, item)}
        elif self.npz is not None:
            names = [name for name, shape in self.npz.shapes.items() if np.prod(shape) == 1]
            found = {name: self.npz[name] for name in names}
        values = {name: _single(value) for name, value in found.items()}
        return {name: value for name, value in values.items() if value is not None}


class Field:
    """One column of a table of several quantities; it looks like a dataset."""

    def __init__(self, table: Any, name: str) -> None:
        self._table, self._name = table, name
        self.shape, self.dtype = tuple(table.shape), table.dtype[name]
        self.ndim, self.size, self.attrs = len(self.shape), math.prod(self.shape), dict[str, Any]()

    def __getitem__(self, index: Any) -> Any:
        return loaded(self._table)[self._name][index]


def _fields(arrays: Mapping[str, Any]) -> dict[str, Field]:
    """Columns of numbers of the tables among some arrays, by path."""
    return {
        f"{path}/{name}": Field(array, name)
        for path, array in arrays.items()
        for name in array.dtype.names or ()
        if array.dtype[name].kind in "iuf" and array.dtype[name].shape == ()
    }


def described(name: str, array: Any) -> str:
    """Name, shape, type and unit of an array."""
    attributes = {} if not hasattr(array, "attrs") else attributes_of(array)
    unit = next((str(_single(attributes[key])) for key in ("units", "unit") if key in attributes), None)
    kind = "text" if array.dtype.kind in "SUO" else array.dtype
    return f"{name} {tuple(array.shape)} {kind}" + (f" in {unit}" if unit else "")


def attributes_of(item: Any) -> dict[str, Any]:
    """Attributes of an HDF5 object by name, without those of a type that h5py does not know."""
    found = {}
    for name in item.attrs:
        with suppress(OSError, TypeError, ValueError, KeyError, RuntimeError):
            found[name] = item.attrs[name]
    return found


def _values_of(path: str, item: Any) -> Iterator[tuple[str, Any]]:
    """A dataset of one entry and the attributes of an HDF5 object, by path."""
    if isinstance(item, h5py.Dataset) and item.size == 1:
        with suppress(DataError, OSError, TypeError, ValueError, RuntimeError):  # it may never be needed
            yield path, loaded(item)
    for name, value in attributes_of(item).items():
        yield f"{path}/{name}".lstrip("/"), value


def _single(stored: Any) -> float | str | None:
    """One number or text; None for anything else."""
    array = np.asarray(stored)
    if array.size != 1:
        return None
    value = array.reshape(-1)[0]
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, str):
        return str(value)
    is_number = np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)
    return float(value) if is_number else None


def _array_at(source: Source, path: str, more: str = "") -> Any:
    arrays = source.arrays or source.columns
    name = next((name for name in (path, f"/{path}", path.lstrip("/")) if name in arrays), None)
    if name is None and path and (dataset := source.dataset(path)) is not None:
        return dataset  # beyond the items that were looked at
    if name is None and not path and len(arrays) == 1:
        name = next(iter(arrays))
    if name is None:
        near = get_close_matches(path, arrays, n=1, cutoff=0.6)
        held = ", ".join(source.contents()[:_SHOWN] or source.columns)
        if not held:
            raise DataError(
                f"{source.name}: no array '{path}' in it, and no file of that name.", hint="Name an array as FILE:PATH."
            )
        raise DataError(
            f"{source.name}: no array '{path}' in it{more}; it holds {held}.",
            hint=f"Did you mean {near[0]}?" if near else "Name one of these.",
        )
    return arrays[name]


@contextmanager
def opened_source(path: Path, options: ReadOptions) -> Iterator[Source]:
    """Open a file of any kind for readers.

    Raises:
        DataError: If the file is missing, empty or damaged, or leads to files of other folders.
    """
    path = first_in_folder(path) if holds_images(path) else path
    start = file_start(path)
    with ExitStack() as stack:
        hdf5 = stack.enter_context(opened_hdf5(path)) if has_hdf5(path, start) else None
        source = Source(path, start, options, hdf5, stack)
        if hdf5 is not None:
            _refuse_outside(source)
        yield source


def refuse_broken_links(source: Source) -> None:
    """Refuse an HDF5 file in which something was not found and that has a link that leads nowhere.

    Raises:
        DataError: If there is such a link.
    """
    name, target = (None, None) if source.hdf5 is None else next(iter(source.tree.broken.items()), (None, None))
    if name is not None:
        raise DataError(
            f"{source.name}: the link '{name}' leads to {target}, which is not there.",
            hint="Copy the files that belong to a scan together, into one folder.",
            finding="missing-part",
        )


def _refuse_outside(source: Source) -> None:
    """Refuse a file with a link to a file of another folder, unless the user allows it."""
    name, target = next(iter(source.tree.outside.items()), (None, None))
    if name is not None:
        raise DataError(
            f"{source.name}: '{name}' leads to {target}, outside the folder of the file; such links are not followed.",
            hint="--allow-links follows them, if you trust the file.",
        )
