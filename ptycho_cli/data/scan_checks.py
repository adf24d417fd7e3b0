"""Is this a scan that can be used? Each refusal is one line: where, what was found, what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.memory import refuse_if_too_large
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import DataError
from ptycho_cli.geometry import linear_overlap, probe_diameter_px, raster_steps_px, typical_step_px

MIN_FRAMES = 4  # one held out, one to judge the probe by, one to train on, and one to spare
PIXEL_TOLERANCE = 0.01  # relative
OBJECT_COPIES = 4  # of an object of complex64, that any reconstruction holds at once


def frames_of(raw: RawScan) -> Array:
    """The stored frames; refused unless they are a stack of finite real images."""
    where, counts = f"{raw.source}: '{raw.counts_name}'", raw.counts
    if counts.ndim != 3 or min(counts.shape) < 1 or min(counts.shape[1:]) < 8:
        raise DataError(
            f"{where} has shape {counts.shape}, expected (frame, y, x) with frames of at least 8 x 8 pixels.",
            hint="Store one image for each scan position.",
        )
    if not _is_real(counts):
        raise DataError(
            f"{where} is of type {counts.dtype}, expected real numbers.", hint="Store measured counts, not waves."
        )
    if np.issubdtype(counts.dtype, np.floating):
        bad = np.array([not np.isfinite(frame).all() for frame in counts])
        if bad.any():
            raise DataError(
                f"{where} has NaN or infinite values in {int(bad.sum())} of {len(bad)} frames, first in frame "
                f"{int(np.argmax(bad))}; expected finite counts.",
                hint="Leave those frames out, or mask the pixels and store 0 there.",
            )
    return counts


def _is_real(array: Array) -> bool:
    return np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)


def check_positions(raw: RawScan, n_frames: int) -> None:
    """Refuse a scan without one finite (y, x) position for each frame."""
    if raw.positions is None:
        raise DataError(
            f"{raw.source}: no positions in it, expected one (y, x) for each of its {n_frames} frames.",
            hint="Store them as 'scan_yx_px' of shape (frame, 2), in object pixels.",
        )
    where, shape = f"{raw.source}: '{raw.positions_name}'", raw.positions.shape
    if raw.positions.ndim != 2 or shape[1] not in (2, 3):
        raise DataError(f"{where} has shape {shape}, expected (frame, 2).", hint="Store one row (y, x) a frame.")
    if not _is_real(raw.positions):
        raise DataError(f"{where} is of type {raw.positions.dtype}, expected real numbers.")
    if shape[0] != n_frames:
        raise DataError(
            f"{where} has {shape[0]} positions, but '{raw.counts_name}' has {n_frames} frames; expected as many.",
            hint="Drop the frame or position without a partner.",
        )
    if not np.isfinite(raw.positions[:, :2]).all():
        bad = ~np.isfinite(raw.positions[:, :2]).all(axis=1)
        raise DataError(
            f"{where} is NaN or infinite for {int(bad.sum())} of {n_frames} frames, first frame {int(np.argmax(bad))}; "
            "expected finite positions.",
            hint="Leave out frames of unknown position.",
        )
    if n_frames > 1 and not np.ptp(raw.positions[:, :2], axis=0).any():
        raise DataError(
            f"{where} is the same place for all {n_frames} frames, expected a scan.",
            hint="Store where the probe was for each frame.",
        )


def check_light(raw: RawScan, counts: Array, mask: NDArray[np.bool_]) -> None:
    """Refuse a scan in which no frame, or not every frame, has light."""
    photons = (counts * mask).sum(axis=(1, 2), dtype=np.float64)
    if not photons.any():
        raise DataError(
            f"{raw.source}: '{raw.counts_name}' is zero in all {len(photons)} frames, expected photon counts.",
            hint="Check that the shutter was open and that this is the right array.",
        )


def probe_of(raw: RawScan, frame_shape: tuple[int, ...]) -> Array:
    """The stored probe as ``(mode, y, x)``; refused unless it has the size of a frame and light in it."""
    probe = np.asarray(raw.probe)
    if probe.ndim < 2 or probe.shape[-2:] != frame_shape:
        raise DataError(
            f"{raw.source}: 'probe' is {probe.shape}, but '{raw.counts_name}' has frames of {frame_shape}.",
            hint="Crop or pad the probe to the detector, then save both in one file.",
        )
    if not np.issubdtype(probe.dtype, np.number) or not np.isfinite(probe).all() or not np.any(probe):
        raise DataError(
            f"{raw.source}: 'probe' is zero or not finite, expected a complex wave.",
            hint="Leave the probe out to start from one made of the data.",
        )
    return probe.reshape(-1, *frame_shape).astype(np.complex128)


def check_extent(raw: RawScan, positions_px: NDArray[np.float64], size: int) -> None:
    """Refuse positions so far apart that the object between them has no room in memory."""
    height, width = (float(side) + size for side in np.ptp(positions_px, axis=0))
    refuse_if_too_large(
        f"{raw.source}: '{raw.positions_name}' spans an object of {height:.3g} x {width:.3g} pixels, which needs",
        OBJECT_COPIES * height * width * np.dtype(np.complex64).itemsize,
        hint="Check unit and pixel size: data.position_unit, data.object_pixel_m.",
    )


def refuse_few_frames(scan: Scan) -> None:
    """Refuse to train on so few frames that none are left when some are held out."""
    if scan.n_frames < MIN_FRAMES:
        raise DataError(
            f"{scan.source}: {scan.n_frames} frame{'s' if scan.n_frames > 1 else ''}, expected at least {MIN_FRAMES} "
            "to train on.",
            hint="Use a whole scan, of hundreds of frames; data.max_frames may be too small.",
        )


def refuse_other_pixels(scans: Sequence[Scan]) -> None:
    """Refuse scans of different pixel sizes, which one probe in pixels cannot be right for."""
    known = [scan for scan in scans if scan.object_pixel_m is not None]
    for scan in known[1:]:
        refuse_pixel(scan, known[0].object_pixel_m, known[0].source)


def refuse_pixel(scan: Scan, pixel_m: float | None, of: str) -> None:
    """Refuse a scan whose object pixel differs by more than 1 % from that of a probe, where both are known."""
    if scan.object_pixel_m is None or pixel_m is None:
        return
    if abs(scan.object_pixel_m / pixel_m - 1) > PIXEL_TOLERANCE:
        raise DataError(
            f"{scan.source}: object pixels of {scan.object_pixel_m:.4g} m, but {of} has {pixel_m:.4g} m; "
            "a probe in pixels fits only one of them.",
            hint="Crop the frames to one pixel size, or correct data.object_pixel_m.",
        )


def refuse_near_field(scan: Scan) -> None:
    """Refuse to train on or reconstruct a scan that the far-field model does not describe."""
    if scan.near_field is not None:
        raise DataError(
            f"{scan.source}: a near-field scan ({scan.near_field}); the model here is far-field.",
            hint="Use a program for near-field ptychography.",
        )


@dataclass(frozen=True)
class Summary:
    """Summary of a scan; lengths in object pixels.

    Attributes:
        overlap: Linear overlap of neighbouring frames, from the probe's effective area; None without a probe.
        field_of_view_px: Height and width of the area that the frames cover.
        warnings: Reasons why a reconstruction will be poor, one line each.
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
    has_truth: bool
    warnings: tuple[str, ...]


def summarize(scan: Scan) -> Summary:
    """Figures and warnings about a scan that has been read."""
    photons = scan.counts.sum(axis=(1, 2), dtype=np.float64)
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
        brightest_pixel=float(scan.counts.max()),
        masked_pixels=int((~scan.mask).sum()),
        step_px=step,
        probe_modes=0 if scan.probe is None else len(scan.probe),
        probe_diameter_px=diameter,
        overlap=overlap,
        field_of_view_px=view,
        field_of_view_m=None if pixel is None else (view[0] * pixel, view[1] * pixel),
        object_pixel_m=pixel,
        wavelength_m=scan.wavelength_m,
        has_truth=scan.truth is not None,
        warnings=tuple(_warnings(scan, photons, step, overlap)),
    )


def _warnings(scan: Scan, photons: NDArray[np.float64], step: float | None, overlap: float | None) -> list[str]:
    found = []
    if dark := int((photons == 0).sum()):
        found.append(f"{dark} of {len(photons)} frames have no light.")
    if photons.mean() < 100:
        found.append(f"only {photons.mean():.3g} photons a frame: are the frames normalised (data.stored)?")
    if scan.n_frames < 25:
        found.append(f"{scan.n_frames} frames are too few for a good reconstruction.")
    if overlap is not None and overlap < 0.5:
        found.append(f"overlap of only {overlap:.0%}: 60 % or more is usual.")
    if step is not None and step >= scan.n_pixels:
        found.append(f"steps of {step:.3g} pixels exceed the frame: are unit and pixel size right?")
    if raster_steps_px(scan.positions_px) is not None:
        found.append("positions on a regular raster: a refined probe and the object can exchange what repeats with it.")
    if scan.probe is None:
        found.append("no probe in the file: one will be made from the data.")
    return found
