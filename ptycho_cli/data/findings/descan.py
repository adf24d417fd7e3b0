"""Motion of the whole pattern on the detector with the position of the beam: descan, or a beam that drifts."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About
from ptycho_cli.data.frame_statistics import cell_edges

FAR_PX = 1.0  # from one end of the scan to the other
SHARE = 0.3  # of the motion of the light: what the positions explain
CLEAR = 7.0  # variance ratio of a plane over the positions; 888 good scans reach 3.5
FEWEST_FRAMES = 64  # a few frames of a strong object move the light as they please

ABOUT = {
    "beam-descan": About(
        "a pattern that moves on the detector with the scan (descan, or a beam that drifts)",
        "named; `data.descan=remove` moves the frames back, by whole pixels",
        f"A plane over the positions of at least {FEWEST_FRAMES} frames moves the centre of the light by more than "
        f"{FAR_PX:g} detector pixel from one end of the scan to the other, explains more than {SHARE:.0%} of all its "
        f"motion, and has a variance ratio above {CLEAR:g}, in which neighbours that move alike count as one frame. A "
        "sample that is a lens moves the light in the same way.",
    ),
}  # fmt: skip


@dataclass(frozen=True, eq=False)
class Motion:
    """Motion of the light that goes with the positions.

    Attributes:
        of_frames_px: Detector pixels (y, x) by which the light of each frame is moved, ``(frame, 2)``.
        share: Its share of the motion of the light.
        clearness: Variance ratio (F) of the plane, in which neighbours that move alike count as one frame.
    """

    of_frames_px: NDArray[np.float64]
    share: float
    clearness: float

    @property
    def span_px(self) -> NDArray[np.float64]:
        """Largest difference (y, x) between two frames."""
        return np.asarray(np.ptp(self.of_frames_px, axis=0))


def motion_with_scan(cells: NDArray[np.float64], shape: tuple[int, ...], positions: NDArray[np.float64]) -> Motion:
    """Fit a plane over the positions to the centres of the light.

    A centre is the phase of the first Fourier coefficient, which an even background does not move.

    Args:
        cells: Light of each frame in cells of pixels, ``(frame, row, column)``, as in ``FrameStatistics``.
        shape: Pixels (y, x) of a frame.
        positions: Places of the frames in any unit, ``(frame, 2)``.
    """
    centres = np.column_stack([_centres(cells, axis, n) for axis, n in enumerate(shape)])
    centres -= centres.mean(axis=0)
    places = positions - positions.mean(axis=0)
    moved = places @ np.linalg.lstsq(places, centres, rcond=None)[0]
    left = centres - moved
    explained, unexplained = float((moved**2).sum()), max(float((left**2).sum()), 1e-12)
    neighbours = cKDTree(places).query(places, k=2)[1][:, 1]
    alike = min(max(float((left * left[neighbours]).sum()) / unexplained, 0.0), 0.99)
    independent = len(places) * (1 - alike) / (1 + alike)
    return Motion(
        moved, explained / (explained + unexplained), explained / unexplained * max(independent - 3, 0.0) / 2
    )  # fmt: skip


def _centres(cells: NDArray[np.float64], axis: int, n: int) -> NDArray[np.float64]:
    """Centre of each frame's light along an axis of ``n`` pixels, relative to that of all frames together."""
    edges = cell_edges(n)
    first = cells.sum(axis=2 - axis) @ np.exp(1j * np.pi * (edges[1:] + edges[:-1]) / n)
    return np.asarray(np.angle(first * np.conj(first.sum())) * n / (2 * np.pi))


def check(draft: Draft) -> None:
    """Report motion that goes with the positions; where the user asks for it, move the frames back."""
    remove = draft.options.descan == "remove"
    if len(draft.counts) < (2 if remove else FEWEST_FRAMES):
        return
    motion = motion_with_scan(draft.of_frames.cells, draft.valid.shape, draft.positions)
    span, steps = motion.span_px, -np.round(motion.of_frames_px).astype(np.int64)
    moves = f"The pattern moves on the detector by up to ({span[0]:.1f}, {span[1]:.1f}) px (y, x) with the positions"
    evidence = {"span_y_px": float(span[0]), "span_x_px": float(span[1]), "share": motion.share}
    if not remove:
        if motion.share < SHARE or motion.clearness < CLEAR or span.max() < FAR_PX:
            return
        draft.report(
            "beam-descan", "warning",
            f"{moves}, as with descan or a beam that drifts: the phase of the object then has a parabola that is not "
            "its own. data.descan=remove moves the frames back; data.findings.beam-descan=note keeps them, as for a "
            "lens as the sample.",
            setting="data.descan=remove", evidence=evidence,
        )  # fmt: skip
    elif not steps.any():
        draft.notes.append(f"{moves}, less than data.descan=remove can move back.")
    else:  # as the user asks, also where the finding is ignored
        draft.report(
            "beam-descan", "fixed", f"{moves}; frames are moved back by whole pixels, which removes most of it.",
            setting="data.descan=keep", evidence=evidence,
        )  # fmt: skip
        draft.roll_each(steps)
