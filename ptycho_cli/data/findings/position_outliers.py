"""Positions that cannot be right: frames far from all others, and many frames at one place."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from ptycho_cli.data.findings.draft import MOST, Draft
from ptycho_cli.data.findings.finding import About

FAR = 3.0  # frame widths, and FAR_STEPS usual steps, from any other frame of the scan
FAR_STEPS = 10.0
FEW = 0.05  # of the frames: a small island far away is an error, a large one may be intended
REPEATED = 0.02  # of the frames that share a place: fewer are of no interest


ABOUT = {
    "positions-outlier": About(
        "frames far from all others, or that fit only elsewhere, or without a position", "left out",
        f"A group of at most {FEW:.0%} of the frames is more than {FAR:g} frame widths and {FAR_STEPS:g} steps away "
        "from the rest. Larger groups so far apart are islands, which are moved side by side. Or fits with the file's "
        "probe explain a frame only up to 8 px away, the others where they are (not with `--quick`, nor with "
        "`physics.refine_positions=true`, which moves frames). After a reconstruction a note names frames that fit "
        "some pixels away from their positions ([the verdict](metrics.md#the-verdict)).",
    ),
    "positions-duplicated": About(
        "many frames at one place", "reported", f"More than {REPEATED:.0%} of the frames share their position.",
    ),
}  # fmt: skip


def isolated(positions: NDArray[np.float64], reach: float) -> NDArray[np.int64]:
    """Rows of positions in small groups that are further than ``reach`` from all others; see ``groups_within``."""
    group = groups_within(positions, reach)
    sizes = np.bincount(group)
    small = (sizes <= max(1, FEW * len(positions))) & (sizes < sizes.max())
    return np.flatnonzero(small[group])


def groups_within(positions: NDArray[np.float64], reach: float) -> NDArray[np.int64]:
    """Number of the group of each position, from 0; positions of different groups are further apart than ``reach``.

    Positions are sorted into square cells of that width; cells that touch belong to one group.

    Args:
        positions: Positions, ``(frame, 2)``.
        reach: Distance, in the same unit.
    """
    cells, cell_of = np.unique(np.floor(positions / reach), axis=0, return_inverse=True)
    pairs = cKDTree(cells).query_pairs(1.5, output_type="ndarray")
    touching = coo_array((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    _, group_of = connected_components(touching, directed=False)
    return np.asarray(group_of[np.ravel(cell_of)], dtype=np.int64)


def reach_px(positions_px: NDArray[np.float64], n_pixels: int) -> float:
    """Distance in object pixels beyond which groups of frames are separate."""
    return max(FAR * n_pixels, FAR_STEPS * usual_step(positions_px))


def usual_step(positions: NDArray[np.float64]) -> float:
    """Median distance of a position to its nearest neighbour at another place; 0 where there is none."""
    places = np.unique(positions, axis=0)
    if len(places) < 2:
        return 0.0
    distance, _ = cKDTree(places).query(places, k=2)
    return float(np.median(distance[:, 1]))


def check(draft: Draft, positions_px: NDArray[np.float64], n_pixels: int) -> NDArray[np.bool_]:
    """Leave out frames far from all others.

    Args:
        draft: The draft.
        positions_px: Positions of its frames in object pixels, ``(frame, 2)``.
        n_pixels: Pixels along one side of a frame.

    Returns:
        Which of the frames are kept, bool ``(frame,)``.
    """
    reach = reach_px(positions_px, n_pixels)
    rows = isolated(positions_px, reach)
    before = draft.frames
    draft.leave_out(
        "positions-outlier", rows, f"more than {reach:.4g} px away from all others", evidence={"reach_px": reach}
    )
    return np.isin(before, draft.frames)


def check_unknown(draft: Draft) -> None:
    """Leave out frames whose position is not finite, unless the user keeps all frames or they are most of the scan."""
    rows = np.flatnonzero(~np.isfinite(draft.positions).all(axis=1))
    if draft.options.reject_bad_frames == "auto" and len(rows) <= MOST * len(draft.positions):
        draft.leave_out("positions-outlier", rows, "its position is NaN or infinite")


def check_duplicated(draft: Draft, positions_px: NDArray[np.float64]) -> None:
    """Report frames at one and the same place: repeated exposures, or a stage that did not move."""
    _, inverse, counts = np.unique(positions_px, axis=0, return_inverse=True, return_counts=True)
    rows = np.flatnonzero(counts[np.ravel(inverse)] > 1)
    if len(rows) > max(2, REPEATED * len(positions_px)):
        draft.report(
            "positions-duplicated", "note",
            f"{len(rows)} frames share their position with another: repeated exposures, or a stage that did not move.",
            rows=rows,
        )  # fmt: skip
