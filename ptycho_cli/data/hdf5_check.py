"""Find HDF5 files in which the library would loop for ever.

HDF5 keeps names in *local heaps*, whose free blocks form a list, and texts, arrays of variable length and the parts of
virtual datasets in *global heaps*, whose entries follow each other. Up to version 2.0 it never gets to the end of a
list that leads back into itself, nor past an entry without length, and nothing can interrupt it. So a file is looked
through once by way of a Python file, which sees every heap first.

Source: HDF5 File Format Specification, II.A "Superblock", III.D "Local Heaps" and III.E "Global Heap".
"""

from __future__ import annotations

import io
import itertools
import math
import mmap
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.linked_files import LINKS, linked_file, part_files

MOST = 10_000  # items that are opened, and values of a dataset that are read
_ERRORS = (OSError, KeyError, RuntimeError, ValueError, TypeError, OverflowError, MemoryError)  # of h5py
_START = b"\x89HDF\r\n\x1a\n"  # of the superblock
_LOCAL, _GLOBAL = b"HEAP\0", b"GCOL\1"  # how a heap starts
_LAST_BLOCK = 1  # what the last free block of a local heap names as the next
_MOST_ENTRIES = 2**17  # of a global heap, whose numbers have 16 bits
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
        self._file, self._parts = path.open("rb", buffering=0), path.open("rb")
        self._size = os.fstat(self._file.fileno()).st_size
        self._base, self._bytes_of_address, self._bytes_of_length = self._superblock()
        self.is_damaged = False

    def close(self) -> None:
        self._file.close()
        self._parts.close()
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
        self._look_at_heaps(bytes(view), place)
        if self.is_damaged:
            raise OSError("damaged heap")
        return number or 0

    def look_everywhere(self) -> None:
        """Look at every heap of the file."""
        with mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            self._look_at_heaps(content, 0)

    def _look_at_heaps(self, content: bytes | mmap.mmap, place: int) -> None:
        """Look at every heap that starts in a part of the file, which is at ``place``."""
        for start, ends in ((_LOCAL, self._local_heap_ends), (_GLOBAL, self._global_heap_ends)):
            at = content.find(start)
            while at >= 0 and not self.is_damaged:
                self.is_damaged = not ends(place + at)
                at = content.find(start, at + 1)

    def _local_heap_ends(self, place: int) -> bool:
        """True if the list of free blocks of a local heap has an end."""
        length = self._bytes_of_length
        size, block = self._number(place + 8, length), self._number(place + 8 + length, length)
        first = self._base + self._number(place + 8 + 2 * length, self._bytes_of_address)
        seen = set[int]()
        while block != _LAST_BLOCK and block + 2 * length <= min(size, self._size - first):  # else HDF5 refuses it
            if block in seen:
                return False
            seen.add(block)
            block = self._number(first + block, length)
        return True

    def _global_heap_ends(self, place: int) -> bool:
        """True if the entries of a global heap follow each other to its end."""
        header = _whole_words(8 + self._bytes_of_length)  # bytes at the start of the heap, and of each entry
        size = self._number(place + 8, self._bytes_of_length)
        if size > self._size - place:
            return True  # HDF5 refuses it
        at = header
        for _ in range(_MOST_ENTRIES):
            if at + header > size:
                return True
            number, length = self._number(place + at, 2), self._number(place + at + 8, self._bytes_of_length)
            step = header + _whole_words(length) if number else length  # number 0 is free space
            if not header <= step <= size - at:
                return False
            at += step
        return False

    def _superblock(self) -> tuple[int, int, int]:
        """Where the file begins behind a block of another program, and how many bytes an address and a length have."""
        base = 0
        while base < self._size:
            start = self._bytes(base, 16)
            if start.startswith(_START):
                at = 13 if start[8:9] < b"\2" else 9
                return base, *start[at : at + 2].ljust(2, b"\0")
            base = 2 * base or 512
        return 0, 8, 8

    def _number(self, place: int, size: int) -> int:
        return int.from_bytes(self._bytes(place, size), "little")

    def _bytes(self, place: int, number: int) -> bytes:
        self._parts.seek(place)
        return self._parts.read(number)


def _whole_words(length: int) -> int:
    """A number of bytes, rounded up to words of eight."""
    return -(-length // 8) * 8


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
