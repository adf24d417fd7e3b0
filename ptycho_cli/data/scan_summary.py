"""Summary of a scan that has been read: size, dose and sampling."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ptycho_cli.data.frame_statistics import largest_of, photons_of
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import linear_overlap, probe_diameter_px, typical_step_px


@dataclass(frozen=True)
class Summary:
    """Size, dose and sampling of a scan.

    Attributes:
        frames: Number of frames.
        frame_px: Pixels along one side of a frame.
        photons_per_frame: Mean photons of a frame, valid pixels only.
        brightest_pixel: Largest count of one pixel in one frame.
        masked_pixels: Number of detector pixels that are not valid.
        step_px: Typical distance of neighbouring positions in object pixels; None for a single frame.
        probe_modes: Modes of the stored probe; 0 without one.
        probe_diameter_px: Diameter of the probe's effective area in object pixels; None without a probe.
        overlap: Linear overlap of neighbouring frames, from that diameter; None without a probe.
        field_of_view_px: Height and width of the area that the frames cover, in object pixels.
        field_of_view_m: The same in metres; None if the object pixel is unknown.
        object_pixel_m: Size of an object pixel in metres; None if unknown.
        wavelength_m: Wavelength in metres; None if unknown.
        radiation: X-rays or electrons; None if unknown.
        has_truth: True if the file contains the known object.
    """

    frames: int
    frame_px: int
    photons_per_frame: float
    brightest_pixel: float
    masked_pixels: int
    step_px: float | None
    probe_modes: int
    probe_diameter_px: float | None
    overlap: float | None
    field_of_view_px: tuple[float, float]
    field_of_view_m: tuple[float, float] | None
    object_pixel_m: float | None
    wavelength_m: float | None
    radiation: Literal["xray", "electron"] | None
    has_truth: bool


def summarize(scan: Scan) -> Summary:
    """Summarize a scan."""
    photons = photons_of(scan.counts)
    step = typical_step_px(scan.positions_px)
    diameter = None if scan.probe is None else probe_diameter_px(scan.probe)
    overlap = None if step is None or diameter is None else linear_overlap(step, diameter)
    span = np.ptp(scan.positions_px, axis=0) + (diameter or scan.n_pixels)
    view = (float(span[0]), float(span[1]))
    pixel = scan.object_pixel_m
    return Summary(
        frames=scan.n_frames,
        frame_px=scan.n_pixels,
        photons_per_frame=float(photons.mean()),
        brightest_pixel=largest_of(scan.counts),
        masked_pixels=int((~scan.mask).sum()),
        step_px=step,
        probe_modes=0 if scan.probe is None else len(scan.probe),
        probe_diameter_px=diameter,
        overlap=overlap,
        field_of_view_px=view,
        field_of_view_m=None if pixel is None else (view[0] * pixel, view[1] * pixel),
        object_pixel_m=pixel,
        wavelength_m=scan.wavelength_m,
        radiation=scan.radiation,
        has_truth=scan.truth is not None,
    )
