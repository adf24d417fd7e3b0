"""Scans that are in memory as files for a short time, so that they are read and checked like all others."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.scan import Scan
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import ConfigError

REQUIRED = ("counts", "positions_px")
ARRAYS = (*REQUIRED, "probe", "mask")


@contextmanager
def scan_files(data: Sequence[Any], arrays: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Give a path for each scan: that of a file, or of a file that is written now and removed at the end.

    Args:
        data: Paths and objects ``Scan``.
        arrays: One more scan as arrays by name: ``counts``, ``positions_px`` and, if known, ``probe`` and ``mask``;
            empty if there is none.

    Raises:
        ConfigError: If an item is neither path nor scan, or one of the two required arrays is missing.
    """
    with tempfile.TemporaryDirectory(prefix="ptycho-arrays-") as folder:
        paths = [_path(item, Path(folder) / f"scan_{number}.h5") for number, item in enumerate(data, start=1)]
        if arrays:
            paths.append(_write_arrays(arrays, Path(folder) / "arrays.h5"))
        yield tuple(paths)


def _path(item: Any, place: Path) -> str:
    if isinstance(item, (str, os.PathLike)):
        return os.fspath(item) if isinstance(item, str) else str(os.fspath(item))
    if isinstance(item, Scan):
        write_scan(place, item)
        return str(place)
    raise ConfigError(
        f"data: found a {type(item).__name__}, expected the path of a scan file, or a Scan.",
        hint="Give each file as an argument of its own, and arrays by name: counts=frames, positions_px=positions.",
    )


def _write_arrays(arrays: Mapping[str, Any], place: Path) -> str:
    for name in REQUIRED:
        if arrays.get(name) is None:
            raise ConfigError(f"{name}: missing beside {', '.join(arrays)}.", hint=f"Give {' and '.join(REQUIRED)}.")
    with h5py.File(place, "w") as file:
        for name, array in arrays.items():
            file[name] = np.asarray(array)
    return str(place)
