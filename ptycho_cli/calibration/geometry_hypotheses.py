"""Geometries that a scan may have in truth: what would be changed, what it is called, and the setting that does it."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.orientation import FRAME_TRANSFORMS, Orientation, oriented_positions
from ptycho_cli.data.position_sequence import PositionSequence, in_sequence
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import rotated

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
    """Positions that belong to another frame of the file: earlier or later ones, in reverse, or in snake order."""
    numbers = np.arange(scan.n_frames) if scan.stored_frames is None else scan.stored_frames
    in_file = _of_all_frames(scan, numbers)
    found = []
    for delay in DELAYS:
        name = f"each frame at the position {abs(delay)} {'later' if delay > 0 else 'earlier'} in the file"
        moved = in_file[np.clip(numbers + delay, 0, len(in_file) - 1)]  # at the ends, the last one
        found.append(Hypothesis("positions-index", name, scan.read_as.delay_setting(delay), moved))
    if scan.read_as.options.position_sequence == "stored" and scan.read_as.options.position_delay == 0:
        for sequence, name in SEQUENCES.items():
            changed = in_sequence(in_file, sequence)
            if changed is not None:
                setting = scan.read_as.sequence_setting(sequence)
                found.append(Hypothesis("positions-index", name, setting, np.ascontiguousarray(changed[numbers])))
    return found


def _of_all_frames(scan: Scan, numbers: NDArray[np.int64]) -> Positions:
    """Positions of all frames of the file; those of frames that were left out lie between their neighbours'."""
    everything = np.arange(max(scan.read_as.n_frames, int(numbers.max()) + 1))
    return np.stack([np.interp(everything, numbers, column) for column in scan.positions_px.T], axis=1)


def other_units(scan: Scan) -> list[Hypothesis]:
    """Positions of electron scans in the other of nanometres and angstrom."""
    return [
        Hypothesis(
            "positions-unit", f"the positions {factor:g} times as far apart, as in another unit",
            scan.read_as.scale_setting(factor), rotated(scan.positions_px, 0.0, factor),
        )
        for factor in UNIT_SCALES
        if scan.radiation == "electron"
    ]  # fmt: skip


def rotation(scan: Scan, angle_deg: float) -> Hypothesis:
    """The positions rotated."""
    return Hypothesis(
        "positions-rotation", f"the positions rotated by {angle_deg:.3g} degrees",
        scan.read_as.rotation_setting(angle_deg), rotated(scan.positions_px, angle_deg),
    )  # fmt: skip


def stretch_by_log(scan: Scan, log_factor: float) -> Hypothesis:
    """The positions stretched, as a wrong pixel size would ask for, by a factor of the given logarithm."""
    factor = float(np.exp(log_factor))
    return Hypothesis(
        "positions-scale", f"the positions stretched by {factor:.4g}",
        scan.read_as.scale_setting(factor), rotated(scan.positions_px, 0.0, factor),
        cause=scan.read_as.cause_of_scale(factor),
    )  # fmt: skip
