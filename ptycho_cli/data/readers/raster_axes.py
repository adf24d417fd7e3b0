"""Scans of electron microscopes as arrays ``(row, column, y, x)`` or ``(frame, y, x)`` with a step for each axis."""

from __future__ import annotations

from typing import Any, NamedTuple

from ptycho_cli.data.physical_units import UNITS, in_base_unit, unit_from
from ptycho_cli.data.readers.calibrations import add_calibrations
from ptycho_cli.data.readers.raw_scan import RawScan, as_frames
from ptycho_cli.data.readers.source import Source

_STEPS_M = {**UNITS["positions"], "pm": 1e-12}
_SIZES = {"m": "pixel", "mm": "pixel", "um": "pixel", "cm": "distance"}  # units of a pixel on the detector


class Axis(NamedTuple):
    """Calibration of one axis of an array.

    Attributes:
        step: Distance of neighbouring entries; 0 where it is unknown.
        unit: Its unit as the file writes it.
    """

    step: float
    unit: str


def raw_from_axes(source: Source, frames: Any, axes: list[Axis]) -> RawScan:
    """Read an array with the calibrations of its axes.

    Args:
        source: The file.
        frames: Dataset ``(row, column, y, x)``, or ``(frame, y, x)`` of a scan whose shape is not stored.
        axes: One for each axis of it.
    """
    counts, raster = as_frames(frames, source.max_frames)
    raw = RawScan(source.name, getattr(frames, "name", "data").lstrip("/"), counts, scan_shape=raster)
    add_axes(raw, source, axes)
    return raw


def add_axes(raw: RawScan, source: Source, axes: list[Axis]) -> None:
    """Add the calibrations of the axes of its frames, and then those beside the frames, to a scan."""
    *steps, y, x = axes
    if len(steps) == 2:
        _add_step(raw, *steps)
    _add_pixel(raw, y, x)
    add_calibrations(raw, source)


def _add_step(raw: RawScan, row: Axis, column: Axis) -> None:
    unit = unit_from(row.unit)
    metres = _STEPS_M.get(unit or "")
    if metres is not None and unit_from(column.unit) == unit and min(row.step, column.step) > 0:
        raw.scan_step = (row.step * metres, column.step * metres)
        raw.units["positions"] = "A" if unit == "pm" or unit is None else unit
    elif row.step > 0 and (row.unit or row.step != 1):
        raw.notes.append(f"the step of the raster has the unit '{row.unit}' and is not used (data.scan_step_m).")


def _add_pixel(raw: RawScan, y: Axis, x: Axis) -> None:
    """Add the angle, the spatial frequency or the size of a detector pixel, by its unit."""
    unit = unit_from(x.unit)
    if x.step <= 0 or abs(y.step / x.step - 1) > 1e-3 or unit is None:
        return
    if unit in UNITS["reciprocal"]:
        raw.reciprocal_pixel_per_angstrom = in_base_unit(x.step, "reciprocal", unit)
        raw.units["reciprocal"] = unit
    elif unit in UNITS["angle"]:
        raw.angle_per_pixel_mrad = in_base_unit(x.step, "angle", unit)
        raw.units["angle"] = unit
    elif unit in _SIZES:
        raw.detector_pixel_m, raw.units["pixel"] = in_base_unit(x.step, _SIZES[unit], unit), "m"
    else:
        raw.notes.append(
            f"the detector pixel has the unit '{x.unit}', which is none of angle, reciprocal length and length, and is "
            "not used (data.angle_per_pixel_mrad)."
        )
