"""Units of the stored numbers: photons, amplitudes, or detector units of several counts a photon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About
from ptycho_cli.data.frame_corrections import DivideByGain, SquareAmplitudes

PRECISIONS = (1e-6, 1e-3)  # relative rounding of float32 and float16
CLEAR = 0.05  # rounding up to which a whole number can be recognized; random numbers pass one time in ten
ALL_BUT = 0.99  # share of the values that must agree; a hot pixel or two may not
FEWEST = 100  # values that are small enough to be judged
EXAMINED = 16  # frames of stated amplitudes
FEWEST_LEVELS = 4  # different values above which a common factor is no accident
NORMALIZED = 100.0  # photons of a mean frame below which values with fractions are no counts; nor are any up to 1
SMALLEST_LEVELS = 12  # smallest different values among which the unit or twice the unit must be


ABOUT = {
    "stored-amplitude": About(
        "square roots of counts", "squared",
        f"{ALL_BUT:.0%} of the squared values are whole numbers, and the values are not.",
    ),
    "counts-gain": About(
        "detector units of several counts a photon; normalised frames", "divided by the common factor; reported",
        f"{ALL_BUT:.0%} of the values are multiples of one number above {1 + CLEAR:g}. A warning where the values of a "
        f"frame add up to less than {NORMALIZED:g}, or none exceeds 1, and they are no whole numbers.",
    ),
}  # fmt: skip


def check_amplitudes(draft: Draft) -> None:
    """Square values whose squares are whole numbers: amplitudes, the square roots of photon counts."""
    if draft.options.stored != "auto" or draft.raw.stored is not None:
        return
    values = draft.sample
    if np.issubdtype(draft.counts.dtype, np.integer) or share_whole(values) >= ALL_BUT:
        return
    share = share_whole(values**2)
    if share < ALL_BUT:
        draft.notes.append(f"'{draft.raw.counts_name}' has fractions and is taken as photon counts (data.stored).")
        return
    if draft.report(
        "stored-amplitude", "fixed",
        f"'{draft.raw.counts_name}' holds square roots of whole numbers: amplitudes, which are squared.",
        setting="data.stored=counts", evidence={"share_whole_squares": share},
    ):  # fmt: skip
        draft.correct(SquareAmplitudes(whole=True))


def square_stated(draft: Draft) -> None:
    """Square amplitudes that the setting or the layout states; where these are roots of photons, to whole photons."""
    frames = draft.counts[:EXAMINED].astype(np.float64)
    squares = frames[np.isfinite(frames) & (frames > 0)] ** 2
    whole = len(squares) >= FEWEST and squares.min() > 0.5 and share_whole(squares) >= ALL_BUT
    draft.correct(SquareAmplitudes(whole=whole))


def check_gain(draft: Draft) -> None:
    """Divide by the factor that the user states, or by one that all counts have in common."""
    stated = draft.options.counts_per_photon
    if stated is not None:
        draft.correct(DivideByGain(stated))
        return
    factor = None if draft.raw.is_native else common_factor(draft.sample)
    if factor is not None and draft.report(
        "counts-gain", "fixed",
        f"All counts are multiples of {factor:.6g}, which is taken as the detector's value for one photon.",
        setting="data.counts_per_photon=1", evidence={"factor": factor},
    ):  # fmt: skip
        draft.correct(DivideByGain(factor, whole=True))


def check_normalized(draft: Draft) -> None:
    """Report frames of hardly any photons whose values are no whole numbers: they may be normalised."""
    mean = float(draft.of_frames.photons.mean())
    if draft.raw.is_native or (mean >= NORMALIZED and draft.of_pixels.largest.max() > 1):
        return
    if share_whole(draft.sample) >= ALL_BUT:
        return
    draft.report(
        "counts-gain", "warning",
        f"The values of a frame add up to {mean:.3g} photons and are not whole numbers: the frames look normalised, "
        "and their photon noise is unknown.",
        setting="data.counts_per_photon=0.001", evidence={"photons_per_frame": mean},
    )  # fmt: skip


def common_factor(values: NDArray[np.float64]) -> float | None:
    """The largest number above 1 that nearly all values are whole multiples of; None if there is none.

    Args:
        values: Positive values, ``(n,)``.
    """
    levels = np.unique(values)
    if len(levels) < FEWEST_LEVELS:
        return None
    low = levels[:SMALLEST_LEVELS]
    candidates = np.unique(np.concatenate((low, np.diff(low))))
    for candidate in candidates[::-1]:
        if candidate > 1 + CLEAR and share_whole(values / candidate) >= ALL_BUT:
            return float(_refined(values, float(candidate)))
    return None


def share_whole(values: NDArray[np.float64]) -> float:
    """Share of the values that are whole numbers, of those that are small enough to tell; 0 if too few are.

    A value is whole if it is as close to a whole number as rounding to a short floating-point type leaves it.
    """
    share = 0.0
    for precision in PRECISIONS:
        small = values[values * precision < CLEAR]
        if len(small) >= min(FEWEST, len(values)):
            near = np.abs(small - np.round(small)) <= precision * np.maximum(small, 1)
            share = max(share, float(near.mean()))
    return share


def _refined(values: NDArray[np.float64], factor: float) -> float:
    """The factor from all values at once; a single difference is rounded."""
    multiples = np.round(values / factor)
    if np.all(values == np.round(values)):
        return float(np.round(factor))
    return float((values * multiples).sum() / (multiples**2).sum())
