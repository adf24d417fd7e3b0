"""Find HDF5 files in which the library would loop for ever.

HDF5 keeps texts and arrays of variable length, and the parts of virtual datasets, in *global heaps*: blocks of entries
that follow each other. Up to version 2.0 it never gets to the end of a heap in which an entry has no length, and
nothing can interrupt it. So a file is looked through once by way of a Python file, which sees every heap first.

Source: HDF5 File Format Specification, III.E "Disk Format: Level 1E - Global Heap".
"""

from __future__ import annotations

import io
import itertools
import math
import mmap
import os
import struct
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.linked_files import LINKS, linked_file, part_files

MOST = 10_000  # items that are opened, and values of a dataset that are read
_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)  # of h5py
_HEAP, _HEADER = b"GCOL", 16  # how a heap starts, and bytes at the start of it and of each entry
_ENTRY = struct.Struct("<H6xQ")  # its number, 0 for free space, and its length
_MOST_ENTRIES = 2**17  # numbers have 16 bits
_in_order: set[tuple[int, ...]] = set()  # files that were looked through, until they change


def damaged_heap(path: str | Path) -> Path | None:
    """Look through an HDF5 file, and through those that its links and virtual datasets lead to.

    Args:
        path: The file.

    Returns:
        The file with a damaged heap; None if there is none. Other damage shows where it is read.
    """
    left, seen = [Path(path)], set[tuple[int, ...]]()
    while left:
        file = left.pop()
        about = os.stat(file)
        key = (about.st_dev, about.st_ino, about.st_size, about.st_mtime_ns)
        if key in seen or key in _in_order:
            continue
        seen.add(key)
        found = _Look(file)
        if found.is_damaged:
            return file
        if not found.linked:
            _in_order.add(key)
        left += found.linked
    return None


class _CheckedFile(io.RawIOBase):
    """A file that HDF5 reads; reading ends at a damaged heap."""

    def __init__(self, path: Path) -> None:
        self._file, self._entries = path.open("rb", buffering=0), path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self.is_damaged = False

    def close(self) -> None:
        self._file.close()
        self._entries.close()
        super().close()

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    def readinto(self, buffer: Any) -> int:
        place, view = self._file.tell(), memoryview(buffer).cast("B")
        number = self._file.readinto(view)
        if view[: len(_HEAP)] == _HEAP and not self._ends(place):
            self.is_damaged = True
        if self.is_damaged:
            raise OSError("damaged heap")
        return number or 0

    def look_everywhere(self) -> None:
        """Look at every heap of the file."""
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            place = content.find(_HEAP + b"\1\0\0\0")
            while place >= 0 and not self.is_damaged:
                self.is_damaged = not self._ends(place)
                place = content.find(_HEAP + b"\1\0\0\0", place + 1)

    def _ends(self, place: int) -> bool:
        """True if the entries of a heap follow each other to its end."""
        size = int.from_bytes(self._bytes(place + 8, 8), "little")
        if size > self._size - place:
            return True  # HDF5 refuses it
        at = _HEADER
        for _ in range(_MOST_ENTRIES):
            if at + _HEADER > size:
                return True
            number, length = _ENTRY.unpack(self._bytes(place + at, _HEADER))
            step = _HEADER + -(-length // 8) * 8 if number else length
            if not _HEADER <= step <= size - at:
                return False
            at += step
        return False

    def _bytes(self, place: int, number: int) -> bytes:
        self._entries.seek(place)
        return self._entries.read(number)


class _Look:
    """What HDF5 reads of one file before the values of its arrays.

    Attributes:
        is_damaged: Whether there is a damaged heap.
        linked: HDF5 files that it leads to.
    """

    def __init__(self, path: Path) -> None:
        self._path, self.linked = path, list[Path]()
        with _CheckedFile(path) as checked:
            complete = True
            with suppress(*_ERRORS), h5py.File(checked, "r") as file:
                complete = self._open_all(file)
            if not complete:
                checked.look_everywhere()
            self.is_damaged = checked.is_damaged

    def _open_all(self, file: h5py.File) -> bool:
        """Open what there is in a file; False if that is more than ``MOST`` items."""
        left, seen = [h5py.h5o.open(file.id, b"/")], set[int]()
        while left:
            item = left.pop()
            place = h5py.h5o.get_info(item).addr
            if place in seen:
                continue
            seen.add(place)
            _read_attributes(item)
            with suppress(*_ERRORS):
                left += self._below(item)
            if len(left) + len(seen) > MOST:
                return False
        return True

    def _below(self, item: Any) -> Iterator[Any]:
        """Objects that a group, or a dataset of references, leads to."""
        if isinstance(item, h5py.h5g.GroupID):
            for name in itertools.islice(item, MOST + 1):
                with suppress(*_ERRORS):
                    kind = item.links.get_info(name).type
                    if kind == h5py.h5l.TYPE_EXTERNAL:
                        found = linked_file(os.fsdecode(item.links.get_val(name)[0]), self._path, LINKS)
                        self.linked += [] if found is None else [found]
                    elif kind == h5py.h5l.TYPE_HARD:
                        yield h5py.h5o.open(item, name)
        elif isinstance(item, h5py.h5d.DatasetID):
            properties = item.get_create_plist()
            if properties.get_layout() != h5py.h5d.VIRTUAL:
                yield from _read_values(item)
                return
            for number in range(min(properties.get_virtual_count(), MOST)):  # its shape may depend on these files
                self.linked += part_files(os.fsdecode(properties.get_virtual_filename(number)), self._path)


def _read_attributes(item: Any) -> None:
    """Read the attributes for which HDF5 needs a heap."""
    for number in range(h5py.h5a.get_num_attrs(item)):
        with suppress(*_ERRORS):
            attribute = h5py.h5a.open(item, index=number)
            if _uses_heap(attribute.get_type()):
                attribute.read(np.empty(attribute.shape, attribute.dtype))


def _read_values(dataset: Any) -> Iterator[Any]:
    """Read a dataset for which HDF5 needs a heap; return the objects that it refers to."""
    kind, number = dataset.get_type(), math.prod(dataset.shape)
    is_reference = kind.detect_class(h5py.h5t.REFERENCE)
    if not 0 < number <= MOST or not (is_reference or _uses_heap(kind)):
        return
    values = np.empty(dataset.shape, dataset.dtype)
    dataset.read(h5py.h5s.ALL, h5py.h5s.ALL, values)
    for value in values.flat if is_reference else ():
        with suppress(*_ERRORS):
            yield h5py.h5r.dereference(value, dataset)


def _uses_heap(kind: Any) -> bool:
    """True for text and arrays of variable length, and for references, also as a part of something else."""
    parts = (h5py.h5t.VLEN, h5py.h5t.REFERENCE, h5py.h5t.STRING)
    is_fixed_text = kind.get_class() == h5py.h5t.STRING and not kind.is_variable_str()
    return not is_fixed_text and any(kind.detect_class(part) for part in parts)
