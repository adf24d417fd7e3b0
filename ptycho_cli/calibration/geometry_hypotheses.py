"""Geometries that a scan may have in truth: what would be changed, what it is called, and the setting that does it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.orientation import FRAME_TRANSFORMS, Orientation, oriented_positions
from ptycho_cli.data.position_sequence import PositionSequence, in_sequence
from ptycho_cli.data.position_transform import PositionTransform
from ptycho_cli.data.scan import Scan

Positions = NDArray[np.float64]
DELAYS = (-3, -2, -1, 1, 2, 3)
UNIT_SCALES = (0.1, 10.0)  # electron scans are stored in angstrom or nanometres; other units are impossible
AS_READ: Orientation = (False, "")
AXES: dict[str, Orientation] = {
    "y reversed": (False, "y"),
    "x reversed": (False, "x"),
    "both reversed": (False, "yx"),
    "swapped": (True, ""),
    "swapped, y reversed": (True, "y"),
    "swapped, x reversed": (True, "x"),
    "swapped and reversed": (True, "yx"),
}
# Both axes reversed besides: without a probe in the file, data cannot tell the two apart.
TWINS = {
    "both reversed": "as read",
    "x reversed": "y reversed",
    "swapped, x reversed": "swapped, y reversed",
    "swapped and reversed": "swapped",
}
SEQUENCES: dict[PositionSequence, str] = {
    "reverse": "the positions in reverse order",
    "snake": "every second row of positions reversed",
}


@dataclass(frozen=True, eq=False)
class Hypothesis:
    """One geometry.

    Attributes:
        id: Id of the finding that it would be.
        name: Its name, to follow ``With``.
        setting: Settings that make it so, as in ``Finding``; empty for the geometry as read.
        positions_px: Position of every frame of the scan, ``(frame, 2)``.
        frames: Orientation in which the frames are used.
        cause: Likely causes, a sentence; empty where the name says it all.
        also: Id of a second finding, where two things are changed; None where one is.
    """

    id: str
    name: str
    setting: str
    positions_px: Positions
    frames: Orientation = AS_READ
    cause: str = ""
    also: str | None = None


def both(first: Hypothesis, second: Hypothesis) -> Hypothesis:
    """Two changes at once; the positions of the second are those of the first, changed further."""
    return replace(
        second, id=first.id, also=second.id, name=f"{first.name}, and {second.name}",
        setting=f"{first.setting} {second.setting}", cause=f"{first.cause} {second.cause}".strip(),
    )  # fmt: skip


def as_read(scan: Scan) -> Hypothesis:
    """The geometry that the scan has now."""
    return Hypothesis("positions-axes", "as read", "", scan.positions_px)


def other_axes(scan: Scan) -> list[Hypothesis]:
    """The seven other orientations of the positions."""
    return [
        Hypothesis(
            "positions-axes", f"the axes of the positions changed ({name})", scan.read_as.axes_setting(orientation),
            oriented_positions(scan.positions_px, orientation),
        )
        for name, orientation in AXES.items()
    ]  # fmt: skip


def other_frames(scan: Scan) -> list[Hypothesis]:
    """The seven other orientations of the frames; none without a probe.

    A transform of the frames is one of the positions and of the probe, so without a probe nothing tells them apart.
    """
    return [
        Hypothesis(
            "positions-axes", f"the frames turned ({name})", scan.read_as.frames_setting(orientation),
            scan.positions_px, orientation,
        )
        for name, orientation in FRAME_TRANSFORMS.items()
        if orientation != AS_READ and scan.probe is not None
    ]  # fmt: skip


def other_order(scan: Scan) -> list[Hypothesis]:
    """Positions that belong to another frame of the file: earlier or later ones, in reverse, or in snake order.

    None beside a delay from a certain frame on: no setting says two delays.
    """
    if scan.read_as.options.position_delay_from:
        return []
    numbers, in_file = scan.frame_numbers, _of_all_frames(scan)
    found = [delayed(scan, delay, in_file) for delay in DELAYS]
    if scan.read_as.options.position_sequence == "stored" and scan.read_as.options.position_delay == 0:
        for sequence, name in SEQUENCES.items():
            changed = in_sequence(in_file, sequence)
            if changed is not None:
                setting = scan.read_as.sequence_setting(sequence)
                found.append(Hypothesis("positions-index", name, setting, np.ascontiguousarray(changed[numbers])))
    return found


def delayed(scan: Scan, delay: int, in_file: Positions | None = None, first: int = 0) -> Hypothesis:
    """Frames at the position that is so many later in the file, from a first frame on.

    Args:
        scan: The scan.
        delay: How many positions later.
        in_file: Positions of all frames of the file, ``(frame, 2)``, if they are at hand.
        first: Number of the first such frame.
    """
    numbers, places = scan.frame_numbers, _of_all_frames(scan) if in_file is None else in_file
    which = f"each frame from {first} on" if first else "each frame"
    name = f"{which} at the position {abs(delay)} {'later' if delay > 0 else 'earlier'} in the file"
    moved = np.clip(numbers + np.where(numbers < first, 0, delay), 0, len(places) - 1)  # at the ends, the last one
    return Hypothesis("positions-index", name, scan.read_as.delay_setting(delay, first), places[moved])


def _of_all_frames(scan: Scan) -> Positions:
    """Positions of all frames of the file; those of frames that were left out lie between their neighbours'."""
    numbers = scan.frame_numbers
    everything = np.arange(max(scan.read_as.n_frames, int(numbers.max()) + 1))
    return np.stack([np.interp(everything, numbers, column) for column in scan.positions_px.T], axis=1)


def other_units(scan: Scan) -> list[Hypothesis]:
    """Positions of electron scans in the other of nanometres and angstrom."""
    return [
        _transformed(
            scan, "positions-unit", f"the positions {factor:g} times as far apart, as in another unit",
            PositionTransform(factor),
        )
        for factor in UNIT_SCALES
        if scan.radiation == "electron"
    ]  # fmt: skip


def rotation(scan: Scan, angle_deg: float) -> Hypothesis:
    """The positions rotated."""
    name = f"the positions rotated by {angle_deg:.3g} degrees"
    return _transformed(scan, "positions-rotation", name, PositionTransform(rotation_deg=angle_deg))


def stretch_by_log(scan: Scan, log_factor: float) -> Hypothesis:
    """The positions stretched, as a wrong pixel size would ask for, by a factor of the given logarithm."""
    factor = float(np.exp(log_factor))
    found = _transformed(scan, "positions-scale", f"the positions stretched by {factor:.4g}", PositionTransform(factor))
    return replace(found, cause=scan.read_as.cause_of_scale(factor))


def transformation(scan: Scan, transform: PositionTransform) -> Hypothesis:
    """The positions stretched along one axis or sheared, besides rotated and scaled."""
    name = (
        f"the positions stretched by {transform.scale * (1 + transform.asymmetry / 2):.4g} along y and by "
        f"{transform.scale * (1 - transform.asymmetry / 2):.4g} along x, rotated by {transform.rotation_deg:.3g} and "
        f"sheared by {transform.shear_deg:.3g} degrees"
    )
    found = _transformed(scan, "positions-affine", name, transform)
    return replace(found, cause="Likely causes: drift during a raster, a tilted sample, or the stage's calibration.")


def _transformed(scan: Scan, finding: str, name: str, transform: PositionTransform) -> Hypothesis:
    setting = scan.read_as.transform_setting(transform)
    return Hypothesis(finding, name, setting, transform(scan.positions_px))
