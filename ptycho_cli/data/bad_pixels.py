"""Hot and dead detector pixels, found from the frames of a scan alone.

Diffraction from a probe of half a frame's width or less is smooth over two or three detector pixels, in each frame and
in their sum. A pixel far above its neighbours in most frames is therefore hot, a pixel that stays dark among bright
ones is dead, and a pixel that varies less than counted photons do is stuck.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.frame_stack import FrameStack, stack_of
from ptycho_cli.data.frame_statistics import PixelStatistics, gather

Mask = NDArray[np.bool_]
Totals = NDArray[np.float64]

MIN_NEIGHBOURS = 7  # valid ones of eight; a masked area beside a pixel may be as bright as the pixel
MIN_FRAMES_HOT = 16  # with fewer, one speckle can be bright in most frames
EXCESS = 2.0  # least ratio of a hot pixel to its third brightest neighbour, and to that ratio where light is sharpest
SHARPEST = 0.01  # share of the pixels that count as the sharpest; bad pixels are fewer
MOST_HOT = 8  # number of the sharpest pixels on a small detector
SIGMAS = 6.0  # above chance: one of 1e9 pixels
BEAM_PX = 2  # radius around the direct beam, which may be a single pixel
ALONE = 75.0  # nats against a true 0 of a single pixel, since a frame may have dark places
DARK = 25.0  # photons over all frames up to which a pixel or line counts as dark
CUT = 1000.0  # photons of all frames in the row or column next to a dark margin that was cut off, and opposite to it
CUT_SHARE = 0.7  # of the light one and two pixels further: what that row or column has at least
STEADY = 0.1  # variance of a stuck pixel, relative to that of Poisson counts
MIN_FRAMES_STUCK = 32  # with this many, a variance is that low by chance in one of 1e10 pixels


@dataclass(frozen=True, eq=False)
class BadPixels:
    """Invalid detector pixels, bool ``(y, x)``; no pixel is both."""

    hot: Mask
    dead: Mask


def find_bad_pixels(counts: Any, mask: Mask, known: PixelStatistics | None = None) -> BadPixels:
    """Find pixels that count too much, too little, or too steadily.

    - *Hot*: over all frames more than twice the third brightest of the eight neighbours (three hot pixels may be
      adjacent), and more than twice the ratio that the sharpest pixels of this scan have; and above that neighbour in
      at least half as many frames as a constant rate would be. Never the direct beam, nor a pixel within ``BEAM_PX`` of
      a corner or the middle, where the beam may be.
    - *Stuck*, counted with the hot: a variance below a tenth of the Poisson variance, which other pixels have.
    - *Dead*: 0 in all frames, in a row or column without light, or where the third darkest neighbour makes that
      improbable, even with the spread of speckle intensities, for which ``P(0) = 1 / (1 + mean)``; and in a rectangle
      at the edge of the frame beside which the light does not fade, as it would by itself.

    Args:
        counts: Photons, ``(frame, y, x)``, 0 where masked: an array or a stack.
        mask: Pixels that are valid so far, bool ``(y, x)``.
        known: Statistics of the pixels, if they are known.
    """
    stack = stack_of(counts)
    if known is None:
        known = PixelStatistics(stack)
        gather(stack, known)
    total, number = known.total, len(stack)
    hot = _hot(stack, total, mask & ~_dead(total, mask, number)) | _stuck(known, mask)
    usual = np.where(hot, 0.0, total)
    return BadPixels(hot, _dead(usual, mask & ~hot, number))


def _ranked(values: Totals, *, largest: bool) -> Totals:
    """Third largest or smallest of a pixel's eight neighbours, NaN where fewer than three are known.

    Neighbours beyond an edge are those at the opposite edge.
    """
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    around = np.stack([np.roll(values, step, (0, 1)) for step in steps])
    sign = -1.0 if largest else 1.0
    third = np.sort(np.where(np.isnan(around), np.inf, sign * around), axis=0)[2]
    return np.asarray(np.where(np.isfinite(third), sign * third, np.nan))


def _valid_neighbours(mask: Mask) -> NDArray[np.int64]:
    """Number of valid pixels among the eight neighbours of each pixel, ``(y, x)``."""
    steps = [(y, x) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]
    return np.asarray(np.sum([np.roll(mask, step, (0, 1)) for step in steps], axis=0))


def _hot(counts: FrameStack, total: Totals, mask: Mask) -> Mask:
    found = np.zeros_like(mask)
    if len(counts) < MIN_FRAMES_HOT:
        return found
    beside = _ranked(np.where(mask, total, np.nan), largest=True)
    known = mask & np.isfinite(beside) & (_valid_neighbours(mask) >= MIN_NEIGHBOURS)
    if not known.any():
        return found
    beside = np.where(known, beside, 0.0)
    clear = known & (beside > DARK)
    ratios = np.sort(total[clear] / beside[clear])[::-1]
    sharp = ratios[max(MOST_HOT, int(SHARPEST * ratios.size)) :][:1]
    limit = EXCESS * max(1.0, float(sharp.sum()))
    excess = total - limit * beside
    suspects = known & ~_beam(beside) & (excess > SIGMAS * np.sqrt(total + limit**2 * beside))
    places = np.argwhere(suspects)
    above = np.zeros(len(places), dtype=np.int64)  # frames in which a pixel is above its third brightest neighbour
    for _, block in counts.blocks() if len(places) else ():
        for i, (row, column) in enumerate(places):
            near = _neighbours(block, mask, row, column)
            above[i] += (block[:, row, column] > np.partition(near, -3, axis=1)[:, -3]).sum()
    for number, (row, column) in zip(above, places, strict=True):
        found[row, column] = number / len(counts) >= 0.5 * -np.expm1(-total[row, column] / len(counts))
    return found


def _beam(beside: Totals) -> Mask:
    """Pixels where the direct beam may be: around both places of the zero frequency, and the brightest neighbours."""
    found = np.zeros(beside.shape, dtype=np.bool_)
    middle = tuple(n // 2 for n in beside.shape)
    for place in ((0, 0), middle, np.unravel_index(beside.argmax(), beside.shape)):
        rows, columns = (np.abs(np.fft.fftfreq(n, 1 / n)) <= BEAM_PX for n in beside.shape)
        found |= np.roll(rows, place[0])[:, None] & np.roll(columns, place[1])
    return found


def _stuck(known: PixelStatistics, mask: Mask) -> Mask:
    number, bright = known.n_frames, mask & (known.total > DARK)
    if number < MIN_FRAMES_STUCK or not bright.any():
        return np.zeros_like(mask)
    mean = known.total / number
    square = np.maximum(known.squares - known.total * mean, 0)
    spread = np.divide(square / (number - 1), mean, out=np.ones_like(mean), where=bright)
    photons = float(np.percentile(spread[bright], 5)) > 0.5
    return np.asarray(bright & (spread < STEADY)) if photons else np.zeros_like(mask)


def _dead(total: Totals, mask: Mask, n_frames: int) -> Mask:
    """Pixels that stay 0 among bright ones: gaps between detector modules, and single pixels."""
    dark: Mask = mask & (total == 0)
    if not dark.any():
        return dark
    least = np.nan_to_num(_ranked(np.where(mask, total, np.nan), largest=False))
    alone = dark & (n_frames * np.log1p(least / n_frames) > ALONE)
    gaps = _gap(total.sum(axis=1))[:, None] | _gap(total.sum(axis=0))
    inside = _inside(total.sum(axis=1) > 0)[:, None] & _inside(total.sum(axis=0) > 0)
    return np.asarray(alone | (dark & gaps & inside) | (mask & _cut_off(np.where(mask, total, 0.0))))


def _cut_off(total: Totals) -> Mask:
    """Dark rectangles in the corners and along the edges of a frame, where its light ends without fading."""
    found = np.zeros(total.shape, dtype=np.bool_)
    opposite = _opposite(total)
    for rows in (slice(None), slice(None, None, -1)):
        for columns in (slice(None), slice(None, None, -1)):
            height, width = _dark_corner(total[rows, columns], opposite[rows, columns])
            found[rows, columns][:height, :width] = True
    return found


def _opposite(total: Totals) -> Totals:
    """Light at the opposite side of the centroid, which the mean of many frames has alike; 0 beyond an edge."""
    found = np.zeros_like(total)
    if total.any():
        places = [np.rint(2 * np.average(axis, weights=total)).astype(int) - axis for axis in np.indices(total.shape)]
        inside = np.logical_and.reduce([(at >= 0) & (at < n) for at, n in zip(places, total.shape, strict=True)])
        found[inside] = total[places[0][inside], places[1][inside]]
    return found


def _dark_corner(total: Totals, opposite: Totals) -> tuple[int, int]:
    """Height and width of the largest dark rectangle in the upper left corner that cuts light off; 0 if none does."""
    lit = np.pad(total > 0, ((0, 0), (0, 1)), constant_values=True)
    widths = np.minimum.accumulate(lit.argmax(axis=1))
    narrower = np.append(widths[1:] < widths[:-1], True)
    best = 0, 0
    for height, width in ((int(row) + 1, int(widths[row])) for row in np.flatnonzero(narrower & (widths > 0))):
        below, beside = np.s_[:, :width], np.s_[:height, :]
        ends = [
            _ends_sharply(light.sum(axis=1), mirrored.sum(axis=1), at)
            for light, mirrored, at in (
                (total[below], opposite[below], height), (total[beside].T, opposite[beside].T, width),
            )
            if 0 < at < len(light)
        ]  # fmt: skip
        if ends and all(ends) and height * width > best[0] * best[1]:
            best = height, width
    return best


def _ends_sharply(light: Totals, opposite: Totals, at: int) -> bool:
    """Whether light by row does not fade before it ends at a row, or goes on at the opposite side of the centroid."""
    fades = light[at] < CUT_SHARE * light[at + 1 : at + 3].max(initial=0)
    goes_on = at > 1 and opposite[at - 2 : at].min() > CUT
    return bool(light[at] > CUT and (goes_on or not fades))


def _gap(light: Totals) -> NDArray[np.bool_]:
    """Rows or columns without light between bright ones."""
    found = np.zeros(light.shape, dtype=np.bool_)
    for before, after in pairwise(np.flatnonzero(light)):
        found[before + 1 : after] = min(light[before], light[after]) > DARK
    return found


def _inside(light: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Rows or columns from the first to the last with light; the dark margins of a frame are true zeros."""
    places = np.flatnonzero(light)
    found = np.zeros(light.shape, dtype=np.bool_)
    if places.size:
        found[places[0] : places[-1] + 1] = True
    return found


def _neighbours(counts: NDArray[Any], mask: Mask, row: int, column: int) -> NDArray[Any]:
    """Counts of the valid pixels around one, ``(frame, neighbour)``."""
    rows, columns = (np.arange(i - 1, i + 2) % n for i, n in zip((row, column), mask.shape, strict=True))
    valid = mask[np.ix_(rows, columns)].copy()
    valid[1, 1] = False
    return counts[:, rows[:, None], columns][:, valid]
