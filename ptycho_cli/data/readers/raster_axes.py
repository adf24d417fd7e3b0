"""Scans of electron microscopes as 4-D arrays ``(row, column, y, x)`` with a step and a unit for each axis."""

from __future__ import annotations

from typing import Any, NamedTuple

from ptycho_cli.data.physical_units import UNITS, in_base_unit, unit_from
from ptycho_cli.data.readers.calibrations import add_calibrations
from ptycho_cli.data.readers.raw_scan import RawScan, as_frames
from ptycho_cli.data.readers.source import Source


class Axis(NamedTuple):
    """Calibration of one axis of an array.

    Attributes:
        step: Distance of neighbouring entries; 0 where it is unknown.
        unit: Its unit as the file writes it.
    """

    step: float
    unit: str


def raw_from_axes(source: Source, frames: Any, axes: list[Axis]) -> RawScan:
    """Read a 4-D array with the calibrations of its axes.

    Args:
        source: The file.
        frames: Dataset ``(row, column, y, x)``.
        axes: One for each axis of it.
    """
    counts, raster = as_frames(frames, source.max_frames)
    raw = RawScan(source.name, frames.name.lstrip("/"), counts, scan_shape=raster)
    row, column, y, x = axes
    unit = unit_from(row.unit)
    if unit in UNITS["positions"] and unit_from(column.unit) == unit and min(row.step, column.step) > 0:
        raw.scan_step = (in_base_unit(row.step, "positions", unit), in_base_unit(column.step, "positions", unit))
        raw.units["positions"] = unit
    elif row.step > 0:
        raw.notes.append(f"the step of the raster has the unit '{row.unit}' and is not used (data.scan_step_m).")
    _add_pixel(raw, y, x)
    add_calibrations(raw, source)
    return raw


def _add_pixel(raw: RawScan, y: Axis, x: Axis) -> None:
    """Add the angle or the spatial frequency of a detector pixel, by its unit."""
    unit = unit_from(x.unit)
    if x.step <= 0 or abs(y.step / x.step - 1) > 1e-3 or unit is None:
        return
    if unit in UNITS["reciprocal"]:
        raw.reciprocal_pixel_per_angstrom = in_base_unit(x.step, "reciprocal", unit)
        raw.units["reciprocal"] = unit
    elif unit in UNITS["angle"]:
        raw.angle_per_pixel_mrad = in_base_unit(x.step, "angle", unit)
        raw.units["angle"] = unit
    else:
        raw.notes.append(
            f"the detector pixel has the unit '{x.unit}', which is none of angle or reciprocal length, and is not used "
            "(data.angle_per_pixel_mrad)."
        )
