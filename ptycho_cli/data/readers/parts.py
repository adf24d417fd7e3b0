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
from ptycho_cli.data.linked_files import VIRTUAL, linked_file
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
    if dataset.external:
        raise DataError(
            f"{where} has its values in '{dataset.external[0][0]}', a file of any kind; such files are not read.",
            hint="Store the values in the HDF5 file, for example with h5repack.",
        )
    _refuse_missing_filter(dataset, where)
    if (problem := _missing_source(dataset, max_frames)) is not None:
        missing, first, last = problem
        before = f", or read only what comes before it: data.max_frames={first}" if first else ""
        raise DataError(
            f"{where} is made of several files, and {missing} is not there; HDF5 would fill frames {first} to {last} "
            "with zeros.",
            hint=f"Copy it to {Path(dataset.file.filename).resolve().parent}{before}.",
            finding="missing-part",
        )
    _refuse_unwritten(dataset, where, max_frames)


def _refuse_missing_filter(dataset: h5py.Dataset, where: str) -> None:
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise DataError(
                f"{where} is compressed by filter {code} ({name.decode(errors='replace')}), which is not installed.",
                hint="Install the filter for HDF5, or store the frames in another way, for example with h5repack.",
            )


def _missing_source(dataset: h5py.Dataset, max_frames: int | None, depth: int = 0) -> tuple[str, int, int] | None:
    """What a virtual dataset needs and is not there, and the first and the last entry that it would fill."""
    if not dataset.is_virtual or depth > _DEEPEST:
        return None
    for source in dataset.virtual_sources():
        low, high = source.vspace.get_select_bounds()
        if max_frames is not None and low[0] >= max_frames:
            continue
        if (missing := _missing(source, dataset, depth)) is not None:
            return missing, int(low[0]), int(high[0])
    return None


def _missing(source: Any, dataset: h5py.Dataset, depth: int) -> str | None:
    """Name of the file or dataset that a part of a virtual dataset needs and that is not there."""
    name = str(source.file_name)
    if "%b" in name:  # one of any number of files: HDF5 maps those that there are
        return None
    if name == ".":
        return None if source.dset_name in dataset.file else f"'{source.dset_name}'"
    found = linked_file(name, dataset.file.filename, VIRTUAL)
    if found is None:
        return name
    try:
        with h5py.File(found, "r") as file:
            part = item_at(file, source.dset_name)
            if not isinstance(part, h5py.Dataset):
                return f"'{source.dset_name}' of {name}"
            _refuse_missing_filter(part, f"{found}: '{source.dset_name}'")
            inner = _missing_source(part, None, depth + 1)
            return None if inner is None else f"{inner[0]}, of which {name} is made,"
    except OSError:
        return f"{name}, a readable HDF5 file,"


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
