"""Contents of an HDF5 file, behind soft and external links too, from one walk that is limited in depth and number."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import h5py

from ptycho_cli.data.linked_files import LINKS, is_beside, linked_file, part_files

DEEPEST, MOST = 24, 10_000  # groups below each other, and items, that are looked at
_ERRORS = (KeyError, OSError, RuntimeError, ValueError, TypeError, OverflowError)  # of h5py, for what it cannot open


class Tree(NamedTuple):
    """Contents of an HDF5 file.

    Attributes:
        datasets: Datasets by path, in the order of their paths; one that links name has several.
        objects: The root, and groups and datasets by path without its first slash, each once and the least deep first.
        broken: Links that lead nowhere, and what they lead to.
        outside: Links and virtual datasets that lead to a file of another folder, and that file; they are not followed.
        complete: False if there is more than ``DEEPEST`` or ``MOST`` allow.
    """

    datasets: dict[str, h5py.Dataset]
    objects: dict[str, h5py.Group | h5py.Dataset]
    broken: dict[str, str]
    outside: dict[str, str]
    complete: bool


def tree_of(file: h5py.File, *, allow_links: bool = False) -> Tree:
    """Walk through a file; a group that links lead back to is entered once.

    Args:
        file: The open file.
        allow_links: Follow links to files outside the folder of the file, too.
    """
    walk = _Walk(file, allow_links)
    walk.run()
    return Tree(dict(sorted(walk.datasets.items())), walk.objects, walk.broken, walk.outside, walk.complete)


def item_at(group: h5py.Group, path: str) -> Any:
    """The group or dataset at a path; None where there is none, or none that HDF5 can open."""
    try:
        return group[path]
    except _ERRORS:
        return None


class _Walk:
    def __init__(self, file: h5py.File, allow_links: bool) -> None:
        self.file, self.allow_links = file, allow_links
        self.datasets: dict[str, h5py.Dataset] = {}
        self.objects: dict[str, h5py.Group | h5py.Dataset] = {"": file}
        self.broken: dict[str, str] = {}
        self.outside: dict[str, str] = {}
        self.complete = True
        self._seen = {_place(file)}

    def run(self) -> None:
        left, number = deque([(self.file, "", 0)]), 0
        while left:
            group, path, depth = left.popleft()
            for name in _names(group):
                number += 1
                if number > MOST:
                    self.complete = False
                    return
                below = f"{path}/{name}"
                item = self._followed(group, name, below)
                is_new = item is not None and self._add(below, item)
                if is_new and isinstance(item, h5py.Group):
                    if depth < DEEPEST:
                        left.append((item, below, depth + 1))
                    else:
                        self.complete = False

    def _followed(self, group: h5py.Group, name: str, path: str) -> Any:
        """The object that a name leads to; None if it leads nowhere or where it must not."""
        try:
            link = group.get(name, getlink=True)
        except _ERRORS:  # of a kind that h5py does not know
            return None
        if link is None or isinstance(link, h5py.HardLink):
            return item_at(group, name)
        target = link.path
        if isinstance(link, h5py.ExternalLink):
            found = linked_file(link.filename, group.file.filename, LINKS)
            target = f"{link.filename}:{link.path}"
            if found is not None and not self._may_follow(path, str(found)):
                return None
        item = item_at(group, name)
        if item is None:
            self.broken[path] = target
        elif not self._may_follow(path, item.file.filename):  # through a link on the way
            return None
        return item

    def _may_follow(self, path: str, filename: str) -> bool:
        if self.allow_links or is_beside(filename, self.file.filename):
            return True
        self.outside[path] = filename
        return False

    def _add(self, path: str, item: Any) -> bool:
        """Add an object under one of its paths; True if it was not seen before."""
        if isinstance(item, h5py.Dataset):
            if not all(self._may_follow(path, name) for name in virtual_files(item)):
                return False
            for name, dataset in _dereferenced(path, item):
                self.datasets[name] = dataset
        elif not isinstance(item, h5py.Group):
            return False
        place = _place(item)
        if place in self._seen:
            return False
        self._seen.add(place)
        self.objects[path.lstrip("/")] = item
        return True


def virtual_files(dataset: h5py.Dataset, seen: set[tuple[str, str]] | None = None) -> Iterator[str]:
    """Files that a virtual dataset, and the virtual ones among its parts, are made of and that are there."""
    seen = set() if seen is None else seen
    parts = dataset.virtual_sources() if dataset.is_virtual else ()
    for name, path in dict.fromkeys((str(part.file_name), str(part.dset_name)) for part in parts):
        for found in part_files(name, dataset.file.filename):
            if name != ".":
                yield str(found)
            if (str(found), path) in seen:
                continue
            seen.add((str(found), path))
            with suppress(*_ERRORS), h5py.File(found, "r") as file:
                part = item_at(file, path)
                if isinstance(part, h5py.Dataset):
                    yield from virtual_files(part, seen)


def _dereferenced(path: str, dataset: h5py.Dataset) -> Iterator[tuple[str, h5py.Dataset]]:
    """The dataset, or those that its object references name, as in MATLAB's cell arrays."""
    if h5py.check_ref_dtype(dataset.dtype) is not h5py.Reference or not 0 < (dataset.size or 0) <= MOST:
        yield path, dataset
        return
    references = dataset[()].reshape(-1) if dataset.shape else [dataset[()]]
    for number, reference in enumerate(references):
        item = item_at(dataset.file, reference) if reference else None
        if isinstance(item, h5py.Dataset):
            yield path if len(references) == 1 else f"{path}/{number:06}", item


def _names(group: h5py.Group) -> Iterator[str]:
    try:
        yield from group
    except _ERRORS:  # damaged
        return


def _place(item: h5py.Group | h5py.Dataset) -> tuple[Any, ...]:
    info = h5py.h5o.get_info(item.id)
    return (info.fileno, info.addr)
