"""The shadow that a sample throws: how the structure in the frames moves as the sample is scanned.

Out of focus, a frame is partly a magnified image of the sample, which moves with the scan. The motion
per step tells how wide the beam is on the sample, and so whether the far-field model can hold it; its
sign along each axis tells whether the two position axes point the way the detector's do.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

_PAIRS = 64
_NEIGHBOUR = 3  # not the nearest: steps of a fraction of a pixel move nothing
_CLEAR = 0.8  # share of the motion that one matrix must explain; measured: 0.99, 0.93 where there is a shadow


@dataclass(frozen=True, eq=False)
class Shadow:
    """Linear motion of the shadow.

    Attributes:
        motion: Detector pixels (y, x) moved for each object pixel (y, x) of scan, ``(2, 2)``.
        beam_px: Width of the beam on the sample in object pixels that goes with it.
    """

    motion: NDArray[np.float64]
    beam_px: float

    @property
    def axes_disagree(self) -> bool:
        """Whether the shadow moves along with one position axis and against the other."""
        return bool(self.motion[0, 0] * self.motion[1, 1] < 0) and not self.axes_swapped

    @property
    def axes_swapped(self) -> bool:
        """Whether a step along y moves the shadow along x."""
        direct, crossed = np.abs(np.diag(self.motion)).sum(), np.abs(np.diag(self.motion[::-1])).sum()
        return bool(crossed > 2 * direct)


def find_shadow(counts: NDArray[np.float32], positions_px: NDArray[np.float64]) -> Shadow | None:
    """Register neighbouring frames on each other; None where no clear shadow moves with the scan."""
    if len(counts) < 8:
        return None
    mean = counts.mean(axis=0, dtype=np.float64)
    lit = mean > 0.2 * np.percentile(mean, 99)
    pairs = _pairs(positions_px)
    moved = np.array([_motion(counts[a], counts[b], mean, lit) for a, b in pairs])
    steps = positions_px[pairs[:, 1]] - positions_px[pairs[:, 0]]
    if not moved.any() or np.linalg.matrix_rank(steps) < 2:
        return None
    matrix, *_ = np.linalg.lstsq(steps, moved, rcond=None)
    explained = 1 - np.sum((moved - steps @ matrix) ** 2) / np.sum(moved**2)
    scale = np.sqrt(abs(float(np.linalg.det(matrix))))
    if explained < _CLEAR or scale == 0:
        return None
    return Shadow(matrix.T, 2 * float(np.sqrt(lit.sum() / np.pi)) / scale)


def _pairs(positions_px: NDArray[np.float64]) -> NDArray[np.int64]:
    _, near = cKDTree(positions_px).query(positions_px, k=_NEIGHBOUR + 1)
    some = np.unique(np.linspace(0, len(positions_px) - 1, _PAIRS).astype(np.int64))
    return np.stack([some, np.asarray(near, dtype=np.int64)[some, _NEIGHBOUR]], axis=1)


def _motion(
    first: NDArray[np.float32], second: NDArray[np.float32], mean: NDArray[np.float64], lit: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Whole pixels (y, x) that the structure moved from one frame to the other, by cross-correlation."""
    structure = [np.where(lit, frame / np.maximum(mean, 1e-12) - 1, 0.0) for frame in (first, second)]
    spectra = [np.fft.rfft2(image) for image in structure]
    correlation = np.fft.irfft2(np.conj(spectra[0]) * spectra[1], s=mean.shape)
    peak = np.array(np.unravel_index(int(np.argmax(correlation)), mean.shape), dtype=np.float64)
    size = np.array(mean.shape)
    return np.asarray((peak + size // 2) % size - size // 2, dtype=np.float64)
