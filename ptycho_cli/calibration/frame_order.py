"""Frames in the order of their positions: neighbours see much of the same object, so that their frames are alike.

Axes, rotations and scales leave neighbours neighbours. Where frames are alike, but not those of neighbours, positions
and frames are in different orders, or of different scans, and none of these explains them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.calibration.scan_canvas import central_frames
from ptycho_cli.data.scan import Scan

FRAMES = 256  # around the middle of a scan
NEIGHBOURS = 12  # of a frame
SHUFFLES = 99  # of the positions, to which the likeness of neighbours is compared
# Likeness that two halves of the photons agree upon to this correlation is no noise.
RELIABLE = 0.5
ALIKE = 3.0  # standard deviations over shuffles by which neighbours are at least more alike than others


@dataclass(frozen=True)
class NeighbourLikeness:
    """Likeness of frames, and of those at neighbouring positions.

    Likeness is the correlation of two patterns, squared: the pattern of a grating turns into its opposite from one
    position to the next.

    Attributes:
        reliability: Correlation of the likenesses of all pairs of frames between two halves of the photons.
        significance: How much more alike neighbours are than others, in standard deviations over shuffled positions.
    """

    reliability: float
    significance: float

    @property
    def is_shuffled(self) -> bool:
        """Whether frames are alike, but not those of neighbours."""
        return self.reliability > RELIABLE and self.significance < ALIKE


def neighbour_likeness(scan: Scan, *, seed: int = 0) -> NeighbourLikeness:
    """Compare the frames at neighbouring positions with all others.

    Args:
        scan: The scan.
        seed: Seed of the halves of the photons, and of the shuffles.
    """
    rng = np.random.default_rng([seed, 17])
    rows = central_frames(scan, np.arange(scan.n_frames), FRAMES)
    counts = np.rint(scan.counts[rows][:, scan.mask]).clip(0).astype(np.int64)
    half = rng.binomial(counts, 0.5)
    correlation = _contrast(half) @ _contrast(counts - half).T
    upper = np.triu_indices(len(rows), 1)
    with np.errstate(divide="ignore", invalid="ignore"):  # frames without photons have no correlation
        reliability = float(np.corrcoef(correlation[upper], correlation.T[upper])[0, 1])
    likeness = correlation * correlation.T  # noise of the two is independent

    positions = scan.positions_px[rows]
    distance = np.linalg.norm(positions[:, None] - positions, axis=2)
    np.fill_diagonal(distance, np.inf)
    near = np.argsort(distance, axis=1, kind="stable")[:, :NEIGHBOURS]
    orders = [np.arange(len(rows)), *(rng.permutation(len(rows)) for _ in range(SHUFFLES))]
    means = np.array([likeness[order[:, None], order[near]].mean() for order in orders])
    return NeighbourLikeness(reliability, float((means[0] - means[1:].mean()) / max(float(means[1:].std()), 1e-12)))


def _contrast(counts: NDArray[np.int64]) -> NDArray[np.float64]:
    """Amplitudes of frames of equal light less their mean, ``(frame, pixel)``, each frame of length 1."""
    amplitude = np.sqrt(counts / np.maximum(counts.sum(axis=1, keepdims=True), 1))
    amplitude -= amplitude.mean(axis=0)
    return np.asarray(amplitude / np.maximum(np.linalg.norm(amplitude, axis=1, keepdims=True), 1e-12))
