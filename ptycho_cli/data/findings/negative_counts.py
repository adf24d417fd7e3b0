"""Negative values that are not markers: readout noise, a wrapped sign, or a background that was subtracted."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, counted
from ptycho_cli.data.frame_corrections import ClipNegative
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.errors import DataError

EXAMINED = 32  # frames that show whether a constant was subtracted
MOST = 2**24  # values of the frames up to which all that are negative are looked at; of more, some
WHOLE = 1e-3  # largest distance of a whole number from its float32
DARKEST = 0.05  # share of the pixels whose mean shows what was subtracted
SUBTRACTED = (
    0.5  # of the median negative value: noise leaves a mean of 0 in dark pixels, a subtracted background does not
)
NOISE_SPAN = (
    12.0  # times the median negative value, 8 standard deviations of Gaussian noise: what lies below is a defect
)


ABOUT = {
    "negative-noise": About(
        "readout noise below 0, or a subtracted background", "set to 0; a subtracted background is refused",
        f"Any value is negative that marks no defect. Refused where the mean of the darkest {DARKEST:.0%} of the "
        f"pixels is below -{SUBTRACTED:g} times the median negative value, which noise does not leave, or where all "
        "values are whole numbers less one constant.",
    )
}  # fmt: skip


def check(draft: Draft) -> None:
    """Set readout noise to 0, mask pixels whose sign wrapped or that are always negative, and refuse the rest.

    Raises:
        DataError: If a background seems to be subtracted, or the user refuses negative values.
    """
    if np.issubdtype(draft.counts.dtype, np.unsignedinteger) or draft.of_pixels.smallest.min() >= 0:
        return
    _mask(draft, _wrapped(draft), "their sign wrapped")
    always = np.asarray(draft.of_pixels.largest < 0)
    _mask(draft, always, "negative in every frame")
    if ((draft.of_pixels.smallest < 0) & ~always).any():
        _check_noise(draft)


def _check_noise(draft: Draft) -> None:
    number, values = _negative_values(draft.counts)
    typical = float(np.median(-values))
    means = draft.of_pixels.total[draft.valid] / len(draft.counts)
    darkest = float(np.quantile(means, DARKEST))
    if draft.options.negative == "refuse" or darkest < -SUBTRACTED * typical or _has_constant(draft):
        _refuse(draft)
    _mask(draft, np.asarray(draft.of_pixels.smallest < -NOISE_SPAN * typical), "negative far beyond the noise")
    share = number / int(np.prod(draft.counts.shape))
    if draft.report(
        "negative-noise", "warning",
        f"{100 * share:.2g} % of all values are negative, typically by {typical:.2g}, as with readout noise; they are "
        "set to 0. The model expects photon noise only.",
        setting="data.negative=refuse", evidence={"share": share, "typical": typical, "darkest_mean": darkest},
    ):  # fmt: skip
        draft.correct(ClipNegative())


def _negative_values(frames: FrameStack) -> tuple[int, NDArray[np.float64]]:
    """Number of negative values, and so many of them, evenly spread in each block, that no more than ``MOST`` are kept.

    Below ``MOST`` values in all frames these are all.
    """
    step = -(-int(np.prod(frames.shape)) // MOST)
    number, found = 0, []
    for _, block in frames.blocks():
        negative = block[block < 0]
        number += len(negative)
        found.append(negative[::step].astype(np.float64))
    return number, np.concatenate(found)


def _has_constant(draft: Draft) -> bool:
    """True if all values are whole numbers less one constant, which was subtracted and is not whole."""
    if not np.issubdtype(draft.counts.dtype, np.floating):
        return False
    values = draft.counts[:EXAMINED][:, draft.valid].astype(np.float64)
    constant = -float(values.min())
    raised = values + constant
    whole = np.abs(raised - np.round(raised)) < WHOLE * np.maximum(1.0, np.abs(values))
    return bool(whole.mean() > 0.99 and abs(constant - round(constant)) > WHOLE)


def _wrapped(draft: Draft) -> NDArray[np.bool_]:
    """Pixels that are negative in some frames and close to the largest number of their type in others."""
    if not np.issubdtype(draft.counts.dtype, np.signedinteger):
        return np.zeros_like(draft.valid)
    near = np.iinfo(draft.counts.dtype).max // 2
    return np.asarray((draft.of_pixels.smallest < 0) & (draft.of_pixels.largest > near))


def _mask(draft: Draft, pixels: NDArray[np.bool_], reason: str) -> None:
    number = int(pixels.sum())
    if number and draft.report(
        "pixels-sentinel", "fixed", f"{counted(number, 'detector pixel')} masked: {reason}.", pixels=pixels
    ):
        draft.mask(pixels)


def _refuse(draft: Draft) -> None:
    pixels = int((draft.of_pixels.smallest < 0).sum())
    row, frame = next(
        (which.start + i, block[i])
        for which, block in draft.counts.blocks()
        for i in np.flatnonzero((block < 0).any(axis=(1, 2)))
    )
    y, x = (int(i) for i in np.argwhere(frame < 0)[0])
    raise DataError(
        f"{draft.raw.source}: '{draft.raw.counts_name}' is negative in {counted(pixels, 'pixel')}, first "
        f"{frame[y, x]} in frame {int(draft.frames[row])} at (y, x) = ({y}, {x}); expected photon "
        "counts, at least 0.",
        hint="Do not subtract a background from counts; mask the pixels or store the raw frames.",
        finding="negative-noise",
    )
