"""Options of a calibration, as plain values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch

from ptycho_cli.physics.object_update import ObjectUpdate


@dataclass(frozen=True)
class CalibrationOptions:
    """Quantities that a calibration estimates before training, and its limits.

    Attributes:
        update: Regularised update of the network's physics; the PIE here uses four times its regularisation.
        seed: Seed of subsets and of the frames left out.
        dtype: Type of real numbers.
        probe_iterations: Iterations that refine the probe; 0 keeps it as it is, ``auto`` lets held-out frames decide.
        probe_modes: Number of probe modes; None keeps as many as the file has, or takes three instead of one where
            held-out frames ask for them.
        intensity: Whether to fit a factor on the photons of each frame; ``auto`` fits it where it explains the data.
        background: Constant background in photons per pixel; ``auto`` estimates it.
        background_pattern: Whether an estimated background may differ from pixel to pixel.
        refine_positions: Whether to refine the positions of the frames; ``auto`` refines those of scans that nothing
            else explains.
        max_position_shift_px: Longest move of a frame.
    """

    update: ObjectUpdate
    seed: int
    dtype: torch.dtype
    probe_iterations: int | Literal["auto"] = "auto"
    probe_modes: int | None = None
    intensity: Literal["auto", "always", "never"] = "auto"
    background: float | Literal["auto"] = "auto"
    background_pattern: bool = True
    refine_positions: bool | Literal["auto"] = "auto"
    max_position_shift_px: float = 6.0
