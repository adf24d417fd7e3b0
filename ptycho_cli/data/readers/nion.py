"""Files of Nion Swift: HDF5 with a description as JSON in the attribute ``properties`` of a dataset, and ``.ndata``.

An exported file has datasets in the group ``data``, a file of a project the dataset ``data``. An ``.ndata`` file is a
ZIP archive of ``data.npy`` and ``metadata.json``. The instrument gives the high tension in V and the half angle of the
probe, ``probe_ha``, in rad.
"""

from __future__ import annotations

import json
import zipfile
from typing import Any

import h5py

from ptycho_cli.data.archives import DAMAGE
from ptycho_cli.data.readers.calibrations import text_of
from ptycho_cli.data.readers.raster_axes import Axis, raw_from_axes
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_KEYS = ("dimensional_calibrations", "spatial_calibrations")
_DESCRIPTION = "metadata.json"
_LONGEST = 2**24  # bytes of a description


def can_read(source: Source) -> bool:
    """True for files with a 4-D array and a description by Nion Swift."""
    return _scan(source) is not None


def read(source: Source) -> RawScan:
    """Read the first 4-D scan with its calibrations, and high tension and semi-angle of the instrument."""
    found = _scan(source)
    assert found is not None
    frames, described = found
    calibrations = next(described[key] for key in _KEYS if isinstance(described.get(key), list))
    raw = raw_from_axes(source, frames, [_axis(calibrations, number) for number in range(4)])
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


def _scan(source: Source) -> tuple[Any, dict[str, Any]] | None:
    """The array, and its description."""
    if source.hdf5 is None:
        frames = source.arrays.get("data") if source.start.startswith(b"PK") else None
        described = None if frames is None or frames.ndim != 4 else _parsed(_archived(source))
        return None if described is None else (frames, described)
    top = source.hdf5.get("data")
    for item in top.values() if isinstance(top, h5py.Group) else (top,):
        if isinstance(item, h5py.Dataset) and item.ndim == 4 and "properties" in item.attrs:
            described = _parsed(text_of(item.attrs["properties"]))
            if described is not None:
                return item, described
    return None


def _archived(source: Source) -> str:
    """The description in an archive; empty if there is none."""
    try:
        with zipfile.ZipFile(source.path) as archive:
            if archive.getinfo(_DESCRIPTION).file_size > _LONGEST:
                return ""
            return archive.read(_DESCRIPTION).decode("utf-8", "replace")
    except DAMAGE:
        return ""


def _parsed(text: str) -> dict[str, Any] | None:
    try:
        described = json.loads(text)
    except ValueError:
        return None
    known = isinstance(described, dict) and any(isinstance(described.get(key), list) for key in _KEYS)
    return described if known else None


def _axis(calibrations: list[Any], number: int) -> Axis:
    stored = calibrations[number] if number < len(calibrations) else None
    found = stored if isinstance(stored, dict) else {}
    step = found.get("scale")
    return Axis(float(step) if isinstance(step, int | float) else 0.0, str(found.get("units", "")))


READER = ReaderEntry("Nion", "Files of Nion Swift (HDF5 and .ndata) with a 4-D scan.", can_read, read)
