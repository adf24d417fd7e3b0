"""HDF5 files: finds out which layout a file has and calls the reader for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py

from ptycho_cli.data.readers.common_names import COUNTS, raw_from_names
from ptycho_cli.data.readers.cxi import read_cxi
from ptycho_cli.data.readers.native_format import SCAN_FORMAT, read_own
from ptycho_cli.data.readers.ptychodus import is_product, read_product
from ptycho_cli.data.readers.ptypy import is_ptypy, read_ptypy
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.errors import DataError


def read_hdf5(path: Path, max_frames: int | None = None) -> RawScan:
    """Read a scan in any HDF5 layout that is known, or whose arrays have known names at any depth."""
    with opened(path) as file:
        source = str(path)
        if file.attrs.get("format") == SCAN_FORMAT:
            return read_own(source, file, max_frames)
        if "entry_1" in file:
            return read_cxi(source, file, max_frames)
        if is_ptypy(file):
            return read_ptypy(source, file, max_frames)
        if is_product(file):
            return read_product(source, file, max_frames)
        raw = raw_from_names(source, "HDF5", at_root(file), max_frames)
        raw = raw or raw_from_names(source, "HDF5", at_any_depth(file), max_frames)
        if raw is None:
            raise no_diffraction(source, file)
        return raw


@contextmanager
def opened(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to read; raise ``DataError`` where it is damaged."""
    try:
        file = h5py.File(path, "r")
    except OSError as problem:
        raise _damaged(path, "damaged or cut-off", problem) from None
    with file:
        try:
            yield file
        except (OSError, KeyError) as problem:
            raise _damaged(path, "damaged", problem) from None


def _damaged(path: Path, how: str, problem: Exception) -> DataError:
    """The library says where in itself it failed, and in brackets why; people need the why."""
    text = str(problem.args[0] if problem.args else problem)
    reason = text.partition("(")[2].removesuffix(")") or text
    return DataError(f"{path}: {how} HDF5 file ({reason}).", hint="Copy the file anew.")


def at_root(file: h5py.File) -> dict[str, Any]:
    """Attributes and datasets at the root, by name; a dataset beats an attribute of its name."""
    datasets = {name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}
    return {**dict(file.attrs), **datasets}


def at_any_depth(file: h5py.File) -> dict[str, Any]:
    """Datasets of the whole file by the last part of their path; the first of a name counts."""
    found: dict[str, Any] = {}
    for dataset in datasets_of(file):
        name = dataset.name.rsplit("/", 1)[-1]
        if name.lower() not in COUNTS or dataset.ndim >= 3:  # many a table is called 'data' too
            found.setdefault(name, dataset)
    return found


def datasets_of(file: h5py.File) -> list[h5py.Dataset]:
    """All datasets of a file, in the order of their paths."""
    found: list[h5py.Dataset] = []
    file.visititems(lambda _, item: found.append(item) if isinstance(item, h5py.Dataset) else None)
    return found


def no_diffraction(source: str, file: h5py.File) -> DataError:
    """The error for a file in which no frames were found; names what was."""
    held = [f"{dataset.name} {dataset.shape}" for dataset in datasets_of(file)]
    listed = ", ".join(held[:6]) + (f" and {len(held) - 6} more" if len(held) > 6 else "")
    return DataError(
        f"{source}: no diffraction in it; it holds {listed or 'no datasets'}, expected one of {', '.join(COUNTS[:5])}.",
        hint="Rename the dataset of frames, or convert the file.",
    )
