"""HDF5 files of Nion Swift: a dataset with its description as JSON in the attribute ``properties``.

Its instrument gives the high tension in V and the half angle of the probe, ``probe_ha``, in rad.
"""

from __future__ import annotations

import json
from typing import Any

import h5py

from ptycho_cli.data.readers.calibrations import text_of
from ptycho_cli.data.readers.raster_axes import Axis, raw_from_axes
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_KEY = "spatial_calibrations"


def can_read(source: Source) -> bool:
    """True for HDF5 files in which a 4-D dataset of the group ``data`` has a description by Nion Swift."""
    return source.hdf5 is not None and _scan(source.hdf5) is not None


def read(source: Source) -> RawScan:
    """Read the first 4-D scan with its calibrations, and high tension and semi-angle of the instrument."""
    found = _scan(source.hdf5)
    assert found is not None
    frames, described = found
    raw = raw_from_axes(source, frames, [_axis(described[_KEY], number) for number in range(4)])
    instrument = _inside(described, "metadata", "instrument")
    if (volts := _number(instrument.get("high_tension"))) is not None:
        raw.voltage_kv, raw.units["voltage"] = volts / 1e3, "V"
    if (radians := _number(_inside(instrument, "ImageScanned").get("probe_ha"))) is not None:
        raw.semi_angle_mrad, raw.units["semi-angle"] = 1e3 * radians, "rad"
    return raw


def _inside(described: dict[str, Any], *names: str) -> dict[str, Any]:
    """A nested description; empty where there is none."""
    for name in names:
        inner = described.get(name)
        described = inner if isinstance(inner, dict) else {}
    return described


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and value > 0 else None


def _scan(file: Any) -> tuple[Any, dict[str, Any]] | None:
    """The dataset, and its description."""
    items = file["data"].values() if isinstance(file.get("data"), h5py.Group) else ()
    for item in items:
        if isinstance(item, h5py.Dataset) and item.ndim == 4 and "properties" in item.attrs:
            try:
                described = json.loads(text_of(item.attrs["properties"]))
            except ValueError:
                continue
            if isinstance(described, dict) and isinstance(described.get(_KEY), list):
                return item, described
    return None


def _axis(calibrations: list[Any], number: int) -> Axis:
    found = calibrations[number] if number < len(calibrations) else {}
    step = found.get("scale", 0.0) if isinstance(found, dict) else 0.0
    return Axis(
        float(step) if isinstance(step, int | float) else 0.0, str(dict(found).get("units", "")) if found else ""
    )


READER = ReaderEntry("Nion", "HDF5 files of Nion Swift with a 4-D scan.", can_read, read)
