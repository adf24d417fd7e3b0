"""Saturated pixels: many values at the largest one that the detector counts to."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, counted

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
    values = draft.counts[:, draft.valid & ~_stuck(draft)]
    top = float(values.max(initial=0))
    if top < SMALLEST:
        return
    lowest = min(NEAR * top, top - FEWEST_LEVELS)
    at_top = values == top
    piled, below = int(at_top.sum()), int(((values >= lowest) & ~at_top).sum())
    if piled < FEWEST or piled < TIMES * below / (top - lowest):
        return
    pixels = (draft.counts == top).any(axis=0) & draft.valid
    light = float(draft.counts[:, pixels].sum(dtype=np.float64) / draft.counts[:, draft.valid].sum(dtype=np.float64))
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


def _stuck(draft: Draft) -> NDArray[np.bool_]:
    """Single pixels that stay at the maximum amid darker ones, bool ``(y, x)``; ``pixels-hot`` reports these."""
    top = draft.counts[:, draft.valid].max(initial=0)
    steady = (draft.counts == top).mean(axis=0) > STEADY
    around = ndimage.median_filter(draft.counts.mean(axis=0, dtype=np.float64), size=3, mode="wrap")
    return np.asarray(steady & (around < ALONE * float(top)))
