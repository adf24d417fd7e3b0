"""What a reader hands over: arrays as stored, and what the file says about them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(eq=False)
class RawScan:
    """A scan as stored. What a file does not say is None, and ``data.interpret`` decides it.

    Attributes:
        source: Path of the file, for messages.
        layout: Kind of file, such as ``CXI`` or ``NPZ``.
        counts_name: Where in the file the frames are, for messages.
        counts: Frames as stored, ``(..., frame, y, x)``.
        positions_name: Where in the file the positions are.
        positions: Positions as stored, one row a frame.
        position_order: Order of the first two columns, where layout or name tells.
        position_unit: Unit, where layout or name tells.
        zero_frequency: Where the zero frequency is, where the layout tells.
        stored: Whether the frames are counts or amplitudes, where layout or name tells.
        probe: Probe as stored, ``(..., mode, y, x)``.
        mask: Detector pixels, nonzero for ``mask_marks``.
        mask_marks: What a nonzero mask pixel means; None where the layout does not tell.
        truth: Known object.
        truth_origin_px: Scan coordinate of the truth's pixel (0, 0).
        wavelength_m: Wavelength.
        distance_m: From sample to detector.
        detector_pixel_m: Size of a detector pixel.
        object_pixel_m: Size of an object pixel.
        near_field: Why this is not a far-field scan, one clause; None if nothing says so.
        is_own: Whether this program wrote the file, so that nothing in it but bad pixels is mended or guessed.
        notes: Assumptions that the reader made, one line each.
    """

    source: str
    layout: str
    counts_name: str
    counts: Array
    positions_name: str = "positions"
    positions: Array | None = None
    position_order: Literal["yx", "xy"] | None = None
    position_unit: Literal["px", "m"] | None = None
    zero_frequency: Literal["center", "corner"] | None = None
    stored: Literal["counts", "amplitude"] | None = None
    probe: Array | None = None
    mask: Array | None = None
    mask_marks: Literal["good", "bad"] | None = None
    truth: Array | None = None
    truth_origin_px: tuple[float, float] | None = None
    wavelength_m: float | None = None
    distance_m: float | None = None
    detector_pixel_m: float | None = None
    object_pixel_m: float | None = None
    near_field: str | None = None
    is_own: bool = False
    notes: list[str] = field(default_factory=list)


def as_array(stored: Any, max_frames: int | None = None) -> Array:
    """Load an array or HDF5 dataset of frames, or of values per frame; only the first ``max_frames``.

    Leading axes of length 1 are dropped first, so that ``(1, frame, y, x)`` reads as ``(frame, y, x)``.
    """
    shape = tuple(stored.shape)
    leading = 0
    while len(shape) - leading > 1 and shape[leading] == 1 and len(shape) - leading > (2 if _is_rows(shape) else 3):
        leading += 1
    index = (0,) * leading + (slice(None, max_frames),) if shape else ()
    return np.asarray(stored[index])


def _is_rows(shape: Sequence[int]) -> bool:
    """Whether an array is a table with two or three columns rather than a stack of frames."""
    return shape[-1] in (2, 3)


def positive_number(stored: Any, name: str, notes: list[str]) -> float | None:
    """A length, energy or the like; None and a note where a file holds something else in its place."""
    value = np.ravel(np.asarray(stored))
    if value.size and (np.issubdtype(value.dtype, np.integer) or np.issubdtype(value.dtype, np.floating)):
        number = float(value[0])
        if 0 < number < np.inf:
            return number
    shown = str(value[0]) if value.size else "empty"
    notes.append(f"'{name}' is {shown}, not a positive number, and is left aside.")
    return None


def wavelength_from_energy(energy_ev: float) -> float:
    """Photon energy in electronvolts to wavelength in metres: h c / E."""
    return 1.23984198433e-6 / energy_ev
