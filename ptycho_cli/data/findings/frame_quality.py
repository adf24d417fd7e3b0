"""Frames that are no diffraction patterns of this scan: blank, partly empty, too bright, foreign or repeated."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.special import i0e

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About
from ptycho_cli.data.frame_statistics import CELLS, cells_of

Frames = NDArray[np.int64]

BLANK = 0.02  # of the median photons of a frame
NEIGHBOURS = 6  # nearest frames whose photons are compared with those of a frame
BRIGHT = 4.0  # times the photons of the frames near by: more than an object or an uneven beam explains
SPREADS = 6.0  # robust standard deviations of that ratio's logarithm which a bright frame is away as well
RARE = 0.1  # of the frames that are too bright or unlike the others; more belong to the scan
FEWEST_FRAMES = 8  # of fewer, none can be called unlike the others
FEWEST_PHOTONS = 50.0  # in a frame whose pattern is judged
UNLIKE = 0.25  # of the way from photons in random places to the other frames
UNLIKE_SPREADS = 6.0  # robust standard deviations of the likeness that a foreign frame is away as well
CLEAR = 0.05  # difference between the usual likeness and that of random places, below which nothing can be told
MISSING = 0.1  # of a frame's light that a lost rectangle misses; a weak frame may lack the light at high angles
CHANCE = 1e-6  # that any two frames are equal by accident


ABOUT = {
    "frames-blank": About(
        "frames without light", "left out", f"A frame has less than {BLANK:.0%} of the median photons of a frame.",
    ),
    "frames-invalid": About(
        "frames that the detector lost, wholly or in part", "left out",
        "Half of a frame holds a value that means no data, or 2 % more of it than in other frames; the file masks as "
        f"much of it; or an empty rectangle lacks more than {MISSING:.0%} of the light.",
    ),
    "frames-outlier": About(
        "frames that are far too bright, unlike all others, or fit nowhere", "left out",
        f"A frame has more than {BRIGHT:g} times the photons of the {NEIGHBOURS} nearest frames and differs by "
        f"{SPREADS:g} robust standard deviations; or its light, added up in {CELLS} x {CELLS} cells, is closer to "
        f"photons in random places than to the mean pattern ({UNLIKE:g} of the way). Not where this holds for more "
        f"than {RARE:.0%} of the frames. Or it fits nowhere: fits with the file's probe explain the others, but leave "
        "three times as much of it as of the typical frame, in units of photon noise, and a tenth of what the mean "
        "pattern leaves, at any position within 8 px and with any intensity (not with `--quick`). After a "
        "reconstruction a note names frames that nothing explains, or only another intensity "
        "([the verdict](metrics.md#the-verdict)).",
    ),
    "frames-duplicated": About(
        "frames that repeat an earlier one pixel for pixel", "left out",
        f"Photon noise would make two frames equal with a probability below {CHANCE:g}.",
    ),
}  # fmt: skip


def check_blank(draft: Draft) -> None:
    """Leave out frames without light, where others have it."""
    photons = draft.of_frames.photons
    usual = float(np.median(photons[photons > 0])) if photons.any() else 0.0
    rows = np.flatnonzero(photons < BLANK * usual)
    evidence = {"photons": float(photons[rows].max(initial=0)), "usual_photons": usual}
    draft.leave_out("frames-blank", rows, "hardly any light", evidence=evidence, most=1.0)


def check_incomplete(draft: Draft) -> None:
    """Leave out frames in which a rectangle is empty that has light in the other frames."""
    if len(draft.counts) < FEWEST_FRAMES:
        return
    missing = missing_light(draft.of_frames.cells)
    rows = np.flatnonzero(missing > MISSING)
    evidence = {"missing_light": float(missing[rows].max(initial=0))}
    draft.leave_out("frames-invalid", rows, "a part of the frame is empty", evidence=evidence)


def missing_light(cells: NDArray[np.float64]) -> NDArray[np.float64]:
    """Share of its light that each frame misses in its largest empty rectangle, ``(frame,)``.

    Args:
        cells: Photons of each frame in cells of pixels, ``(frame, row, column)``.
    """
    photons = cells.sum(axis=(1, 2))
    if not photons.any():
        return np.zeros(len(cells))
    pattern = (cells[photons > 0] / photons[photons > 0, None, None]).mean(axis=0)
    # A frame that lost a part has fewer photons than it would have; dividing by the rest corrects that.
    empty = cells == 0
    rest = 1 - np.where(empty, pattern, 0).sum(axis=(1, 2))
    missing = np.zeros(len(cells))
    suspects = (1 - rest > MISSING) & (photons * (1 - rest) > FEWEST_PHOTONS * rest)
    for row in np.flatnonzero(suspects):
        missing[row] = _largest_empty_rectangle(empty[row], pattern)
    return missing


def _largest_empty_rectangle(empty: NDArray[np.bool_], pattern: NDArray[np.float64]) -> float:
    """Most light of a pattern ``(y, x)`` that a rectangle of empty cells holds."""
    largest = 0.0
    for top in range(len(empty)):
        for bottom in range(top + 1, len(empty) + 1):
            light = np.where(empty[top:bottom].all(axis=0), pattern[top:bottom].sum(axis=0), np.nan)
            for run in np.split(light, np.flatnonzero(np.isnan(light))):
                largest = max(largest, float(np.nansum(run)))
    return largest


def check_outliers(draft: Draft) -> None:
    """Leave out frames that are far too bright, and then frames whose light lies elsewhere than in all others."""
    if len(draft.counts) < FEWEST_FRAMES:
        return
    ratio = photons_beside_neighbours(draft.of_frames.photons, draft.positions)
    logs = np.log(np.maximum(ratio, 1e-3))
    bright = _if_rare((ratio > BRIGHT) & (logs - np.median(logs) > SPREADS * max(_spread(logs), 0.02)))
    evidence = {"times_usual_photons": float(ratio[bright].max(initial=0))}
    draft.leave_out(
        "frames-outlier", bright, f"more than {BRIGHT:g} times the photons of neighbouring frames", evidence=evidence
    )
    _check_patterns(draft)


def photons_beside_neighbours(photons: NDArray[np.float64], positions: NDArray[np.float64]) -> NDArray[np.float64]:
    """Photons of each frame relative to the median of its nearest neighbours, ``(frame,)``.

    Args:
        photons: Photons of each frame, ``(frame,)``.
        positions: Position of each frame in any unit, ``(frame, 2)``.
    """
    _, nearest = cKDTree(positions).query(positions, k=min(NEIGHBOURS + 1, len(positions)))
    others = np.where(nearest == np.arange(len(photons))[:, None], np.nan, photons[nearest])
    return np.asarray(photons / np.maximum(np.nanmedian(others, axis=1), 0.5))


def _if_rare(outlier: NDArray[np.bool_]) -> Frames:
    """Rows of outliers; none if there are many."""
    return np.flatnonzero(outlier) if outlier.mean() <= RARE else np.zeros(0, dtype=np.int64)


def _check_patterns(draft: Draft) -> None:
    likeness, random = pattern_likeness(draft.of_frames.cells, cells_of(draft.valid[None])[0])
    usual = float(np.median(likeness))
    limit = random + UNLIKE * np.maximum(usual - random, 0)
    foreign = (likeness < limit) & (likeness < usual - UNLIKE_SPREADS * _spread(likeness))
    rows = _if_rare(foreign & (usual - random > CLEAR) & (draft.of_frames.photons > FEWEST_PHOTONS))
    evidence = {"likeness": float(likeness[rows].min(initial=1)), "usual_likeness": usual}
    draft.leave_out("frames-outlier", rows, "a pattern unlike all others", evidence=evidence)


def pattern_likeness(
    cells: NDArray[np.float64], pixels: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Likeness of each frame to the mean pattern, and the same for its photons in random places.

    Cells of pixels show where the light is, and do not need a further pass through the frames.

    Args:
        cells: Photons of each frame in cells of pixels, ``(frame, row, column)``.
        pixels: Pixels of each cell that are used, ``(row, column)``.

    Returns:
        Bhattacharyya coefficient in [0, 1] of each frame and the mean pattern, ``(frame,)``, and its expectation for a
        random permutation of the frame's pixels.
    """
    shares = np.maximum(cells, 0).reshape(len(cells), -1)
    shares = shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-9)
    pattern, roots = np.sqrt(shares.mean(axis=0)), np.sqrt(shares)
    pattern /= max(float(np.sqrt((pattern**2).sum())), 1e-9)
    even = np.sqrt(pixels.reshape(-1) / max(1.0, float(pixels.sum())))
    return roots @ pattern, (roots @ even) * float(pattern @ even)


def check_duplicates(draft: Draft) -> None:
    """Leave out frames that repeat an earlier frame pixel for pixel: the detector handed one image out again."""
    _, first = np.unique(draft.of_frames.digests, return_index=True)
    repeated = np.setdiff1d(np.arange(len(draft.counts)), first)
    if len(repeated):
        rows = np.array([row for row in repeated if not _equal_by_chance(draft, int(row))], dtype=np.int64)
        draft.leave_out("frames-duplicated", rows, "the same as an earlier frame")


def _equal_by_chance(draft: Draft, row: int) -> bool:
    """True if two frames of the scan with as few photons as this one may be equal by accident.

    Two Poisson numbers of mean ``m`` are equal with probability ``exp(-2 m) I_0(2 m)``.
    """
    pattern = draft.of_pixels.total[draft.valid]
    expected = pattern * float(draft.of_frames.photons[row]) / max(float(pattern.sum()), 1e-9)
    pairs = len(draft.counts) ** 2 / 2
    return bool(np.log(i0e(2 * expected)).sum() + np.log(pairs) > np.log(CHANCE))


def _spread(values: NDArray[np.float64]) -> float:
    """Standard deviation of the bulk of the values: 1.4826 times their median distance from the median."""
    return 1.4826 * float(np.median(np.abs(values - np.median(values))))
