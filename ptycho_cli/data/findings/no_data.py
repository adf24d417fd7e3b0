"""Values that mean "no data": detector gaps, and frames that the detector lost.

Detectors mark a pixel without a measurement by the largest number of their type, the one below it, a negative number
or NaN. Read as photons, such a value explains itself: the fit puts all light there, and the R-factor becomes excellent.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, counted
from ptycho_cli.data.frame_corrections import Marker, Markers, ZeroMarkers
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.frame_statistics import PixelStatistics, Top, gather, of_frames, of_pixels

Marked = NDArray[np.bool_]

LOST = 0.5  # share of a frame without data above which the frame is lost
PARTLY_LOST = (
    0.02  # the same, of pixels that other frames have: above it the frame is left out, below it pixels are masked
)
FAR_ABOVE = 4.0  # times all other values: a constant so large is not a photon count
SURROUNDED = 0.1  # of a value that its neighbours reach: then it is saturated light and not a gap
FEWEST = 8  # pixels with a constant that is not the largest number of some bits; fewer are stuck pixels
MOST_MARKERS = 4  # different negative markers; more are noise or a subtracted background
DARKEST = 0.1  # share of the pixels, of those that are not negative in all frames, which show noise if there is any
RARE = 0.01  # share of the frames in which these may be negative without noise
OFTEN = 0.1  # share of the frames with negative values in pixels that are not always negative: fewer lost a part
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
    markers, values = markers_of(draft)
    if not values:
        return
    shown = ", ".join(f"{value:.12g}" for value in values)
    marked = draft.counts.then(markers)
    rows = lost_frames(marked)
    kept = np.ones(len(marked), dtype=np.bool_)
    kept[rows] = False
    draft.correct(ZeroMarkers(markers))
    draft.leave_out("frames-invalid", rows, f"many pixels hold a value that means no data ({shown})", most=1.0)
    pixels = np.asarray(share_of_frames(marked.select(kept)) > 0) & draft.valid
    if pixels.any() and draft.report(
        "pixels-sentinel", "fixed",
        f"{counted(int(pixels.sum()), 'detector pixel')} masked, which hold a value that means no data ({shown}).",
        pixels=pixels, evidence={"value": values[-1], "pixels": float(pixels.sum())},
    ):  # fmt: skip
        draft.mask(pixels)


def lost_frames(marked: FrameStack) -> NDArray[np.int64]:
    """Frames without data in most pixels, or in many that usually have data, as rows of ``marked``.

    Args:
        marked: Where values mean "no data", bool ``(frame, y, x)``.
    """
    lost = of_frames(marked, lambda block: block.mean(axis=(1, 2))) > LOST
    if lost.all():  # a small detector in a large frame
        lost[:] = False
    usual = share_of_frames(marked.select(~lost)) > 0.5
    return np.flatnonzero(lost | (of_frames(marked, lambda block: (block & ~usual).mean(axis=(1, 2))) > PARTLY_LOST))


def share_of_frames(marked: FrameStack) -> NDArray[np.float64]:
    """Share of the frames in which each pixel is marked, ``(y, x)``."""
    return np.asarray(of_pixels(marked, lambda block: block.sum(axis=0)) / max(1, len(marked)))


def markers_of(draft: Draft) -> tuple[Markers, list[float]]:
    """Where values mean "no data", and which values these are."""
    seen, search = draft.of_pixels, _Search(draft.counts, draft.of_pixels)
    if not seen.all_finite:
        search.add(Marker(float("nan")))
    if seen.smallest.min() < 0:
        search.add_negative()
    if seen.limits:
        search.add_type_limits()
    search.add_large_constants(draft)
    return Markers(tuple(search.markers)), [float(marker.value) for marker in search.markers]


class _Search:
    """Markers that were found so far.

    Attributes:
        markers: The markers.
    """

    def __init__(self, frames: FrameStack, seen: PixelStatistics) -> None:
        self._frames, self._seen = frames, seen
        self.markers: list[Marker] = []

    def add(self, marker: Marker) -> None:
        """Add one."""
        self.markers.append(marker)

    def _left(self, *more: Marker) -> FrameStack:
        """The frames with 0 where markers are, and where ``more`` are."""
        markers = (*self.markers, *more)
        return self._frames.then(ZeroMarkers(Markers(markers))) if markers else self._frames

    def add_negative(self) -> None:
        """Negative whole numbers of few different values, unless they come from noise or a subtracted background."""
        values = np.zeros(0, dtype=self._frames.dtype)
        for _, block in self._left().blocks():
            values = np.union1d(values, block[block < 0])
            if len(values) > MOST_MARKERS:
                return
        if not len(values) or np.any(values != np.floor(values)):
            return
        if values[0] >= -SMALL and self._negative_from_noise():
            return
        for value in values:
            self.add(Marker(value))

    def _negative_from_noise(self) -> bool:
        """True if negative values lie in other dark pixels in each frame, as noise or a subtracted background leaves.

        Markers stand in the same pixels in all frames, bright or dark, but for frames that lost a part.
        """
        left = self._left()
        negative = of_frames(left, lambda block: (block < 0).mean(axis=(1, 2)))
        usual = float(np.median(negative))
        kept = left.select((negative <= 2 * usual + PARTLY_LOST) & (2 * negative + PARTLY_LOST >= usual))
        share = of_pixels(kept, lambda block: (block < 0).sum(axis=0)) / len(kept)
        sometimes = share < 1
        if not sometimes.any():
            return True
        scattered = sometimes & (share > 0)
        if of_frames(kept, lambda block: np.asarray((block < 0)[:, scattered].any(axis=1))).mean() < OFTEN:
            return False
        light = of_pixels(kept, lambda block: block.clip(0).sum(axis=0, dtype=np.float64))[sometimes]
        share = share[sometimes][np.argsort(light)]  # from the darkest pixel to the brightest
        dark = share[: max(1, round(DARKEST * len(share)))].mean()
        bright = share[np.cumsum(np.sort(light)) >= light.sum() / 2].mean()  # the pixels that hold half of the light
        return bool(dark > RARE or bright < share.mean() / 2)

    def add_type_limits(self) -> None:
        """The largest number of a type, or one below it, where it means "no data" and not saturation."""
        for limit in sorted(self._seen.limits, reverse=True):
            marker = Marker(self._frames.dtype.type(limit))
            kept = self._without_light(marker)
            if kept is not None:
                self.add(kept)

    def _without_light(self, marker: Marker) -> Marker | None:
        """The part of a marker that is without data and not saturated; None if there is none.

        Nothing saturates if no other value comes near. Else only lost frames and pixels that always have the value are
        without data, provided that these do not lie in bright light.
        """
        frames, rest, limit = self._left().then(marker), self._left(marker), float(marker.value)
        if not any(block.any() for _, block in frames.blocks()):  # the next limit, rounded to the same float
            return None
        if max(float(block.max(initial=0)) for _, block in rest.blocks()) * FAR_ABOVE < limit:
            return marker
        lost = of_frames(frames, lambda block: block.mean(axis=(1, 2))) > LOST
        kept = np.flatnonzero(~lost)
        always = np.zeros(frames.shape[1:], dtype=np.bool_)
        brightest = np.zeros(frames.shape[1:])
        if len(kept):
            always = share_of_frames(frames.select(kept)) == 1
            for _, block in rest.select(kept).blocks():
                brightest = np.maximum(brightest, block.max(axis=0))
        gaps = _outside_light(always, brightest, SURROUNDED * limit)
        if not gaps.any() and not lost.any():
            return None
        of_base = np.zeros(self._frames.base.shape[0], dtype=np.bool_)
        of_base[self._frames.base_rows[lost]] = True
        return Marker(marker.value, gaps, of_base)

    def add_large_constants(self, draft: Draft) -> None:
        """Values far above all others that stay in the same pixels in most frames."""
        found: list[Marker] = []
        top = draft.top if not self.markers else self._top()
        while (largest := top.value) > 0:
            pixels = int((top.frames / len(self._frames) > 0.5).sum())
            usual = float(np.log2(float(largest) + 1)).is_integer()  # the largest number of some bits
            if pixels < (1 if usual else FEWEST):
                break
            found.append(Marker(largest))
            top = self._top(*found)
            if float(top.value) * FAR_ABOVE >= float(largest):
                found.pop()
                break
        self.markers += found

    def _top(self, *more: Marker) -> Top:
        left = self._left(*more)
        top = Top(left)
        gather(left, top)
        return top


def _outside_light(areas: Marked, brightest: NDArray[Any], limit: float) -> Marked:
    """Connected areas of ``(y, x)`` whose surrounding pixels stay below a limit, in the median."""
    labels, count = ndimage.label(areas, structure=np.ones((3, 3)))
    kept = np.zeros_like(areas)
    for number in range(1, count + 1):
        area = labels == number
        around = ndimage.binary_dilation(area, structure=np.ones((3, 3))) & ~areas
        if not around.any() or float(np.median(brightest[around])) < limit:
            kept |= area
    return kept
