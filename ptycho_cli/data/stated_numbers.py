"""What settings and file state about the geometry of a scan: rasters, radiation, and numbers with their units."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.bright_disc import bright_disc_radius
from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.units import SETTINGS, step_of
from ptycho_cli.data.physical_units import LENGTHS_M, UNITS
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.stored_geometry import Geometry
from ptycho_cli.errors import DataError

SAME = 1e-3  # relative difference of numbers that are the same
LARGEST_METRES = 1e-2  # no scan is a hundredth of a pixel wide, and none is a centimetre wide
# Quantities of which the user's replace all of the file's.
_BEAM, _ANGLES, _DETECTOR = ("energy", "wavelength", "voltage"), ("angle", "reciprocal"), ("distance", "pixel")
_BASE = {
    "energy": "eV", "wavelength": "m", "voltage": "kV", "distance": "m", "pixel": "m", "angle": "mrad",
    "reciprocal": "1/A", "semi-angle": "mrad", "positions": "m",
}  # fmt: skip


def with_raster(raw: RawScan, options: ReadOptions) -> RawScan:
    """The scan with positions on a raster, where the file has none or the user gives a step.

    Rows run along y; frames are stored row by row.

    Raises:
        DataError: If the raster does not hold all frames, or its step or shape is not known.
    """
    if raw.positions is not None and options.scan_step_m is None:
        return raw
    if raw.scan_step is None and raw.scan_shape is None and options.scan_step_m is None and options.scan_shape is None:
        return raw
    height, width = _raster_shape(raw, options)
    if options.scan_step_m is not None:
        step: tuple[float, float] = (options.scan_step_m, options.scan_step_m)
        unit: Any = "m"
        units = {name: value for name, value in raw.units.items() if name != "positions"}
    elif raw.scan_step is not None:
        unit = raw.units.get("positions")
        step, units = raw.scan_step, raw.units
        step = step if unit is None else (step[0] / LENGTHS_M[unit], step[1] / LENGTHS_M[unit])
    else:
        raise DataError(
            f"{raw.source}: a raster of {height} x {width} frames, but neither positions nor the step of the raster.",
            hint="Set data.scan_step_m to the distance of neighbouring frames in metres, or --positions.",
        )
    n_frames = height * width if options.max_frames is None else len(raw.counts)
    rows, columns = np.divmod(np.arange(n_frames, dtype=np.float64), width)
    positions = np.stack([rows * step[0], columns * step[1]], axis=1)
    name = f"a raster of {height} x {width} frames"
    notes = [f"positions from {name}, row by row along y (data.scan_shape)."]
    if options.scan_step_m is not None and (raw.positions is not None or raw.scan_step is not None):
        place = "the positions" if raw.positions is not None else "the step"
        notes.append(f"a step of {options.scan_step_m:.4g} m (data.scan_step_m) replaces {place} in the file.")
    return replace(
        raw, positions=positions, positions_name=name, position_order="yx", position_unit=unit, units=units,
        scan_step=step, notes=[*raw.notes, *notes],
    )  # fmt: skip


def _raster_shape(raw: RawScan, options: ReadOptions) -> tuple[int, int]:
    n_frames = raw.counts.shape[0]
    given = None if options.scan_shape is None else scan_shape(options.scan_shape)
    if given is not None and raw.scan_shape is not None and given != raw.scan_shape:
        raise DataError(
            f"{raw.source}: '{raw.counts_name}' is a raster of {raw.scan_shape[0]} x {raw.scan_shape[1]} frames, but "
            f"data.scan_shape is {options.scan_shape}.",
            hint="Leave out data.scan_shape.",
        )
    shape = given or raw.scan_shape
    if shape is None:
        side = int(np.sqrt(n_frames))
        shape = (side, side)
    height, width = shape
    if height * width < n_frames or (height * width > n_frames and options.max_frames is None):
        raise DataError(
            f"{raw.source}: '{raw.counts_name}' has {n_frames} frames, which make no raster of {height} x {width}.",
            hint="Set data.scan_shape to rows,columns.",
        )
    return height, width


def scan_shape(text: str) -> tuple[int, int]:
    """Rows and columns of the text ``rows,columns``.

    Raises:
        DataError: If it is no pair of positive whole numbers.
    """
    try:
        height, width = (int(part) for part in text.split(","))
    except ValueError:
        height = width = 0
    if min(height, width) < 1:
        raise DataError(
            f"data.scan_shape is {text}, expected rows,columns of the raster.",
            hint="For example data.scan_shape=32,32.",
        )
    return height, width


def stated_geometry(
    draft: Draft, stored_shape: tuple[int, ...], cropped: int, positions: NDArray[np.float64]
) -> tuple[Geometry, set[str]]:
    """Stored numbers with the units that settings, layout and names state, and the quantities that the user fixed.

    Args:
        draft: The draft.
        stored_shape: Shape (y, x) of its frames.
        cropped: Pixels of a stored frame that are used along each axis.
        positions: Its positions in the order (y, x), as stored.
    """
    raw, options = draft.raw, draft.options
    numbers, fixed, replaced = _numbers(raw, options)
    draft.notes += replaced
    if options.position_unit != "auto" or options.scan_step_m is not None:
        fixed.add("positions")
    object_pixel = options.object_pixel_m
    if object_pixel is not None and not 0 < object_pixel < np.inf:
        raise DataError(f"object_pixel_m is {object_pixel:g}, expected a positive number of metres.")
    if object_pixel is None and raw.object_pixel_m is not None and not _replaced_by(options):
        object_pixel = raw.object_pixel_m * stored_shape[-1] / cropped
    units = {name: unit if name in fixed else raw.units.get(name, unit) for name, unit in _BASE.items()}
    stored: dict[str, Any] = {
        name: None if value is None else value / UNITS[name][units[name]] for name, value in numbers.items()
    }
    geometry = Geometry(
        step_of(positions), units, cropped, **{name.replace("-", "_"): value for name, value in stored.items()},
        object_pixel_m=object_pixel,
        guessed=options.position_unit == "auto" and raw.position_unit is None,
        raster=raw.scan_step is not None,
    )  # fmt: skip
    geometry = _with_radiation(draft, geometry)
    if geometry.semi_angle is not None:
        geometry = _with_bright_disc(draft, geometry)
        geometry = replace(geometry, aberrations_m=_stated_aberrations(draft))
    unit = _position_unit(draft, positions, geometry)
    return replace(geometry, units=geometry.units | {"positions": unit}), fixed


def _numbers(raw: RawScan, options: ReadOptions) -> tuple[dict[str, float | None], set[str], list[str]]:
    """Numbers in the program's units, those of the user in place of the file's.

    Returns:
        The numbers; the quantities that the user fixes; and a line for each number of the file that differs from the
        user's.
    """
    numbers: dict[str, float | None] = {
        "energy": None if raw.wavelength_m else raw.energy_ev, "wavelength": raw.wavelength_m,
        "voltage": raw.voltage_kv, "distance": raw.distance_m, "pixel": raw.detector_pixel_m,
        "angle": raw.angle_per_pixel_mrad, "reciprocal": raw.reciprocal_pixel_per_angstrom,
        "semi-angle": raw.semi_angle_mrad,
    }  # fmt: skip
    given = {
        "energy": None if options.wavelength_m else options.energy_ev, "wavelength": options.wavelength_m,
        "voltage": options.voltage_kv, "distance": options.distance_m, "pixel": options.detector_pixel_m,
        "angle": options.angle_per_pixel_mrad, "reciprocal": options.reciprocal_pixel_per_angstrom,
        "semi-angle": options.aperture.semi_angle_mrad,
    }  # fmt: skip
    fixed = {name for name, value in given.items() if value}
    replaced = [
        f"{SETTINGS[name]} is {value:.6g}, in place of {numbers[name]:.6g} in the file."
        for name, value in given.items()
        if value and numbers[name] and abs(value / (numbers[name] or value) - 1) > SAME
    ]
    if fixed & set(_BEAM):
        numbers |= dict.fromkeys(_BEAM)
        fixed |= set(_BEAM)
    if fixed & set(_ANGLES):
        numbers |= dict.fromkeys((*_ANGLES, *_DETECTOR))
    elif fixed & set(_DETECTOR):
        numbers |= dict.fromkeys(_ANGLES)
    numbers |= {name: value for name, value in given.items() if value}
    return numbers, fixed, replaced


def _replaced_by(options: ReadOptions) -> bool:
    """True if the user gives the angle of a pixel, which decides in place of an object pixel in the file."""
    return options.angle_per_pixel_mrad is not None or options.reciprocal_pixel_per_angstrom is not None


def _with_radiation(draft: Draft, geometry: Geometry) -> Geometry:
    """The geometry of X-rays or electrons: as the user or the file states it, or as its numbers imply."""
    raw, options = draft.raw, draft.options
    stated = None if options.radiation == "auto" else options.radiation
    if stated is None and (options.voltage_kv is not None or raw.voltage_kv is not None):
        stated = "electron"
    stated = stated or raw.radiation
    if stated is not None:
        return replace(geometry, radiation=stated, radiation_known=True)
    electrons = replace(geometry, radiation="electron", radiation_known=True)
    implied = {
        "an angle per pixel": geometry.angle,
        "a reciprocal pixel": geometry.reciprocal,
        "a semi-angle": raw.semi_angle_mrad,
    }
    reason = next((name for name, value in implied.items() if value is not None), None)
    if reason is None:
        return geometry
    if geometry.value("wavelength") is not None and not geometry.problems(np.inf):
        return geometry  # photons can have that energy and pixel
    draft.notes.append(f"taken as an electron scan, since {reason} is given (data.radiation).")
    return electrons


def _with_bright_disc(draft: Draft, geometry: Geometry) -> Geometry:
    """The geometry with the radius of the bright disc, which gives the angle of a pixel where nothing else does."""
    radius = bright_disc_radius(draft.of_pixels.total / len(draft.counts), draft.valid)
    if radius is None:
        return geometry
    semi_angle = geometry.value("semi-angle")
    if semi_angle is not None and geometry.angle_mrad() is None and geometry.object_pixel() is None:
        angle = semi_angle / radius
        draft.notes.append(
            f"{angle:.4g} mrad per detector pixel, from the semi-angle of {semi_angle:.4g} mrad and the radius of the "
            f"bright disc, {radius:.4g} pixels (data.angle_per_pixel_mrad)."
        )
        return replace(geometry, angle=angle, units=geometry.units | {"angle": "mrad"})
    return replace(geometry, disc_px=radius)


def _stated_aberrations(draft: Draft) -> tuple[float, float] | None:
    """Defocus and spherical aberration in metres; None where the unit of the defocus is a guess, or the step is not."""
    raw, aperture = draft.raw, draft.options.aperture
    defocus = aperture.defocus_m if aperture.defocus_m is not None else raw.defocus_m
    if defocus is None or (aperture.defocus_m is None and "defocus" not in raw.units):
        return None
    return None if draft.options.scan_step_m is not None else (defocus, aperture.cs_m or raw.cs_m or 0.0)


def _position_unit(draft: Draft, positions: NDArray[np.float64], geometry: Geometry) -> str:
    if draft.options.position_unit != "auto":
        return draft.options.position_unit
    if draft.raw.position_unit is not None:
        return draft.raw.position_unit
    span = float(np.ptp(positions, axis=0).max())
    unit = "m" if 0 < span < LARGEST_METRES else "A" if geometry.raster else "px"
    draft.notes.append(f"positions span {span:.3g} and are taken to be in {unit} (data.position_unit).")
    return unit
