"""Files of HyperSpy (.hspy), first experiment; axes are calibrated by ``scale`` and ``units``.

Source: HyperSpy's file specification, version 3.3.
"""

from __future__ import annotations

from typing import Any

from ptycho_cli.data.readers.calibrations import text_of
from ptycho_cli.data.readers.raster_axes import Axis, raw_from_axes
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry


def can_read(source: Source) -> bool:
    """True for HDF5 files with an experiment of HyperSpy that is a 4-D array."""
    return source.hdf5 is not None and _experiment(source.hdf5) is not None


def read(source: Source) -> RawScan:
    """Read frames, raster and calibrations."""
    group = _experiment(source.hdf5)
    return raw_from_axes(source, group["data"], [_axis(group, number) for number in range(4)])


def _experiment(file: Any) -> Any:
    groups = file["Experiments"].values() if "Experiments" in file else ()
    return next((group for group in groups if "data" in group and group["data"].ndim == 4), None)


def _axis(group: Any, number: int) -> Axis:
    attributes = group[f"axis-{number}"].attrs if f"axis-{number}" in group else {}
    return Axis(float(attributes.get("scale", 0.0)), text_of(attributes.get("units", "")))


READER = ReaderEntry("HyperSpy", "Files of HyperSpy (.hspy) with a 4-D scan.", can_read, read)
