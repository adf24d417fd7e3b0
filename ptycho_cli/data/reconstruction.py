"""A reconstruction: an object with the probe and positions that explain a scan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.background import Background
from ptycho_cli.data.example_frames import ExampleFrames
from ptycho_cli.data.scan import LeftOut
from ptycho_cli.data.uncertainty_record import Uncertainty


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """An object with the probe and positions that explain a scan.

    Attributes:
        object: Transmission of the object, complex64 ``(y, x)``.
        probe: Probe, complex64 ``(mode, y, x)``, in square roots of photons.
        positions_px: Positions (y, x) in object pixels that were used, refined or not, ``(frame, 2)``.
        coverage: Illumination of each object pixel by all frames, float32 ``(y, x)``; 0 outside of all probes.
        object_origin_px: Scan coordinate (y, x) of the object's pixel (0, 0).
        frame_residual: Misfit of each frame, ``(frame,)``; None if it was not computed.
        object_pixel_m: Size of an object pixel in metres; None if unknown.
        wavelength_m: Wavelength in metres; None if unknown.
        distance_m: Distance from sample to detector in metres; None if unknown.
        run_record: Settings and versions of the run that made it; plain data for JSON.
        stored_positions_px: Positions before they were refined, ``(frame, 2)``; None if they were not.
        uncertainty: Errors estimated from parts of the frames; None if they were not estimated.
        intensities: Factor on the probe's photons in each frame, ``(frame,)``; None if it is 1 in all.
        background: Photons per pixel of each frame that do not come through the object: a number, or a pattern
            ``(y, x)``, zero frequency at ``n // 2``.
        stored_frames: Number in the scan's file of each frame, ``(frame,)``; None if no frame was left out.
        left_out: Frames of the file that were left out; None if none were.
        examples: Frames beside those that it expects; None if none were chosen.
    """

    object: NDArray[np.complex64]
    probe: NDArray[np.complex64]
    positions_px: NDArray[np.float64]
    coverage: NDArray[np.float32]
    object_origin_px: tuple[float, float]
    frame_residual: NDArray[np.float32] | None = None
    object_pixel_m: float | None = None
    wavelength_m: float | None = None
    distance_m: float | None = None
    run_record: Mapping[str, Any] | None = None
    uncertainty: Uncertainty | None = None
    stored_positions_px: NDArray[np.float64] | None = None
    intensities: NDArray[np.float64] | None = None
    background: Background = 0.0
    stored_frames: NDArray[np.int64] | None = None
    left_out: LeftOut | None = None
    examples: ExampleFrames | None = None
