"""Values that mean "no data": detector gaps, and frames that the detector lost.

Detectors mark a pixel without a measurement by the largest number of their type, the one below it, a negative number
or NaN. Read as photons, such a value explains itself: the fit puts all light there, and the R-factor becomes excellent.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, counted
from ptycho_cli.data.readers.raw_scan import Array

Marked = NDArray[np.bool_]

LARGEST = tuple(2**bits - 1 for bits in (15, 16, 31, 32, 63, 64))  # of integer types, also when copied to a wider type
LOST = 0.5  # share of a frame without data above which the frame is lost
PARTLY_LOST = (
    0.02  # the same, of pixels that other frames have: above it the frame is left out, below it pixels are masked
)
FAR_ABOVE = 4.0  # times all other values: a constant so large is not a photon count
SURROUNDED = 0.1  # of a value that its neighbours reach: then it is saturated light and not a gap
FEWEST = 8  # pixels with a constant that is not the largest number of some bits; fewer are stuck pixels
MOST_MARKERS = 4  # different negative markers; more are noise or a subtracted background
DARKEST = 0.1  # share of the pixels, of those that are not always negative, which show noise if there is any
OFTEN = 0.01  # share of the frames in which these are negative at least: noise or a subtracted background
PARTLY = 0.1  # more of a frame is negative than usual: a frame that is partly lost
SMALL = 16  # largest negative value of readout noise that is rounded to whole numbers


ABOUT = {
    "pixels-sentinel": About(
        "values that mean no data: the largest of a type or the one below, negative markers, NaN", "masked",
        f"The value is the largest number of a type, negative, NaN, or {FAR_ABOVE:g} times all others in at least "
        f"{FEWEST} pixels, and does not lie in bright light. In a frame with more than {PARTLY_LOST:.0%} of such "
        "pixels that other frames have, the frame is left out instead.",
    )
}  # fmt: skip


def check(draft: Draft) -> None:
    """Mask pixels that hold a "no data" value, and leave out frames with many of them."""
    marked, values = marked_values(draft.counts)
    if not values:
        return
    shown = ", ".join(f"{value:.12g}" for value in values)
    rows = lost_frames(marked)
    draft.counts = np.where(marked, draft.counts.dtype.type(0), draft.counts)
    marked[rows] = False
    draft.leave_out("frames-invalid", rows, f"many pixels hold a value that means no data ({shown})", most=1.0)
    pixels = marked.any(axis=0) & draft.valid
    if pixels.any() and draft.report(
        "pixels-sentinel", "fixed",
        f"{counted(int(pixels.sum()), 'detector pixel')} masked, which hold a value that means no data ({shown}).",
        pixels=pixels, evidence={"value": values[-1], "pixels": float(pixels.sum())},
    ):  # fmt: skip
        draft.mask(pixels)


def lost_frames(marked: Marked) -> NDArray[np.int64]:
    """Frames without data in most pixels, or in many that usually have data, as rows of ``marked``."""
    lost = marked.mean(axis=(1, 2)) > LOST
    if lost.all():  # a small detector in a large frame
        lost[:] = False
    usual = marked[~lost].mean(axis=0) > 0.5
    return np.flatnonzero(lost | ((marked & ~usual).mean(axis=(1, 2)) > PARTLY_LOST))


def marked_values(counts: Array) -> tuple[Marked, list[float]]:
    """Where values mean "no data", bool ``(frame, y, x)``, and which values these are."""
    marked = np.zeros(counts.shape, dtype=bool)
    values: list[float] = []
    if np.issubdtype(counts.dtype, np.floating):
        marked = ~np.isfinite(counts)
        if marked.any():
            values.append(float("nan"))
    for find in (_negative_markers, _type_limits, _large_constants):
        for value, found in find(counts, marked):
            marked |= found
            values.append(float(value))
    return marked, values


def _negative_markers(counts: Array, marked: Marked) -> Iterator[tuple[Any, Marked]]:
    """Negative whole numbers of few different values, unless they come from noise or a subtracted background."""
    below = (counts < 0) & ~marked
    if not below.any():
        return
    values = np.unique(counts[below])
    if len(values) > MOST_MARKERS or np.any(values != np.floor(values)):
        return
    if values[0] >= -SMALL and _negative_in_the_dark(counts, below) > OFTEN:
        return
    yield from ((value, counts == value) for value in values)


def _negative_in_the_dark(counts: Array, below: Marked) -> float:
    """Share of the frames in which the darkest pixels are negative, of those that are not negative in all frames.

    Noise and a subtracted background make dark pixels negative, markers stand in other pixels.
    """
    negative = below.mean(axis=(1, 2))
    kept = negative <= np.median(negative) + PARTLY
    share = below[kept].mean(axis=0)
    some = share < 1
    means = counts[kept].mean(axis=0, dtype=np.float64)[some]
    return float(share[some][means <= np.quantile(means, DARKEST)].mean()) if some.any() else 1.0


def _type_limits(counts: Array, marked: Marked) -> Iterator[tuple[Any, Marked]]:
    """The largest number of a type, or one below it, where it means "no data" and not saturation."""
    for limit in sorted({number - below for number in LARGEST for below in (0, 1)}, reverse=True):
        if limit > float(np.where(marked, 0, counts).max(initial=0)):
            continue
        value = counts.dtype.type(limit)
        found = (counts == value) & ~marked
        if found.any() and (kept := _without_light(found, np.where(found | marked, 0, counts), float(value))).any():
            yield value, kept


def _large_constants(counts: Array, marked: Marked) -> Iterator[tuple[Any, Marked]]:
    """Values far above all others that stay in the same pixels in most frames."""
    left = np.where(marked, 0, counts)
    while (largest := left.max(initial=0)) > 0:
        found = left == largest
        left = np.where(found, 0, left)
        pixels = int((found.mean(axis=0) > 0.5).sum())
        usual = float(np.log2(float(largest) + 1)).is_integer()  # the largest number of some bits
        if pixels < (1 if usual else FEWEST) or float(left.max(initial=0)) * FAR_ABOVE >= float(largest):
            return
        yield largest, found


def _without_light(found: Marked, rest: Array, value: float) -> Marked:
    """The part of ``found`` that is without data and not saturated, bool ``(frame, y, x)``.

    Nothing saturates if no other value comes near. Else only lost frames and pixels that always have the value are
    without data, provided that these do not lie in bright light.

    Args:
        found: Where the largest number of a type occurs.
        rest: All other counts, 0 there.
        value: That number.
    """
    if float(rest.max(initial=0)) * FAR_ABOVE < value:
        return found
    lost = found.mean(axis=(1, 2)) > LOST
    always = found[~lost].all(axis=0) & ~lost.all()
    gaps = _outside_light(always, rest[~lost].max(axis=0, initial=0), SURROUNDED * value)
    return np.asarray(found & (gaps | lost[:, None, None]))


def _outside_light(areas: Marked, brightest: Array, limit: float) -> Marked:
    """Connected areas of ``(y, x)`` whose surrounding pixels stay below a limit, in the median."""
    labels, count = ndimage.label(areas, structure=np.ones((3, 3)))
    kept = np.zeros_like(areas)
    for number in range(1, count + 1):
        area = labels == number
        around = ndimage.binary_dilation(area, structure=np.ones((3, 3))) & ~areas
        if not around.any() or float(np.median(brightest[around])) < limit:
            kept |= area
    return kept
