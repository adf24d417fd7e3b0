"""Hot and dead detector pixels, as findings."""

from __future__ import annotations

import numpy as np

from ptycho_cli.data.bad_pixels import find_bad_pixels
from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, counted, listed

ABOUT = {
    "pixels-hot": About(
        "detector pixels that count too much, or too steadily", "masked",
        "A pixel counts more than twice as much as the third brightest of its eight neighbours, in most frames, or "
        "varies less than photons do; see [bad pixels](#bad-pixels).",
    ),
    "pixels-dead": About(
        "detector pixels, rows, columns or modules that stay 0 amid light", "masked",
        "A pixel stays 0 although its neighbours make that improbable; see [bad pixels](#bad-pixels).",
    ),
}  # fmt: skip


def check(draft: Draft) -> None:
    """Mask pixels that count too much, too little, or too steadily."""
    if not draft.options.mask_bad_pixels:
        return
    bad = find_bad_pixels(draft.counts, draft.valid, draft.of_pixels)
    for kind, pixels in (("hot", bad.hot), ("dead", bad.dead)):
        if not pixels.any():
            continue
        places = np.roll(pixels, (-draft.moved[0], -draft.moved[1]), (0, 1))
        shown = listed(tuple((int(row), int(column)) for row, column in np.argwhere(places)))
        message = f"{counted(int(pixels.sum()), f'{kind} pixel')} masked (row, column): {shown}."
        if draft.report(f"pixels-{kind}", "fixed", message, setting="data.mask_bad_pixels=false", pixels=pixels):
            draft.mask(pixels)
