"""Parts of an HDF5 file that are not there, or not to be read.

HDF5 fills a virtual dataset with zeros, without a word, where a file that it is made of is missing, and any dataset
where nothing was written. A dataset with external storage reads the bytes of any file that it names.
"""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.hdf5_tree import item_at
from ptycho_cli.data.linked_files import part_files
from ptycho_cli.errors import DataError

_DEEPEST = 4  # virtual datasets that are made of each other


def refuse_missing_parts(dataset: h5py.Dataset, max_frames: int | None = None) -> None:
    """Refuse a dataset of which a part is missing among the entries that are read, or that HDF5 cannot read safely.

    Args:
        dataset: The dataset.
        max_frames: Entries along its first axis that are read; None for all.

    Raises:
        DataError: If a source file, or the dataset in it, is not there, if a filter is not installed, if nothing was
            written, or if the values are in another file that is not HDF5.
    """
    where = f"{dataset.file.filename}: '{dataset.name.lstrip('/')}'"
    _refuse_unreadable(dataset, where)
    if (problem := _Parts().missing(dataset, max_frames)) is not None:
        missing, first, last = problem
        before = f", or read only what comes before it: data.max_frames={first}" if first else ""
        raise DataError(
            f"{where} is made of several files, and {missing} is not there; HDF5 would fill frames {first} to {last} "
            "with zeros.",
            hint=f"Copy it to {Path(dataset.file.filename).resolve().parent}{before}.",
            finding="missing-part",
        )
    _refuse_unwritten(dataset, where, max_frames)


def _refuse_unreadable(dataset: h5py.Dataset, where: str) -> None:
    """Refuse values in another file that is not HDF5, or compressed by a filter that is not there."""
    if dataset.external:
        raise DataError(
            f"{where} has its values in '{dataset.external[0][0]}', a file of any kind; such files are not read.",
            hint="Store the values in the HDF5 file, for example with h5repack.",
        )
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise DataError(
                f"{where} is compressed by filter {code} ({name.decode(errors='replace')}), which is not installed.",
                hint="Install the filter for HDF5, or store the frames in another way, for example with h5repack.",
            )


class _Parts:
    """Parts of a virtual dataset, down to those that are not virtual."""

    def __init__(self) -> None:
        self._there: set[tuple[str, str]] = set()

    def missing(
        self, dataset: h5py.Dataset, max_frames: int | None = None, above: tuple[tuple[str, str], ...] = ()
    ) -> tuple[str, int, int] | None:
        """What a dataset needs and is not there, and the first and the last entry that it would fill.

        Args:
            dataset: The dataset.
            max_frames: Entries along its first axis that are read; None for all.
            above: Virtual datasets that it is a part of, by file and path.
        """
        if not dataset.is_virtual:
            return None
        key = (dataset.file.filename, dataset.name)
        if key in above or len(above) > _DEEPEST:  # HDF5 would go on until it has no stack left
            raise DataError(
                f"{key[0]}: '{key[1].lstrip('/')}' is a part of itself, or of more than {_DEEPEST} virtual datasets "
                "inside each other; such datasets are not read.",
                hint="Store the values in one dataset, for example with h5repack.",
            )
        for source in dataset.virtual_sources():
            low, high = source.vspace.get_select_bounds()
            if max_frames is not None and low[0] >= max_frames:
                continue
            if (missing := self._missing_source(source, dataset, (*above, key))) is not None:
                return missing, int(low[0]), int(high[0])
        return None

    def _missing_source(self, source: Any, dataset: h5py.Dataset, above: tuple[tuple[str, str], ...]) -> str | None:
        """Name of the file or dataset that a part needs and that is not there."""
        name, path = str(source.file_name), str(source.dset_name)
        files = part_files(name, dataset.file.filename)
        if not files and "%b" not in name:  # HDF5 maps those of any number that there are
            return name
        called = "this file" if name == "." else name
        for found in files:
            if (str(found), path) in self._there:
                continue
            try:
                with h5py.File(found, "r") as file:
                    missing = self._missing_at(file, path, called, above)
            except OSError:
                missing = f"{name}, a readable HDF5 file,"
            if missing is not None:
                return missing
            self._there.add((str(found), path))
        return None

    def _missing_at(self, file: h5py.File, path: str, called: str, above: tuple[tuple[str, str], ...]) -> str | None:
        part = item_at(file, path)
        if not isinstance(part, h5py.Dataset):
            return f"'{path}' of {called}"
        _refuse_unreadable(part, f"{file.filename}: '{path}'")
        inner = self.missing(part, None, above)
        return None if inner is None else f"{inner[0]}, of which {called} is made,"


def _refuse_unwritten(dataset: h5py.Dataset, where: str, max_frames: int | None) -> None:
    """Refuse a dataset of which nothing was written, or frames of which only a part was.

    Frames that were not written at all are zero, and found as blank ones.
    """
    if dataset.is_virtual or not dataset.size or not dataset.shape:
        return
    if not dataset.id.get_storage_size():
        raise DataError(
            f"{where} is {tuple(dataset.shape)}, but nothing was written to it.",
            hint="Copy the file again, or name another array with --frames or --positions.",
            finding="missing-part",
        )
    first = _first_unwritten(dataset)
    if first is not None and (max_frames is None or first < max_frames):
        raise DataError(
            f"{where} was not written completely: parts of frame {first} are missing, which HDF5 would fill with "
            f"{dataset.fillvalue}.",
            hint=f"Copy the file again{f', or read only what comes before: data.max_frames={first}' if first else ''}.",
            finding="missing-part",
        )


def _first_unwritten(dataset: h5py.Dataset) -> int | None:
    """The first frame that a missing chunk would fill in part, or with another value than 0; None if there is none."""
    if dataset.chunks is None or dataset.ndim < 3:
        return None
    sides = [-(-size // chunk) for size, chunk in zip(dataset.shape, dataset.chunks, strict=True)]
    if dataset.id.get_num_chunks() == math.prod(sides):
        return None
    written: Counter[tuple[int, ...]] = Counter()

    def count(chunk: Any) -> None:
        written[tuple(at // size for at, size in zip(chunk.chunk_offset[:-2], dataset.chunks, strict=False))] += 1

    dataset.id.chunk_iter(count)
    whole = sides[-2] * sides[-1]
    wrong = [index for index, number in written.items() if number < whole]
    if np.any(dataset.fillvalue):
        wrong += [next((index for index in np.ndindex(*sides[:-2]) if index not in written), (sides[0],))]
    first = min(wrong, default=(sides[0],))[0]
    return None if first == sides[0] else int(first * dataset.chunks[0])
