"""HDF5 files of no particular layout, with arrays of familiar names at the root or at any depth."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.containers import datasets_of
from ptycho_cli.data.readers.common_names import FRAMES, has_frames, raw_from_names
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry


def can_read(source: Source) -> bool:
    """True for HDF5 files in which a dataset has a familiar name for frames."""
    return source.hdf5 is not None and _arrays(source.hdf5) is not None


def read(source: Source) -> RawScan:
    """Read frames, positions, probe and truth by their names: those at the root, or else those at any depth."""
    arrays = _arrays(source.hdf5)
    assert arrays is not None
    return raw_from_names(source, arrays)


def _arrays(file: h5py.File) -> dict[str, Any] | None:
    """Arrays by name, the frames among them; None if there are none."""
    for arrays in (_at_root(file), _at_any_depth(file)):
        if has_frames(arrays):
            return arrays
    return None


def _at_root(file: h5py.File) -> dict[str, Any]:
    """Attributes and datasets at the root; a dataset comes before an attribute of its name."""
    attributes = {name: np.asarray(value) for name, value in file.attrs.items()}
    return {**attributes, **{name: item for name, item in file.items() if isinstance(item, h5py.Dataset)}}


def _at_any_depth(file: h5py.File) -> dict[str, Any]:
    """Datasets of the whole file by the last part of their path; the first of a name counts."""
    found: dict[str, Any] = {}
    for dataset in datasets_of(file):
        name = dataset.name.rsplit("/", 1)[-1]
        if name.lower() not in FRAMES or dataset.ndim >= 3:  # many a table is called 'data' too
            found.setdefault(name, dataset)
    return found


READER = ReaderEntry("HDF5", "Datasets of familiar names in an HDF5 file.", can_read, read, generic=True)
