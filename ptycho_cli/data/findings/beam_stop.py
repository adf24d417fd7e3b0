"""Beam stops and wires: dark areas of the detector amid light."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, counted

Mask = NDArray[np.bool_]
Totals = NDArray[np.float64]

FEWEST_PIXELS = 4  # smaller dark spots are dead pixels
REACH = 0.25  # of the frame's width: light on both sides of a shadow is looked for so far away
EXPECTED = 50.0  # photons of all frames that pixels around a shadow have in the median, and that the shadow lacks
DARKER = 0.02  # of the light on both sides: what a shadow has at most
DARKEST = 0.01  # share of the pixels that are the darkest; a shadow is as dark as these
EMPTY = 1.0  # photons of a frame in a pixel of a shadow, from noise; the shadow of a zone plate's stop has more
SURROUNDED = 0.8  # of the pixels next to a shadow that have light
FAINT = 10.0  # photons of all frames that these have at least
NEIGHBOURS = np.ones((3, 3))


ABOUT = {
    "beam-stop": About(
        "dark areas amid light: a beam stop, a wire", "masked",
        f"At least {FEWEST_PIXELS} connected pixels have at most {DARKER:.0%} of the light on both sides of them, no "
        f"more than the darkest {DARKEST:.0%} of the detector, and light around {SURROUNDED:.0%} of their rim.",
    )
}  # fmt: skip


def check(draft: Draft) -> None:
    """Mask dark areas that light surrounds."""
    stop = shadows(draft.of_pixels.total, draft.valid, len(draft.counts))
    number = int(stop.sum())
    if number and draft.report(
        "beam-stop", "fixed",
        f"{counted(number, 'detector pixel')} masked, dark although light surrounds them: a beam stop or a wire.",
        pixels=stop, evidence={"pixels": float(number)},
    ):  # fmt: skip
        draft.mask(stop)


def shadows(total: Totals, valid: Mask, n_frames: int) -> Mask:
    """Dark areas amid light, bool ``(y, x)``.

    Args:
        total: Photons of all frames, ``(y, x)``.
        valid: Pixels that are used so far, ``(y, x)``.
        n_frames: Number of frames.
    """
    found = np.zeros_like(valid)
    if not valid.any():
        return found
    total = np.where(valid, total, 0)
    darkest = float(np.quantile(total[valid], DARKEST))
    empty = min(darkest + 3 * np.sqrt(darkest), EMPTY * n_frames)
    between = _light_on_both_sides(total)
    dark = valid & (total <= empty) & (total <= DARKER * between) & (between > EXPECTED)
    labels, count = ndimage.label(dark, structure=NEIGHBOURS)
    for number in range(1, count + 1):
        area = labels == number
        if area.sum() >= FEWEST_PIXELS and _is_surrounded(area, total, valid, max(FAINT, 4 * empty)):
            found |= area
    return found


def _is_surrounded(area: Mask, total: Totals, valid: Mask, faint: float) -> bool:
    next_to = ndimage.binary_dilation(area, structure=NEIGHBOURS) & ~area & valid
    around = ndimage.binary_dilation(area, structure=NEIGHBOURS, iterations=2) & ~area & valid
    if not next_to.any():
        return False
    return float(np.median(total[around])) > EXPECTED and float(np.mean(total[next_to] > faint)) >= SURROUNDED


def _light_on_both_sides(total: Totals) -> Totals:
    """The largest light that each pixel has on both sides, along a row, a column or a diagonal, ``(y, x)``."""
    reach = max(2, round(REACH * max(total.shape)))
    best = np.zeros_like(total)
    for step in ((0, 1), (1, 0), (1, 1), (1, -1)):
        sides = [_brightest(total, (sign * step[0], sign * step[1]), reach) for sign in (1, -1)]
        best = np.maximum(best, np.minimum(*sides))
    return best


def _brightest(total: Totals, step: tuple[int, int], reach: int) -> Totals:
    """The largest value within ``reach`` steps from each pixel in one direction."""
    padded = np.pad(total, reach)
    height, width = total.shape
    best = np.zeros_like(total)
    for distance in range(1, reach + 1):
        y, x = reach + distance * step[0], reach + distance * step[1]
        best = np.maximum(best, padded[y : y + height, x : x + width])
    return best
