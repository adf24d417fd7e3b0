"""Imperfections of beam and detector, for simulated scans."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.errors import DataError

_PURPOSE = 4  # in the random keys of data.simulation
_HOT_LOG_RANGE = (0.0, np.log(10.0))  # logarithm of a hot pixel's photons in a frame, in means of the brightest pixel


@dataclass(frozen=True)
class Imperfections:
    """Deviations of a simulated scan from an ideal one.

    Attributes:
        intensity_jitter: Standard deviation of the logarithm of a frame's intensity.
        background: Constant background in photons per pixel of each frame.
        hot_pixels: Number of pixels with a constant rate added, 1 to 10 times the mean of the brightest pixel.
        dead_pixels: Number of pixels, among the brighter half, that count nothing.
    """

    intensity_jitter: float = 0.0
    background: float = 0.0
    hot_pixels: int = 0
    dead_pixels: int = 0

    def check(self, n_pixels: int) -> None:
        """Refuse values that no scan with frames of ``n_pixels`` can have.

        Raises:
            DataError: If a value is out of its range.
        """
        most = n_pixels**2 // 8
        problems = {
            f"an intensity jitter of {self.intensity_jitter:g}, expected 0 to 1": not 0 <= self.intensity_jitter <= 1,
            f"a background of {self.background:g} photons, expected 0 to 1e9": not 0 <= self.background <= 1e9,
            f"{self.hot_pixels} hot and {self.dead_pixels} dead pixels, expected at most {most}": (
                min(self.hot_pixels, self.dead_pixels) < 0 or self.hot_pixels + self.dead_pixels > most
            ),
        }
        for problem, is_one in problems.items():
            if is_one:
                raise DataError(f"simulate: {problem}.")

    def intensities(self, n_frames: int, seed: int) -> NDArray[np.float64]:
        """Factor on the photons of each frame, ``(frame,)``; the mean of their logarithms is 0."""
        logs = self.intensity_jitter * np.random.default_rng([seed, _PURPOSE, 1]).standard_normal(n_frames)
        return np.asarray(np.exp(logs - logs.mean()))

    def add_bad_pixels(self, counts: NDArray[np.float32], seed: int) -> None:
        """Change counts ``(frame, y, x)`` in place so that some pixels are hot and some dead."""
        rng = np.random.default_rng([seed, _PURPOSE, 2])
        mean = counts.mean(axis=0, dtype=np.float64).ravel()
        flat = counts.reshape(len(counts), -1)
        bright = np.argsort(mean, kind="stable")[mean.size // 2 :]
        dead = rng.choice(bright, self.dead_pixels, replace=False)
        hot = rng.choice(np.setdiff1d(np.arange(mean.size), dead), self.hot_pixels, replace=False)
        rate = mean.max() * np.exp(rng.uniform(*_HOT_LOG_RANGE, self.hot_pixels))
        flat[:, hot] += rng.poisson(rate, (len(flat), len(hot)))
        flat[:, dead] = 0.0
