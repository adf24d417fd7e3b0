"""Zingers: single values that a cosmic ray or a stray photon of high energy left in one frame."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, counted
from ptycho_cli.data.findings.spikes import EXCESS, SIGMAS, Spikes
from ptycho_cli.data.frame_corrections import ReplaceValues

FEWEST_FRAMES = 16  # from which a pixel is known without the frame in question
RANK = 3  # of the eight neighbours by their values: a zinger covers up to three pixels
MOST = 0.01  # of the values: more belong to the scan

ABOUT = {
    "pixels-zingers": About(
        "single values far too large, from cosmic rays (zingers)", "replaced by the median of their neighbours",
        f"A value exceeds {EXCESS:g} times the mean of its pixel in the other frames, and the value of its neighbour "
        f"of rank {RANK}, both by {SIGMAS:g} standard deviations of the noise. Not "
        f"where this holds for more than {MOST:.0%} of all values, or with fewer than {FEWEST_FRAMES} frames.",
    )
}  # fmt: skip


def check(draft: Draft) -> None:
    """Replace zingers by the median of their valid neighbours in the same frame."""
    number = len(draft.counts)
    if number < FEWEST_FRAMES:
        return
    zingers, values = _found(draft)
    if not values or len(values) > MOST * number * draft.valid.sum():
        return
    frames = np.unique(zingers.rows)
    if draft.report(
        "pixels-zingers", "fixed",
        f"{counted(len(values), 'value')} in {counted(len(frames), 'frame')} far above their surroundings (zingers, "
        "cosmic rays), replaced by the median of their neighbours.",
        rows=frames, evidence={"values": float(len(values))},
    ):  # fmt: skip
        draft.correct(ReplaceValues(draft.counts.base_rows[zingers.rows], zingers.pixels, np.array(values)))


def _found(draft: Draft) -> tuple[Spikes, list[float]]:
    """Zingers, and the values in their place."""
    spikes, number = draft.spikes, len(draft.counts)
    spikes = spikes.select(draft.valid[tuple(spikes.pixels.T)])
    if not len(spikes.rows):
        return spikes, []
    photon = max(1.0, draft.photon_value)
    others = (draft.of_pixels.total[tuple(spikes.pixels.T)] - spikes.values) / (number - 1)
    spikes = spikes.select(_exceed(spikes.values, others, photon))
    zingers, values = [], []
    read, frame = -1, np.zeros((0, 0))
    for i, (row, (y, x), value) in enumerate(zip(spikes.rows, spikes.pixels, spikes.values, strict=True)):
        if row != read:
            read, frame = row, draft.counts[row]
        near = _neighbours(frame, draft.valid, y, x)
        if len(near) >= RANK and _exceed(value, np.sort(near)[-RANK], photon):
            zingers.append(i)
            values.append(float(np.median(near)))
    return spikes.select(np.array(zingers, np.int64)), values


def _exceed(value: NDArray[np.float64], others: NDArray[np.float64], photon: float) -> NDArray[np.bool_]:
    """Whether values exceed others by far, and by more than chance."""
    return np.asarray(value - EXCESS * others > SIGMAS * np.sqrt(photon * value))


def _neighbours(frame: NDArray[Any], valid: NDArray[np.bool_], y: int, x: int) -> NDArray[Any]:
    """Values of the valid pixels around one, ``(n,)``."""
    rows, columns = slice(max(0, y - 1), y + 2), slice(max(0, x - 1), x + 2)
    used = valid[rows, columns].copy()
    used[y - rows.start, x - columns.start] = False
    return frame[rows, columns][used]
