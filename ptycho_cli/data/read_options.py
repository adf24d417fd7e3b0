"""How to understand a scan file, where the file itself does not say it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class ReadOptions:
    """How to read a scan file. Every field is the setting ``data.*`` of the same name.

    ``auto`` and None leave a question to the file, and then to ``data.interpret``, which writes an assumption down.

    Attributes:
        zero_frequency: Place of the zero frequency in the stored frames.
        position_unit: Unit of the stored positions: object pixels or metres.
        position_order: Order of the two columns of stored positions.
        flip_positions: Position axes whose sign is reversed.
        stored: Quantity in the stored frames; amplitudes are squared.
        object_pixel_m: Size of an object pixel in metres, in place of the file's.
        mask_bad_pixels: Search the frames for hot and dead detector pixels, and mask them.
        max_frames: Read only this many frames, the first ones.
    """

    zero_frequency: Literal["auto", "center", "corner"] = "auto"
    position_unit: Literal["auto", "px", "m"] = "auto"
    position_order: Literal["auto", "yx", "xy"] = "auto"
    flip_positions: Literal["none", "y", "x", "yx"] = "none"
    stored: Literal["auto", "counts", "amplitude"] = "auto"
    object_pixel_m: float | None = None
    mask_bad_pixels: bool = True
    max_frames: int | None = None
