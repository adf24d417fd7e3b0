"""Pixels beyond the range of counts: many values at the largest one, or values that began again at 0 beyond it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, counted
from ptycho_cli.data.frame_statistics import of_pixels

NEAR = 0.9  # of the maximum: where values get rare if nothing is cut off
FEWEST_LEVELS = 3  # whole numbers below the maximum that are compared with it at least
SMALLEST = 8  # maximum that can be recognized as one
TIMES = 4.0  # as many values at the maximum as at each number just below it
FEWEST = 8  # values at the maximum
MOST_LIGHT = 0.5  # share of the counts in saturated pixels: with more masked, objects lost 2 dB and more
STEADY = 0.9  # share of the frames in which a stuck pixel has the same value
RANGES = (255, 32767, 65535)  # the largest numbers of narrow types, also where values were copied to a wider one since
BAND = 32  # of such a range: the values of its last part are compared with those of the part before
STILL = 0.5  # times as many in the last: what becomes rare ends before the range does
FEWEST_IN_BAND = 50  # values in the last part
WRAPPED = 0.65  # of the range: pixels that come so close to its end go beyond it, too
ALONE = 0.25  # of that value, which the pixels around it do not reach in the median: no light, but a defect


ABOUT = {
    "pixels-saturated": About(
        "many values at the largest count; values that began again at 0 beyond the largest number of their type",
        "masked; a warning if these pixels hold more than half of the light, for then the object is uncertain",
        f"At least {FEWEST} values equal the maximum, and {TIMES:g} times as many as at each number just below it; the "
        f"maximum is at least {SMALLEST}. Or {FEWEST_IN_BAND} values lie in the last {BAND}th of the range of a type "
        f"({', '.join(map(str, RANGES))}) and none beyond it, without a pile at its end, and more than {STILL:g} times "
        f"as many as in the {BAND}th before.",
    )
}  # fmt: skip


def check_wrapped(draft: Draft) -> None:
    """Mask pixels whose values began again at 0, because their type counts no further.

    Counts become rare towards their maximum. Where they do not, and end with the range of their type, some went on.
    """
    largest = draft.of_pixels.largest
    top = next((limit for limit in RANGES if limit >= largest[draft.valid].max()), None)
    if top is None:
        return
    width = (top + 1) // BAND
    near = draft.valid & (largest > top - 2 * width)
    if not (largest[near] > top - width).any():
        return
    last = before = at_top = 0
    for _, frames in draft.counts.blocks():
        values = frames[:, near]
        at_top += int((values == top).sum())
        last += int((values > top - width).sum())
        before += int(((values > top - 2 * width) & (values <= top - width)).sum())
    if last < FEWEST_IN_BAND or last < STILL * before or at_top > TIMES * max(1.0, last / width):
        return
    reach = ndimage.binary_closing(np.pad(draft.valid & (largest > WRAPPED * top), 1))[1:-1, 1:-1]
    pixels = draft.valid & ndimage.binary_fill_holes(reach)
    mean = draft.of_pixels.total / len(draft.counts)
    light = np.where(pixels, np.maximum(mean, top / 2), mean)
    share = float(light[pixels].sum() / light[draft.valid].sum())
    _mask(
        draft, pixels, share,
        f"masked, whose values began again at 0 beyond {top}, as in a type of too few bits: {last} values lie just "
        f"below it, none above. These pixels hold {share:.0%} of the light or more.",
        "store the frames in a wider type",
        {"maximum": float(top), "values_in_last_band": float(last), "values_before": float(before)},
    )  # fmt: skip


def check(draft: Draft) -> None:
    """Mask pixels that reach the maximum in some frame, if values pile up there.

    Poisson counts get rare towards their maximum, so the maximum itself occurs once or twice. A detector that stops
    counting piles them up there.
    """
    used, largest = draft.valid & ~_stuck(draft), draft.of_pixels.largest
    top = float(largest[used].max(initial=0))
    if top < SMALLEST:
        return
    lowest = min(NEAR * top, top - FEWEST_LEVELS)
    if top == draft.top.value and draft.top.frames[used].sum() < FEWEST:
        return
    near = used & (largest >= lowest)
    piled, below = _numbers_near(draft, near, lowest, top)
    if piled < FEWEST or piled < TIMES * below / (top - lowest):
        return
    pixels = _reach(draft, top) & draft.valid
    total = draft.of_pixels.total
    share = float(total[pixels].sum() / total[draft.valid].sum())
    _mask(
        draft, pixels, share,
        f"masked as saturated: {piled} values equal the largest count, {top:g}. These pixels hold {share:.0%} of the "
        "light.",
        "measure with less exposure or an attenuator",
        {"maximum": top, "values_at_maximum": float(piled), "values_below": float(below)},
    )  # fmt: skip


def _mask(
    draft: Draft, pixels: NDArray[np.bool_], share: float, message: str, advice: str, evidence: Mapping[str, float]
) -> None:
    """Mask pixels with a share of the light, and report it; as a warning where that is much."""
    much = share > MOST_LIGHT
    doubt = f" Without it the object is uncertain; {advice}." if much else ""
    if draft.report(
        "pixels-saturated", "warning" if much else "fixed",
        f"{counted(int(pixels.sum()), 'detector pixel')} {message}{doubt}",
        pixels=pixels, evidence={**evidence, "share_of_light": share},
    ):  # fmt: skip
        draft.mask(pixels)


def _numbers_near(draft: Draft, pixels: NDArray[np.bool_], lowest: float, top: float) -> tuple[int, int]:
    """How many values of pixels ``(y, x)`` equal the maximum, and how many lie between a limit and the maximum."""
    at_top = below = 0
    for _, frames in draft.counts.blocks():
        values = frames[:, pixels]
        at_top += int((values == top).sum())
        below += int(((values >= lowest) & (values != top)).sum())
    return at_top, below


def _reach(draft: Draft, value: float) -> NDArray[np.bool_]:
    """Pixels that have a value in some frame, bool ``(y, x)``."""
    return np.asarray(of_pixels(draft.counts, lambda frames: (frames == value).any(axis=0)) > 0)


def _stuck(draft: Draft) -> NDArray[np.bool_]:
    """Single pixels that stay at the maximum amid darker ones, bool ``(y, x)``; ``pixels-hot`` reports these."""
    steady = draft.top.frames / len(draft.counts) > STEADY
    around = ndimage.median_filter(draft.of_pixels.total / len(draft.counts), size=3, mode="wrap")
    return np.asarray(steady & (around < ALONE * float(draft.top.value)))
