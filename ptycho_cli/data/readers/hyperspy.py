"""Files of HyperSpy (.hspy), first experiment; axes are calibrated by ``scale`` and ``units``.

Source: HyperSpy's file specification, version 3.3, and its metadata ``Acquisition_instrument.TEM`` in kV, mrad and mm.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptycho_cli.data.physical_units import in_base_unit
from ptycho_cli.data.readers.calibrations import text_of
from ptycho_cli.data.readers.raster_axes import Axis, raw_from_axes
from ptycho_cli.data.readers.raw_scan import RawScan, positive_number
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_TEM = "metadata/Acquisition_instrument/TEM"


def can_read(source: Source) -> bool:
    """True for HDF5 files with an experiment of HyperSpy that is a 4-D array."""
    return source.hdf5 is not None and _experiment(source.hdf5) is not None


def read(source: Source) -> RawScan:
    """Read frames, raster, calibrations, voltage, semi-angle and camera length."""
    group = _experiment(source.hdf5)
    raw = raw_from_axes(source, group["data"], [_axis(group, number) for number in range(4)])
    if _TEM in group:
        add_microscope(raw, group[_TEM].attrs)
    return raw


def add_microscope(raw: RawScan, tem: Mapping[str, Any]) -> None:
    """Add what HyperSpy's metadata ``Acquisition_instrument.TEM`` says, in kV, mrad and mm."""
    raw.radiation, raw.energy_ev = "electron", None
    raw.voltage_kv = _number(raw, tem, "beam_energy")
    raw.semi_angle_mrad = _number(raw, tem, "convergence_angle")
    length_mm = _number(raw, tem, "camera_length")
    raw.distance_m = None if length_mm is None else in_base_unit(length_mm, "distance", "mm")
    raw.units |= {"voltage": "kV", "semi-angle": "mrad", "distance": "mm"}


def _experiment(file: Any) -> Any:
    groups = file["Experiments"].values() if "Experiments" in file else ()
    return next((group for group in groups if "data" in group and group["data"].ndim == 4), None)


def _axis(group: Any, number: int) -> Axis:
    attributes = group[f"axis-{number}"].attrs if f"axis-{number}" in group else {}
    return Axis(float(attributes.get("scale", 0.0)), text_of(attributes.get("units", "")))


def _number(raw: RawScan, attributes: Any, name: str) -> float | None:
    return positive_number(attributes[name], name, raw.notes) if name in attributes else None


READER = ReaderEntry("HyperSpy", "Files of HyperSpy (.hspy) with a 4-D scan.", can_read, read)
