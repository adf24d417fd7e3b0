"""A trial fit: object and probe from some frames of a scan, judged by frames that are left out of it."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.scan_canvas import PIE_ALPHA_FACTOR, scan_frames
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.likelihood import MeanDeviance, expected_deviance, mean_deviance
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.progress_callback import Progress

MOMENTUM = 0.8  # share of an iteration's change that is made once more before the next
FRAMES_PER_TEST_FRAME = 20


class TrialFit:
    """Frames to fit object and probe to, and a twentieth of the frames, chosen at random, to judge the fit by.

    Args:
        scan: The scan.
        frames: Numbers of the frames to use.
        update: Regularised update of the network's physics; the PIE here uses four times its regularisation.
        seed: Seed of the choice of frames and of the subsets.
        dtype: Type of real numbers.
        progress: Called with (iterations done, iterations at most).

    Attributes:
        fitted: The frames of the fit.
        test: The frames left out of it.
        max_iterations: The most iterations that a refinement under way makes, for ``progress``.
    """

    def __init__(
        self,
        scan: Scan,
        frames: NDArray[np.int64],
        *,
        update: ObjectUpdate,
        seed: int,
        dtype: torch.dtype,
        progress: Progress | None = None,
    ) -> None:
        everything = scan_frames(scan, frames, dtype=dtype)
        order = torch.from_numpy(np.random.default_rng([seed, 3]).permutation(len(frames)))
        n_test = max(1, len(frames) // FRAMES_PER_TEST_FRAME)
        self.test, self.fitted = everything.select(order[:n_test]), everything.select(order[n_test:])
        self.max_iterations = 0
        self._update, self._seed, self._progress = update.scaled(PIE_ALPHA_FACTOR), seed, progress

    def vacuum(self) -> Tensor:
        """An object of ones, complex ``(y, x)``."""
        return self.fitted.vacuum()

    def fit_object(self, probe: Tensor, iterations: int) -> Tensor:
        """Object that fits a given probe, from vacuum."""
        return self._iterate(self.vacuum(), probe, iterations, 0.0, 0)[0]

    def refine(self, obj: Tensor, probe: Tensor, iterations: int, *, done: int = 0) -> tuple[Tensor, Tensor]:
        """Object and probe after further iterations of both.

        Args:
            obj: The object so far, complex ``(y, x)``.
            probe: The probe so far, complex ``(mode, y, x)``.
            iterations: Number of iterations.
            done: Iterations made before, for the seed of the subsets.
        """
        return self._iterate(obj, probe, iterations, 1.0, done)

    def _iterate(
        self, obj: Tensor, probe: Tensor, iterations: int, probe_step: float, done: int
    ) -> tuple[Tensor, Tensor]:
        progress = self._progress
        return run_pie(
            self.fitted, obj, probe, update=self._update, iterations=iterations, probe_step=probe_step,
            momentum=MOMENTUM, seed=self._seed + done,
            progress=None
            if progress is None
            else lambda i, _: progress(done + i, max(self.max_iterations, done + iterations)),
        )  # fmt: skip

    def deviance(self, obj: Tensor, probe: Tensor) -> float:
        """Mean deviance of the test frames, nats per pixel."""
        return self._mean(expected_rate(self.test, obj, probe))

    def deviance_of_probe(self, probe: Tensor, iterations: int) -> float:
        """Mean deviance of the test frames with a given probe and the object fitted to it, nats per pixel."""
        return self.deviance(self.fit_object(probe, iterations), probe)

    def noise_deviance(self, obj: Tensor, probe: Tensor) -> float:
        """Mean deviance that photon noise alone leaves of the test frames."""
        rate = expected_rate(self.test, obj, probe)
        if not torch.isfinite(rate).all():  # the refinement diverged
            return float("inf")
        noise = MeanDeviance(self.test.valid)
        noise.add(expected_deviance(rate))
        return noise.value()

    def mean_pattern_deviance(self) -> float:
        """Mean deviance of the trivial model, in which every frame is the mean of all, nats per pixel."""
        return self._mean(self.fitted.measured().square().mean(0).expand_as(self.test.measured()))

    def _mean(self, rate: Tensor) -> float:
        return mean_deviance(self.test.measured().square(), rate, self.test.valid)
