"""Motion of the sample's projected image in the bright field as the sample is scanned.

Out of focus, the bright field of a frame is a magnified projection of the sample, which moves with the scan.
The motion for each step gives the width of the beam on the sample, and so whether the far-field model applies;
its sign along each axis shows whether the position axes point in the directions of the detector's.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.frame_statistics import total_of

_PAIRS = 64
_NEIGHBOUR = 3  # not the nearest: a step of a fraction of a pixel moves nothing
_MIN_EXPLAINED = 0.8  # share of the motion that one matrix explains; measured: 0.99, 0.93 where the image is visible
_BRIGHT = 0.2  # of the brightest pixels of the mean frame: the bright field


@dataclass(frozen=True, eq=False)
class BrightFieldMotion:
    """Linear motion of the image in the bright field.

    Attributes:
        matrix: Detector pixels (y, x) moved for each object pixel (y, x) of scan, ``(2, 2)``.
        beam_px: Width of the beam on the sample in object pixels that follows from it.
    """

    matrix: NDArray[np.float64]
    beam_px: float

    @property
    def one_axis_reversed(self) -> bool:
        """True if the image moves with the scan along one axis and against it along the other."""
        return bool(self.matrix[0, 0] * self.matrix[1, 1] < 0) and not self.axes_swapped

    @property
    def axes_swapped(self) -> bool:
        """True if a step along y moves the image along x."""
        direct, crossed = np.abs(np.diag(self.matrix)).sum(), np.abs(np.diag(self.matrix[::-1])).sum()
        return bool(crossed > 2 * direct)


def find_bright_field_motion(
    counts: NDArray[np.float32] | FrameStack, positions_px: NDArray[np.float64]
) -> BrightFieldMotion | None:
    """Register neighbouring frames on each other, and fit one matrix to their motion.

    Args:
        counts: Photons, ``(frame, y, x)``, zero frequency at ``n // 2``.
        positions_px: Positions in object pixels, ``(frame, 2)``.

    Returns:
        The motion; None where no clear image moves with the scan.
    """
    if len(counts) < 8:
        return None
    mean = total_of(counts) / len(counts)
    bright = mean > _BRIGHT * np.percentile(mean, 99)
    pairs = _pairs(positions_px)
    moved = np.array([_motion(counts[a], counts[b], mean, bright) for a, b in pairs])
    steps = positions_px[pairs[:, 1]] - positions_px[pairs[:, 0]]
    if not moved.any() or np.linalg.matrix_rank(steps) < 2:
        return None
    matrix, *_ = np.linalg.lstsq(steps, moved, rcond=None)
    explained = 1 - np.sum((moved - steps @ matrix) ** 2) / np.sum(moved**2)
    scale = np.sqrt(abs(float(np.linalg.det(matrix))))
    if explained < _MIN_EXPLAINED or scale == 0:
        return None
    return BrightFieldMotion(matrix.T, 2 * float(np.sqrt(bright.sum() / np.pi)) / scale)


def _pairs(positions_px: NDArray[np.float64]) -> NDArray[np.int64]:
    """Some frames, spread over the scan, each with a neighbour, int64 ``(pair, 2)``."""
    _, near = cKDTree(positions_px).query(positions_px, k=_NEIGHBOUR + 1)
    some = np.unique(np.linspace(0, len(positions_px) - 1, _PAIRS).astype(np.int64))
    return np.stack([some, np.asarray(near, dtype=np.int64)[some, _NEIGHBOUR]], axis=1)


def _motion(
    first: NDArray[np.float32], second: NDArray[np.float32], mean: NDArray[np.float64], bright: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Whole pixels (y, x) that the image moved from one frame to the other, by cross-correlation."""
    images = [np.where(bright, frame / np.maximum(mean, 1e-12) - 1, 0.0) for frame in (first, second)]
    spectra = [np.fft.rfft2(image) for image in images]
    correlation = np.fft.irfft2(np.conj(spectra[0]) * spectra[1], s=mean.shape)
    peak = np.array(np.unravel_index(int(np.argmax(correlation)), mean.shape), dtype=np.float64)
    size = np.array(mean.shape)
    return np.asarray((peak + size // 2) % size - size // 2, dtype=np.float64)
