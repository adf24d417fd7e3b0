"""Saturated pixels: many values at the largest one that the detector counts to."""

from __future__ import annotations

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
ALONE = 0.25  # of that value, which the pixels around it do not reach in the median: no light, but a defect


ABOUT = {
    "pixels-saturated": About(
        "many values at the largest count",
        "masked; a warning if these pixels hold more than half of the light, for then the object is uncertain",
        f"At least {FEWEST} values equal the maximum, and {TIMES:g} times as many as at each number just below it; the "
        f"maximum is at least {SMALLEST}.",
    )
}  # fmt: skip


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
    light = float(total[pixels].sum() / total[draft.valid].sum())
    much = light > MOST_LIGHT
    doubt = " Without it the object is uncertain; measure with less exposure or an attenuator." if much else ""
    if draft.report(
        "pixels-saturated", "warning" if much else "fixed",
        f"{counted(int(pixels.sum()), 'detector pixel')} masked as saturated: {piled} values equal the largest count, "
        f"{top:g}. These pixels hold {light:.0%} of the light.{doubt}",
        pixels=pixels, evidence={"maximum": top, "values_at_maximum": float(piled), "values_below": float(below),
                                 "share_of_light": light},
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
