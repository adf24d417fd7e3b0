"""Positions in object pixels, and the size of an object pixel, from stored numbers, their units and the settings."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data import scan_checks
from ptycho_cli.data.findings import position_outliers
from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.units import HC_EV_M, LENGTHS_M, Geometry, step_of, with_possible_units
from ptycho_cli.errors import DataError
from ptycho_cli.geometry import probe_diameter_px, rotated

Positions = NDArray[np.float64]
NARROWEST_PROBE_PX = 4.0  # a probe looks at least so wide when steps are compared with it
LARGEST_METRES = 1e-2  # no scan is a hundredth of a pixel wide, and none is a centimetre wide


def place_frames(
    draft: Draft, stored_shape: tuple[int, ...], cropped: int, size: int
) -> tuple[Positions, float | None, float | None, NDArray[np.bool_]]:
    """Place the frames of a draft on the object.

    Args:
        draft: The draft; frames far from all others are left out of it.
        stored_shape: Shape (y, x) of its frames.
        cropped: Pixels of a stored frame that are used along each axis.
        size: Pixels along one side of a frame as it will be, after binning.

    Returns:
        Positions in object pixels; the object pixel and the wavelength in metres, None where unknown; and which of the
        draft's former frames are kept, bool ``(frame,)``.

    Raises:
        DataError: If units are impossible, or positions are in metres and the object pixel is unknown.
    """
    positions = _ordered(draft)
    geometry, fixed = _stated(draft, stored_shape, cropped, positions)
    if not draft.raw.is_native:
        geometry = with_possible_units(draft, geometry, fixed, _probe_width(draft, stored_shape))
    pixel_m = geometry.object_pixel()
    if geometry.units["positions"] == "px":
        factor: float | NDArray[np.float64] = cropped / np.array(stored_shape, dtype=np.float64)
    elif pixel_m is None:
        raise DataError(
            f"{draft.raw.source}: positions are in {geometry.units['positions']}, but the size of an object pixel is "
            "not known: expected wavelength, distance and detector pixel in the file.",
            hint="Set data.object_pixel_m, or data.position_unit=px if the positions are in pixels.",
            finding="positions-unit",
        )
    else:
        factor = 1.0 if geometry.units["positions"] == "m" else LENGTHS_M[geometry.units["positions"]]
        positions = positions * factor / pixel_m
        factor = 1.0
    positions = _turned(positions * factor, draft)
    kept = position_outliers.check(draft, positions, size)
    positions = positions[kept]
    position_outliers.check_duplicated(draft, positions)
    scan_checks.check_extent(draft.raw, positions, size)
    return np.ascontiguousarray(positions), pixel_m, geometry.value("wavelength"), kept


def column_order(draft: Draft) -> Literal["yx", "xy"]:
    """Order of the columns of the stored positions: as the user says, else the file, else y, x."""
    asked = draft.options.position_order
    return asked if asked != "auto" else draft.raw.position_order or "yx"


def _ordered(draft: Draft) -> Positions:
    if draft.options.position_order == "auto" and draft.raw.position_order is None:
        draft.notes.append(f"columns of '{draft.raw.positions_name}' taken as y, x (data.position_order).")
    return np.array(draft.positions if column_order(draft) == "yx" else draft.positions[:, ::-1])


def _stated(
    draft: Draft, stored_shape: tuple[int, ...], cropped: int, positions: Positions
) -> tuple[Geometry, set[str]]:
    """Stored numbers with the units that settings, layout and names state, and the quantities that the user fixed."""
    raw, options = draft.raw, draft.options
    fixed = {
        name for name, value in (("positions", None if options.position_unit == "auto" else options.position_unit),
                                 ("energy", options.energy_ev or options.wavelength_m),
                                 ("wavelength", options.energy_ev or options.wavelength_m),
                                 ("distance", options.distance_m), ("pixel", options.detector_pixel_m)) if value
    }  # fmt: skip
    wavelength = options.wavelength_m or (None if options.energy_ev is None else HC_EV_M / options.energy_ev)
    energy = None if wavelength or raw.wavelength_m else raw.energy_ev
    object_pixel = options.object_pixel_m
    if object_pixel is not None and not 0 < object_pixel < np.inf:
        raise DataError(f"object_pixel_m is {object_pixel:g}, expected a positive number of metres.")
    if object_pixel is None and raw.object_pixel_m is not None:
        object_pixel = raw.object_pixel_m * stored_shape[-1] / cropped
    units = dict.fromkeys(("wavelength", "distance", "pixel"), "m") | {"energy": "eV"}
    step = step_of(positions)
    geometry = Geometry(
        step, units | {"positions": "m"}, energy, wavelength or raw.wavelength_m,
        options.distance_m or raw.distance_m, options.detector_pixel_m or raw.detector_pixel_m, object_pixel, cropped,
        guessed=options.position_unit == "auto" and raw.position_unit is None,
    )  # fmt: skip
    return replace(geometry, units=geometry.units | {"positions": _position_unit(draft, positions, geometry)}), fixed


def _position_unit(draft: Draft, positions: Positions, geometry: Geometry) -> str:
    if draft.options.position_unit != "auto":
        return draft.options.position_unit
    if draft.raw.position_unit is not None:
        return draft.raw.position_unit
    span = float(np.ptp(positions, axis=0).max())
    unit = "m" if 0 < span < LARGEST_METRES else "px"
    draft.notes.append(f"positions span {span:.3g} and are taken to be in {unit} (data.position_unit).")
    return unit


def _probe_width(draft: Draft, stored_shape: tuple[int, ...]) -> float:
    """Width that steps may have: of the probe where the file has one of the right size, else of the frame."""
    probe = draft.raw.probe
    if probe is None or np.ndim(probe) < 2 or np.shape(probe)[-2:] != stored_shape:
        return float(max(stored_shape))
    stack = np.reshape(np.asarray(probe), (-1, *stored_shape))
    if not np.isfinite(stack).all() or not np.any(stack):
        return float(max(stored_shape))
    return max(NARROWEST_PROBE_PX, min(2 * probe_diameter_px(stack), float(max(stored_shape))))


def _turned(positions: Positions, draft: Draft) -> Positions:
    """Positions after the flips, rotation and scale that the user asked for."""
    options = draft.options
    if options.flip_positions != "none":
        positions = positions * [-1.0 if axis in options.flip_positions else 1.0 for axis in "yx"]
    if options.scan_rotation_deg or options.position_scale != 1.0:
        positions = rotated(positions, options.scan_rotation_deg, options.position_scale)
    return positions
