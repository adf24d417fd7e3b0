"""Positions in object pixels, and the size of an object pixel, from stored numbers, their units and the settings."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data import scan_checks
from ptycho_cli.data.findings import position_outliers
from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import listed
from ptycho_cli.data.findings.units import with_possible_units
from ptycho_cli.data.islands import offsets_of_islands
from ptycho_cli.data.physical_units import LENGTHS_M
from ptycho_cli.data.position_transform import PositionTransform
from ptycho_cli.data.stated_numbers import stated_geometry
from ptycho_cli.data.stored_geometry import Geometry
from ptycho_cli.errors import DataError
from ptycho_cli.geometry import probe_diameter_px

Positions = NDArray[np.float64]
MOST_NUMBERS = 6  # of the file that a message lists
NARROWEST_PROBE_PX = 4.0  # a probe looks at least so wide when steps are compared with it


class PlacedFrames(NamedTuple):
    """Frames of a draft on the object.

    Attributes:
        positions_px: Positions in object pixels, ``(frame, 2)``.
        object_pixel_m: Size of an object pixel; None if unknown.
        geometry: The numbers that it follows from, in possible units.
        kept: Which of the draft's former frames are kept, bool ``(frame,)``.
        moved_px: How far islands were moved together, to be added to the positions, ``(frame, 2)``; None if they were
            not.
    """

    positions_px: Positions
    object_pixel_m: float | None
    geometry: Geometry
    kept: NDArray[np.bool_]
    moved_px: Positions | None = None

    @property
    def scale_from(self) -> tuple[tuple[str, float, int], ...]:
        """As in ``ReadAs``: what the positions follow from where they are stored as lengths."""
        geometry = self.geometry
        if geometry.units["positions"] == "px" or self.object_pixel_m is None:
            return ()
        distance, pixel = geometry.value("distance"), geometry.value("pixel")
        if geometry.object_pixel_m is not None or distance is None or pixel is None:
            return (("object pixel", self.object_pixel_m, -1),)
        return (("distance", distance, -1), ("detector pixel", pixel, 1))

    @property
    def stored_px(self) -> Positions:
        """Positions before islands were moved together, ``(frame, 2)``."""
        return self.positions_px if self.moved_px is None else self.positions_px + self.moved_px


def place_frames(draft: Draft, stored_shape: tuple[int, ...], cropped: int, size: int) -> PlacedFrames:
    """Place the frames of a draft on the object.

    Args:
        draft: The draft; frames far from all others are left out of it.
        stored_shape: Shape (y, x) of its frames.
        cropped: Pixels of a stored frame that are used along each axis.
        size: Pixels along one side of a frame as it will be, after binning.

    Raises:
        DataError: If units are impossible, or positions are in metres and the object pixel is unknown.
    """
    positions = _ordered(draft)
    geometry, fixed = stated_geometry(draft, stored_shape, cropped, positions)
    if not draft.raw.is_native:
        stated = set(draft.raw.units)
        geometry = with_possible_units(draft, geometry, fixed, stated, _probe_width(draft, stored_shape))
    pixel_m = geometry.object_pixel()
    if geometry.units["positions"] == "px":
        factor: float | NDArray[np.float64] = cropped / np.array(stored_shape, dtype=np.float64)
    elif pixel_m is None:
        raise DataError(
            f"{draft.raw.source}: positions are in {geometry.units['positions']}, but the size of an object pixel is "
            f"not known: expected {_missing(geometry)} in the file.",
            hint=f"{_way_out(geometry)}{_numbers_of(draft)}",
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
    moved = _moved_together(draft, positions, size)
    positions = positions if moved is None else positions - moved
    scan_checks.check_extent(draft.raw, positions, size)
    return PlacedFrames(np.ascontiguousarray(positions), pixel_m, geometry, kept, moved)


def _moved_together(draft: Draft, positions: Positions, size: int) -> Positions | None:
    """How far islands of frames are moved, unless the user ignores ``positions-outlier``."""
    moved = offsets_of_islands(positions, size)
    if moved is None:
        return None
    _, counts = np.unique(moved, axis=0, return_counts=True)
    sizes = listed(tuple(sorted(counts.tolist(), reverse=True)))
    reported = draft.report(
        "positions-outlier", "note",
        f"The frames lie on {len(counts)} islands ({sizes} frames). These are moved side by side, so that no "
        "computation spans the space between them.",
        evidence={"islands": float(len(counts)), "moved_px": float(np.abs(moved).max())},
    )  # fmt: skip
    return moved if reported else None


def _missing(geometry: Geometry) -> str:
    """What an object pixel would follow from."""
    if geometry.radiation == "electron":
        return "voltage and angle per pixel, or a reciprocal pixel"
    return "wavelength, distance and detector pixel"


def _way_out(geometry: Geometry) -> str:
    if geometry.radiation == "xray":
        needed = {"wavelength": "data.energy_ev", "distance": "data.distance_m", "pixel": "data.detector_pixel_m"}
        missing = [setting for name, setting in needed.items() if geometry.value(name) is None]
        return f"Set {', '.join(missing)} (--set {missing[0]}=NUMBER, or =PATH in the file), or data.object_pixel_m."
    settings = []
    if geometry.value("wavelength") is None:
        settings.append("data.voltage_kv")
    if geometry.angle_mrad() is None:
        settings.append("data.angle_per_pixel_mrad")
    return f"Set {' and '.join(settings)}, or data.reciprocal_pixel_per_angstrom."


def _numbers_of(draft: Draft) -> str:
    """Single numbers of the file, among which those that are missing may be."""
    found = [f"{name} = {value:g}" for name, value in draft.raw.single_values.items() if not isinstance(value, str)]
    more = ", ..." if len(found) > MOST_NUMBERS else ""
    return f" The file holds {', '.join(found[:MOST_NUMBERS])}{more}." if found else ""


def column_order(draft: Draft) -> Literal["yx", "xy"]:
    """Order of the columns of the stored positions: as the user says, else the file, else y, x."""
    asked = draft.options.position_order
    return asked if asked != "auto" else draft.raw.position_order or "yx"


def _ordered(draft: Draft) -> Positions:
    if draft.options.position_order == "auto" and draft.raw.position_order is None:
        draft.notes.append(f"columns of '{draft.raw.positions_name}' taken as y, x (data.position_order).")
    return np.array(draft.positions if column_order(draft) == "yx" else draft.positions[:, ::-1])


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
    """Positions after the flips and the transformation that the user asked for."""
    options = draft.options
    if options.flip_positions != "none":
        positions = positions * [-1.0 if axis in options.flip_positions else 1.0 for axis in "yx"]
    transform = options.position_transform
    return positions if transform == PositionTransform() else transform(positions)
