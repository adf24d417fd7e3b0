"""The background of a scan: photons that are there in every frame and do not come through the object."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

# Photons per pixel of each frame: a number, or a pattern (y, x) with the zero frequency at n // 2.
Background = float | NDArray[np.float64]


def is_pattern(background: Background) -> bool:
    """Whether a background differs from pixel to pixel."""
    return isinstance(background, np.ndarray)


def total_background(background: Background, mask: NDArray[np.bool_]) -> float:
    """Photons of a background in the valid pixels of a frame, bool ``(y, x)``."""
    return float(np.broadcast_to(background, mask.shape)[mask].sum())


def mean_background(background: Background) -> float:
    """Photons per pixel, mean over the detector."""
    return float(np.mean(background))
