"""Units of the stored numbers: photons, amplitudes, logarithms, or detector units of several counts a photon."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About
from ptycho_cli.data.frame_corrections import DivideByGain, DivideFrames, SquareAmplitudes, UndoLogarithm
from ptycho_cli.errors import DataError

PRECISIONS = (1e-6, 1e-3)  # relative rounding of float32 and float16
CLEAR = 0.05  # rounding up to which a whole number can be recognized; random numbers pass one time in ten
ALL_BUT = 0.99  # share of the values that must agree; a hot pixel or two may not
FEWEST = 100  # values that are small enough to be judged
EXAMINED = 16  # frames of stated amplitudes
FEWEST_LEVELS = 4  # different values above which a common factor is no accident
NORMALIZED = 100.0  # photons of a mean frame below which values with fractions are no counts; nor are any up to 1
LOGARITHMS = {"log10": 10.0, "log": float(np.e)}  # values of data.stored and their bases
BRIGHTEST = 1e6  # photons: of a smaller part of a bright value, any float32 is a multiple
DIGITS, ROUNDED = 3, 2.0  # of a factor that may come from rounding; of this, what photons vary by at most
SMALLEST_LEVELS = 12  # smallest different values among which the unit or twice the unit must be


ABOUT = {
    "stored-amplitude": About(
        "square roots of counts", "squared",
        f"{ALL_BUT:.0%} of the squared values are whole numbers, or multiples of one number (of one for each frame), "
        "and the values are not.",
    ),
    "stored-logarithm": About(
        "logarithms of counts plus one", "undone",
        f"{ALL_BUT:.0%} of ten, or of e, to the power of the values, less one, are whole numbers, and neither the "
        "values nor their squares are.",
    ),
    "counts-gain": About(
        "detector units of several counts a photon; normalised frames", "divided by the common factor; reported",
        f"{ALL_BUT:.0%} of the values, or of those of each frame, are multiples of one number, which is above "
        f"{1 + CLEAR:g} if they are whole. With {DIGITS} digits or fewer it may come from rounding, and then the "
        f"values must not vary by more than {ROUNDED:g} times what such photons do. A warning where the values of a "
        f"frame add up to less than {NORMALIZED:g}, or none exceeds 1, and they are no whole numbers.",
    ),
}  # fmt: skip


def check_stored(draft: Draft) -> None:
    """Square values whose squares are whole numbers, amplitudes, and undo logarithms of whole numbers plus one."""
    if draft.options.stored != "auto" or draft.raw.stored is not None:
        return
    values, name = draft.sample, draft.raw.counts_name
    if np.issubdtype(draft.counts.dtype, np.integer) or share_whole(values) >= ALL_BUT:
        return
    share, logarithm = share_whole(values**2), _logarithm_of(values)
    scaled = share < ALL_BUT and logarithm is None and _are_scaled_amplitudes(draft)
    if share >= ALL_BUT and draft.report(
        "stored-amplitude", "fixed",
        f"'{name}' holds square roots of whole numbers: amplitudes, which are squared.",
        setting="data.stored=counts", evidence={"share_whole_squares": share},
    ):  # fmt: skip
        draft.correct(SquareAmplitudes(whole=True))
    elif scaled and draft.report(
        "stored-amplitude", "fixed",
        f"'{name}' holds amplitudes that are scaled: their squares are multiples of one number, or of one for each "
        "frame, and they are not. They are squared.",
        setting="data.stored=counts",
    ):  # fmt: skip
        draft.correct(SquareAmplitudes())
    elif logarithm is not None and draft.report(
        "stored-logarithm", "fixed",
        f"'{name}' holds {logarithm}(1 + n) of whole numbers n, which are recovered.",
        setting="data.stored=counts", evidence={"base": LOGARITHMS[logarithm]},
    ):  # fmt: skip
        draft.correct(UndoLogarithm(LOGARITHMS[logarithm], whole=True))


def _are_scaled_amplitudes(draft: Draft) -> bool:
    """Whether the squares of the values have a common factor, in all frames or in each, and the values have none."""
    values, squares = draft.sample, draft.sample**2
    of_values, of_squares = (common_factor(numbers, above=_smallest(numbers)) for numbers in (values, squares))
    if of_values is not None or of_squares is not None:
        return of_values is None
    return _factors_of_frames(draft) is None and _factors_of_frames(draft, power=2) is not None


def _logarithm_of(values: NDArray[np.float64]) -> str | None:
    """Which logarithm of whole numbers values are, as in ``LOGARITHMS``; None if they are none."""
    with np.errstate(over="ignore"):
        found = (name for name, base in LOGARITHMS.items() if share_whole(base**values - 1) >= ALL_BUT)
        return next(found, None)


def undo_stated(draft: Draft, base: float) -> None:
    """Undo logarithms that the setting states; where these are of whole photons, to whole photons.

    Raises:
        DataError: If the photons would be too many for their type.
    """
    largest = float(draft.of_pixels.largest.max())
    if largest * np.log(base) > np.log(np.finfo(np.float32).max):
        raise DataError(
            f"{draft.raw.source}: '{draft.raw.counts_name}' has values up to {largest:.4g}, whose photons would be too "
            f"many to be logarithms; data.stored={draft.options.stored}.",
            hint="data.stored=auto finds out what is stored.",
            finding="stored-logarithm",
        )
    draft.correct(UndoLogarithm(base, whole=share_whole(base**draft.sample - 1) >= ALL_BUT))


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
    if draft.raw.is_native:
        return
    whole = np.issubdtype(draft.counts.dtype, np.integer) or share_whole(draft.sample) >= ALL_BUT
    factor, factors = common_factor(draft.sample, above=1 + CLEAR), None
    if factor is None and not whole:
        common = common_factor(draft.sample, above=_smallest(draft.sample))
        if common is None:
            factors = _factors_of_frames(draft)
        elif not _is_of_rounding(draft, common):
            factor = common
    if factor is not None:
        if draft.report(
            "counts-gain", "fixed",
            f"All counts are multiples of {factor:.6g}, which is taken as the detector's value for one photon.",
            setting="data.counts_per_photon=1", evidence={"factor": factor},
        ):  # fmt: skip
            draft.correct(DivideByGain(factor, whole=True))
    elif factors is not None:
        low, high = float(factors.min()), float(factors.max())
        if draft.report(
            "counts-gain", "fixed",
            f"The counts of each frame are multiples of a number of its own, {low:.3g} to {high:.3g}, as after a "
            "division by its intensity; whole photons are recovered.",
            setting="data.counts_per_photon=1", evidence={"smallest_factor": low, "largest_factor": high},
        ):  # fmt: skip
            draft.correct(DivideFrames(draft.counts.base_rows, factors))
    elif not whole and draft.options.stored == "auto" and draft.raw.stored is None:
        draft.notes.append(f"'{draft.raw.counts_name}' has fractions and is taken as photon counts (data.stored).")


def _is_of_rounding(draft: Draft, factor: float) -> bool:
    """Whether a common factor of values with fractions may come from rounding to some digits."""
    short = np.isclose(float(f"{factor:.{DIGITS}g}"), factor, rtol=PRECISIONS[0], atol=0)
    return bool(short and draft.photon_value >= ROUNDED * factor)


def _factors_of_frames(draft: Draft, power: int = 1) -> NDArray[np.float64] | None:
    """Common factor of the powers of each frame's values, ``(frame,)``; None if one has none, or all have the same."""
    found = []
    for _, block in draft.counts.blocks():
        for frame in block:
            values = frame[draft.valid].astype(np.float64)
            values = values[np.isfinite(values) & (values > 0)] ** power
            factor = common_factor(values, above=_smallest(values))
            if factor is None:
                return None
            found.append(factor)
    return np.array(found) if np.ptp(found) > PRECISIONS[0] * max(found) else None


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


def _smallest(values: NDArray[np.float64]) -> float:
    """The smallest factor that values with fractions may have in common by more than their type's precision."""
    return float(np.quantile(values, ALL_BUT)) / BRIGHTEST if len(values) else 0.0


def common_factor(values: NDArray[np.float64], *, above: float) -> float | None:
    """The largest number that nearly all values are whole multiples of; None if there is none.

    Args:
        values: Positive values, ``(n,)``.
        above: What the number exceeds.
    """
    levels = np.unique(values)
    if len(levels) < FEWEST_LEVELS:
        return None
    low = levels[:SMALLEST_LEVELS]
    candidates = np.unique(np.concatenate((low, np.diff(low))))
    for candidate in candidates[::-1]:
        if candidate > above and share_whole(values / candidate) >= ALL_BUT:
            return float(_refined(values, float(candidate)))
    return None


def share_whole(values: NDArray[np.float64]) -> float:
    """Share of the values that are whole numbers from 1, of those that are small enough to tell; 0 if too few are.

    A value is whole if it is as close to a whole number as rounding to a short floating-point type leaves it.
    """
    share = 0.0
    for precision in PRECISIONS:
        small = values[values * precision < CLEAR]
        if len(small) >= min(FEWEST, len(values)):
            whole = np.round(small)
            near = (whole > 0) & (np.abs(small - whole) <= precision * np.maximum(small, 1))
            share = max(share, float(near.mean()))
    return share


def _refined(values: NDArray[np.float64], factor: float) -> float:
    """The factor from all values at once; a single difference is rounded."""
    multiples = np.round(values / factor)
    if np.all(values == np.round(values)):
        return float(np.round(factor))
    return float((values * multiples).sum() / (multiples**2).sum())
