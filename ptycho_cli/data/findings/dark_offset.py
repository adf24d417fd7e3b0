"""A dark offset: what a detector that integrates charge reads without light, if it was not subtracted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About
from ptycho_cli.data.frame_corrections import SubtractOffset

DARKEST = 0.01  # share of the pixels, by their means
SMALLEST = 2.0  # mean of these: the search for a constant background finds less
STEADY = 0.5  # of their mean: what their variance is less than where an offset makes most of it
BRIGHTER = 3.0  # standard deviations, and one photon: what lit pixels have at least above the darkest
DIMMEST = 0.25  # share of the lit pixels, by their means: the object changes the light of bright ones more
PHOTONS = 0.7  # growth of the variance with the mean from the darkest to these, in units of that of photons
FEWEST_PIXELS, FEWEST_FRAMES = 8, 16  # whose variances are known well enough
READ = 64  # dark pixels whose values give the offset
EXACT = 0.01  # share of these values that are the smallest of them, if the offset has no noise

ABOUT = {
    "dark-offset": About(
        "a detector's dark offset (pedestal) that was not subtracted", "subtracted",
        f"The darkest {DARKEST:.0%} of the pixels have a mean above {SMALLEST:g} and vary by less than {STEADY:.0%} of "
        "what photons do, and from these to dim lit pixels the variance grows as that of photons. The offset is the "
        "smallest value of the darkest, or their median where it varies.",
    )
}  # fmt: skip


def check(draft: Draft) -> None:
    """Subtract the offset that the user states, or one that is found."""
    stated = draft.options.dark_offset
    offset = stated if stated is not None else None if draft.raw.is_native else _found(draft)
    if not offset:
        return
    if stated is None and not draft.report(
        "dark-offset", "fixed",
        f"All frames have a dark offset of {offset:.6g} that does not vary as photons do; it is subtracted.",
        setting="data.dark_offset=0", evidence={"offset": offset},
    ):  # fmt: skip
        return
    draft.correct(SubtractOffset(offset, draft.valid))


def _found(draft: Draft) -> float | None:
    """The offset of the darkest pixels; None where they show none."""
    number, known = len(draft.counts), draft.of_pixels
    means = known.total / number
    used = draft.valid & (known.largest > 0)  # dead pixels read nothing at all
    if number < FEWEST_FRAMES or not used.any():
        return None
    variances = known.squares / number - means**2
    darkest = used & (means <= np.quantile(means[used], DARKEST))
    mean, variance = float(means[darkest].mean()), float(np.median(variances[darkest]))
    if mean < SMALLEST or variance > STEADY * mean:
        return None
    lit = used & (means > mean + BRIGHTER * np.sqrt(variance) + 1)
    if lit.sum() < FEWEST_PIXELS:
        return None
    dim = lit & (means <= max(np.quantile(means[lit], DIMMEST), np.sort(means[lit])[FEWEST_PIXELS - 1]))
    if np.sum(variances[dim] - variance) < PHOTONS * np.sum(means[dim] - mean):
        return None  # means of several exposures vary less than photons, too, dark and bright pixels alike
    return _value_without_light(draft, np.argsort(np.where(used, means, np.inf), axis=None, kind="stable")[:READ])


def _value_without_light(draft: Draft, places: NDArray[np.int64]) -> float:
    """Smallest value of some pixels in all frames, or their median where readout noise is added."""
    values = np.concatenate([block.reshape(len(block), -1)[:, places] for _, block in draft.counts.blocks()])
    smallest = values.min()
    return float(smallest if np.mean(values == smallest) > EXACT else np.median(values))
