"""Parts of an HDF5 file in other files: those that are not there.

HDF5 fills a virtual dataset with zeros, without a word, where a file that it is made of is missing. An external link
without its file is like an empty place.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py

from ptycho_cli.errors import DataError

PREFIX = "HDF5_VDS_PREFIX"  # environment variable in which HDF5 looks for a folder of source files


def refuse_missing_parts(dataset: h5py.Dataset, max_frames: int | None = None) -> None:
    """Refuse a virtual dataset of which a part is missing, among the frames that are read, and an unknown compression.

    Args:
        dataset: The dataset.
        max_frames: Entries along its first axis that are read; None for all.

    Raises:
        DataError: If a source file, or the dataset in it, is not there, or a filter is not installed.
    """
    _refuse_missing_filter(dataset)
    if not dataset.is_virtual:
        return
    folder = Path(dataset.file.filename).resolve().parent
    for source in dataset.virtual_sources():
        low, high = source.vspace.get_select_bounds()
        if max_frames is not None and low[0] >= max_frames:
            continue
        if (missing := _missing(source, folder, dataset)) is not None:
            first, last = int(low[0]), int(high[0])
            before = f", or read only what comes before it: data.max_frames={first}" if first else ""
            raise DataError(
                f"{dataset.file.filename}: '{dataset.name.lstrip('/')}' is made of several files, and {missing} is not "
                f"there; HDF5 would fill frames {first} to {last} with zeros.",
                hint=f"Copy it to {folder}{before}.",
                finding="missing-part",
            )


def _refuse_missing_filter(dataset: h5py.Dataset) -> None:
    properties = dataset.id.get_create_plist()
    for number in range(properties.get_nfilters()):
        code, _, _, name = properties.get_filter(number)
        if not h5py.h5z.filter_avail(code):
            raise DataError(
                f"{dataset.file.filename}: '{dataset.name.lstrip('/')}' is compressed by filter {code} "
                f"({name.decode(errors='replace')}), which is not installed.",
                hint="Install the filter for HDF5, or store the frames in another way, for example with h5repack.",
            )


def _missing(source: Any, folder: Path, dataset: h5py.Dataset) -> str | None:
    """Name of the file or dataset that a part of a virtual dataset needs and that is not there."""
    name = str(source.file_name)
    if "%b" in name:  # one of any number of files: HDF5 maps those that there are
        return None
    if name == ".":
        return None if source.dset_name in dataset.file else f"'{source.dset_name}'"
    places = [folder / name, folder / Path(name).name, Path(name)]
    if prefix := os.environ.get(PREFIX):
        places.insert(0, Path(prefix.replace("${ORIGIN}", str(folder))) / name)
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        return name
    try:
        with h5py.File(found, "r") as file:
            return None if source.dset_name in file else f"'{source.dset_name}' of {name}"
    except OSError:
        return f"{name}, a readable HDF5 file,"


def refuse_broken_links(file: h5py.File) -> None:
    """Refuse a file in which something was not found and that has a link that leads nowhere.

    Raises:
        DataError: If there is such a link.
    """
    broken = next(_broken_links(file), None)
    if broken is not None:
        name, target = broken
        raise DataError(
            f"{file.filename}: the link '{name}' leads to {target}, which is not there.",
            hint="Copy the files that belong to a scan together, into one folder.",
            finding="missing-part",
        )


def _broken_links(group: h5py.Group) -> Iterator[tuple[str, str]]:
    for name in group:
        link = group.get(name, getlink=True)
        place = f"{group.name.rstrip('/')}/{name}"
        if isinstance(link, h5py.HardLink):
            item = group[name]
            if isinstance(item, h5py.Group):
                yield from _broken_links(item)
        elif group.get(name) is None:
            yield place, f"{link.filename}:{link.path}" if isinstance(link, h5py.ExternalLink) else link.path
