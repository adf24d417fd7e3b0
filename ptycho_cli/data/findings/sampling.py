"""Sampling of the object and of the probe: overlap, number of frames, regular rasters, and the width of the probe."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, Severity
from ptycho_cli.data.readers.raw_scan import Array
from ptycho_cli.geometry import linear_overlap, probe_diameter_px, raster_steps_px, typical_step_px

Probe = NDArray[np.complexfloating[Any, Any]]
Totals = NDArray[np.float64]

USUAL_OVERLAP = 0.5  # of the probe's diameter; below it reconstructions get worse
LEAST_OVERLAP = 0.3  # below it they usually fail
USUAL_FRAMES = 25
LEAST_FRAMES = 9  # of 3 x 3 frames, one has neighbours on all sides
BORDER = 1 / 16  # of the frame's width, on each side
WIDE, TOO_WIDE = 0.05, 0.12  # of the probe's power in the border; an even probe has 0.23 there
DARKEST = 0.1  # share of the pixels that shows the background
ABOVE_BACKGROUND = 0.5  # of the photons
ALIKE, UNLIKE = 0.8, 0.6  # overlap of the probe's far field and the mean frame, 1 where they are the same


ABOUT = {
    "overlap-low": About(
        "neighbouring frames that hardly overlap", "reported",
        f"The overlap is below {USUAL_OVERLAP:.0%} of the probe's diameter (a note), or below {LEAST_OVERLAP:.0%}, or "
        "steps exceed the frame (a warning).",
    ),
    "few-frames": About(
        "a scan of few frames", "reported; below 4 frames refused for training",
        f"Fewer than {USUAL_FRAMES} frames (a note), or fewer than {LEAST_FRAMES} (a warning).",
    ),
    "raster-regular": About(
        "positions on a regular raster", "reported; the pattern that repeats with it is removed where it shows",
        "The positions are within 2 % of a step, rms, of a raster.",
    ),
    "probe-size": About(
        "a probe that does not fit: of another size, as wide as a frame, of another pixel size, one for each frame, or "
        "an aperture's that does not fit the bright disc",
        "refused, reported, or reduced to modes",
        f"The border of a sixteenth of the frame holds more than {WIDE:.0%} of the probe's power (a note) or "
        f"{TOO_WIDE:.0%} (a warning); the far field's overlap with the mean frame is below {ALIKE:g} (a note) or "
        f"{UNLIKE:g} (a warning).",
    ),
}  # fmt: skip


def check(draft: Draft, positions_px: NDArray[np.float64], probe: Probe | None, total: Totals, valid: Array) -> None:
    """Report a sampling from which a good reconstruction is not to be expected.

    Args:
        draft: Takes the findings.
        positions_px: Positions in object pixels, ``(frame, 2)``.
        probe: Probe of the file, ``(mode, y, x)``; None without one.
        total: Sum of all frames, ``(y, x)``, zero frequency at ``n // 2``.
        valid: Pixels that are used, bool ``(y, x)``.
    """
    _check_frames(draft, len(positions_px))
    _check_overlap(draft, typical_step_px(positions_px), probe, total.shape[-1])
    if raster_steps_px(positions_px) is not None:
        draft.report(
            "raster-regular", "note",
            "The positions form a regular raster: a refined probe and the object can exchange a pattern that repeats "
            "with it.",
        )  # fmt: skip
    if probe is not None:
        _check_probe_width(draft, probe)
        _check_far_field(draft, probe, total, valid)


def _check_frames(draft: Draft, number: int) -> None:
    if number < USUAL_FRAMES:
        draft.report(
            "few-frames", "warning" if number < LEAST_FRAMES else "note",
            f"{number} frame{'s are' if number > 1 else ' is'} too few for a good reconstruction.",
            evidence={"frames": float(number)},
        )  # fmt: skip


def _check_overlap(draft: Draft, step: float | None, probe: Probe | None, n_pixels: int) -> None:
    if step is None:
        return
    if step >= n_pixels:
        draft.report(
            "overlap-low", "warning",
            f"Steps of {step:.3g} object pixels, in frames of {n_pixels}: neighbouring frames do not overlap. Are unit "
            "and pixel size right?",
            setting="data.position_scale=1", evidence={"step_px": step},
        )  # fmt: skip
    elif probe is not None and (overlap := linear_overlap(step, probe_diameter_px(probe))) < USUAL_OVERLAP:
        draft.report(
            "overlap-low", "warning" if overlap < LEAST_OVERLAP else "note",
            f"Neighbouring frames overlap by {overlap:.0%} of the probe's diameter; 60 % or more is usual.",
            setting="data.position_scale=1", evidence={"overlap": overlap, "step_px": step},
        )  # fmt: skip


def _check_probe_width(draft: Draft, probe: Probe) -> None:
    """Report a probe that is as wide as the frame: detector pixels sample its diffraction too coarsely."""
    intensity = np.sum(np.abs(probe) ** 2, axis=0)
    inner = tuple(slice(max(1, round(side * BORDER)), -max(1, round(side * BORDER))) for side in intensity.shape)
    share = 1 - float(intensity[inner].sum() / intensity.sum())
    if share > WIDE:
        draft.report(
            "probe-size", "warning" if share > TOO_WIDE else "note",
            f"The probe is as wide as a frame: {share:.0%} of its power is at the border, where it wraps around. Its "
            "diffraction is finer than the detector's pixels.",
            evidence={"border_share": share},
        )  # fmt: skip


def _check_far_field(draft: Draft, probe: Probe, total: Totals, valid: Array) -> None:
    """Report a probe whose far field is not where the light of the frames is, such as one of another pixel size."""
    likeness = far_field_likeness(probe, total, valid)
    if likeness < ALIKE:
        severity: Severity = "warning" if likeness < UNLIKE else "note"
        draft.report(
            "probe-size", severity,
            f"The far field of the probe differs from the frames (overlap {likeness:.2f}, where 1 means equal): is "
            "the probe of another pixel size or beam? Leave it out to start from one made of the frames.",
            evidence={"likeness": likeness},
        )  # fmt: skip


def far_field_likeness(probe: Probe, total: Totals, valid: Array) -> float:
    """Bhattacharyya coefficient of the probe's far field and the mean frame, at the best shift of the two, in [0, 1].

    Args:
        probe: Probe in real space, ``(mode, y, x)``.
        total: Sum of all frames, ``(y, x)``, zero frequency at ``n // 2``.
        valid: Pixels that are used, bool ``(y, x)``.

    Returns:
        The coefficient; 1 where most of the photons are background, in which no pattern can be recognized.
    """
    light = np.fft.fftshift(np.abs(np.fft.fft2(probe)) ** 2, axes=(-2, -1)).sum(axis=0) * valid
    dark = float(np.quantile(total[valid], DARKEST))
    pattern = np.maximum(total - dark - 2 * np.sqrt(dark), 0) * valid
    norm = float(light.sum(dtype=np.float64) * pattern.sum())
    if norm <= 0 or pattern.sum() < ABOVE_BACKGROUND * total[valid].sum():
        return 1.0
    shifted = np.fft.ifft2(np.fft.fft2(np.sqrt(light)) * np.fft.fft2(np.sqrt(pattern)).conj()).real
    return float(shifted.max() / np.sqrt(norm))
