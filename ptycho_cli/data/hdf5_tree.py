"""Datasets of an HDF5 file by path, behind soft and external links too."""

from __future__ import annotations

from typing import Any

import h5py

DEEPEST, MOST = 24, 20_000  # groups below each other, and items, that are looked at


def datasets_of(file: h5py.File) -> dict[str, h5py.Dataset]:
    """Datasets of a file by path, in the order of their paths; one that links name has several.

    A group that links lead back to is entered once, and links that lead nowhere are passed over.
    """
    found: dict[str, h5py.Dataset] = {}
    _walk(file, "", found, {_place(file)}, DEEPEST)
    return dict(sorted(found.items()))


def _walk(group: h5py.Group, path: str, found: dict[str, h5py.Dataset], seen: set[Any], depth: int) -> None:
    for name in group:
        try:
            item = group[name]
        except (KeyError, OSError):
            continue
        if isinstance(item, h5py.Dataset):
            found[f"{path}/{name}"] = item
        elif isinstance(item, h5py.Group) and depth and _place(item) not in seen:
            seen.add(_place(item))
            _walk(item, f"{path}/{name}", found, seen, depth - 1)
        if len(found) + len(seen) > MOST:
            return


def _place(item: h5py.Group) -> tuple[Any, ...]:
    info = h5py.h5o.get_info(item.id)
    return (info.fileno, info.addr)
