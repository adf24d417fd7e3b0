"""The eight orientations of two axes, for positions and for frames: a swap of the axes, then reversals."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Orientation = tuple[bool, str]  # whether the axes are swapped, and which of (y, x) are reversed after that

# Names of ``data.frame_transform``; quarter turns are counter-clockwise with y pointing down, as in ``numpy.rot90``.
FRAME_TRANSFORMS: dict[str, Orientation] = {
    "none": (False, ""),
    "flip_y": (False, "y"),
    "flip_x": (False, "x"),
    "rotate_180": (False, "yx"),
    "transpose": (True, ""),
    "rotate_90": (True, "y"),
    "rotate_270": (True, "x"),
    "anti_transpose": (True, "yx"),
}


def composed(first: Orientation, then: Orientation) -> Orientation:
    """The one orientation that does what two do one after the other."""
    flips = first[1].translate(str.maketrans("yx", "xy")) if then[0] else first[1]
    return first[0] != then[0], "".join(axis for axis in "yx" if (axis in flips) != (axis in then[1]))


def oriented_positions(positions: NDArray[np.float64], orientation: Orientation) -> NDArray[np.float64]:
    """Positions (y, x), ``(frame, 2)``, with their axes swapped and then reversed."""
    swap, flips = orientation
    return (positions[:, ::-1] if swap else positions) * [-1.0 if axis in flips else 1.0 for axis in "yx"]


def oriented_frames(frames: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """Frames ``(..., y, x)`` with their axes swapped and then reversed, as a view."""
    swap, flips = orientation
    frames = np.swapaxes(frames, -2, -1) if swap else frames
    return frames[..., :: -1 if "y" in flips else 1, :: -1 if "x" in flips else 1]


def name_of(orientation: Orientation) -> str:
    """The value of ``data.frame_transform`` for an orientation."""
    return next(name for name, known in FRAME_TRANSFORMS.items() if known == orientation)
