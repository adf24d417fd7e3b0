"""Intensities of the frames and background of a scan, found before training where they explain it better."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.exposure import ENGINE_ALPHA, around_the_middle, exposure_of, frame_photons
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.frame_intensity import fit_background, fit_intensities, normalised_intensities
from ptycho_cli.physics.likelihood import mean_deviance
from ptycho_cli.physics.pie import expected_rate, run_pie
from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.progress_callback import Progress

FEWEST_FRAMES = 16  # of fewer, any correction explains what the object should
TRIAL_FRAMES = 128  # frames around the middle of a scan that say whether a correction is worth having
ITERATIONS = 2  # of the engine between two looks at intensities and background
TRIAL = (6, ENGINE_ALPHA)  # looks to decide by, and times the network's alpha
# Looks to find intensities by. Object and intensities lean on each other, so they settle slowly, and sooner with a
# small alpha: 10 % rms came to within 1.4 to 3.0 % of the truth with the above, to 0.5 to 1.0 % with these.
FINAL = (16, 0.25)
WORTH = 0.98  # of the deviance without: what a correction must come below
DARKEST, SIGMAS = 0.02, 3.0  # share of the pixels whose mean, and so much above it, is the most of a background
TOO_MUCH = 1.5  # times that: what the model fails to explain is then no background, for dark pixels have less


@dataclass(frozen=True)
class BeamSearch:
    """How intensities and background are found; a correction is kept where it lowers the deviance by 2 %.

    Attributes:
        alpha: Regularisation of the network; the engine's follows from it.
        intensity: Whether to refine intensities; ``auto`` asks the data.
        background: Photons in a pixel; ``auto`` asks the data.
        seed: Seed of the subsets.
        progress: Called with (steps done, steps at most).
        worth: Of the deviance without: what a correction must come below.
    """

    alpha: float
    intensity: Literal["auto", "always", "never"]
    background: float | Literal["auto"]
    seed: int
    progress: Progress | None = None
    worth: float = WORTH

    def find(self, scan: Scan, probe: Tensor) -> Scan:
        """The scan with what was found.

        Args:
            scan: The scan; what was found before does not matter.
            probe: Its probe, complex ``(mode, y, x)``; also says on which device.
        """
        given = 0.0 if self.background == "auto" else self.background
        scan = replace(scan, intensities=None, background=given)
        most = _darkest(scan) if self.background == "auto" and scan.n_frames >= FEWEST_FRAMES else 0.0
        enough = self.intensity == "always" or scan.n_frames >= FEWEST_FRAMES
        if most == 0 and (self.intensity == "never" or not enough):
            return scan
        few = scan.select(around_the_middle(scan, np.arange(scan.n_frames), TRIAL_FRAMES))
        background, varies = self._with_background(few, probe, most) if most > 0 else (given, self._varies(few, probe))
        scan = replace(scan, background=background)
        return self._fitted(scan, probe, intensity=True, plan=FINAL)[0] if varies else scan

    def _varies(self, scan: Scan, probe: Tensor) -> bool:
        """Whether to have intensities, where no background is looked for."""
        if self.intensity == "always":
            return True
        return self._pays(self._fitted(scan, probe, intensity=True)[1], self._fitted(scan, probe)[1])

    def _with_background(self, scan: Scan, probe: Tensor, most: float) -> tuple[float, bool]:
        """The background, 0 where it is not worth having, and whether to have intensities; ``most`` bounds it."""
        always, vary = self.intensity == "always", self.intensity != "never"
        found, both = self._fitted(replace(scan, background=most), probe, background=True, intensity=vary)
        plain = self._fitted(scan, probe)[1]
        if not self._pays(both, plain):
            return 0.0, always
        varied = self._fitted(scan, probe, intensity=True)[1] if vary else plain
        if not (found.background < TOO_MUCH * most and self._pays(both, varied)):
            return 0.0, always or self._pays(varied, plain)
        background = min(found.background, most)
        if self.intensity != "auto":
            return background, always
        steady = self._fitted(replace(scan, background=background), probe)[1]
        return background, self._pays(both, steady)

    def _pays(self, deviance: float, without: float) -> bool:
        """Whether a correction lowers the deviance enough."""
        return deviance < self.worth * without

    def _fitted(
        self,
        scan: Scan,
        probe: Tensor,
        *,
        background: bool = False,
        intensity: bool = False,
        plan: tuple[int, float] = TRIAL,
    ) -> tuple[Scan, float]:
        """Object, intensities and background in turns; the scan with them, and its deviance."""
        tell = self.progress or (lambda done, most: None)
        obj: Tensor | None = None
        deviance, (rounds, smoothing) = float("inf"), plan
        for turn in range(rounds):
            exposure = exposure_of(scan, dtype=probe.real.dtype, device=probe.device)
            lit = scale_probe(probe, frame_photons(scan))
            if obj is None:
                obj = exposure.vacuum()
            obj, _ = run_pie(
                exposure, obj, lit, iterations=ITERATIONS, alpha=smoothing * self.alpha, seed=self.seed + turn
            )
            plain = replace(exposure, intensities=None, background=0.0)
            counts, rate = exposure.amplitude.square(), expected_rate(plain, obj, lit)
            factor = torch.ones(len(counts), dtype=counts.dtype, device=counts.device)
            if intensity:
                factor = normalised_intensities(fit_intensities(counts, rate, scan.background, exposure.valid))
                scan = replace(scan, intensities=factor.double().cpu().numpy())
            rate = rate * factor[:, None, None]
            if background:
                scan = replace(scan, background=fit_background(counts, rate, exposure.valid))
            deviance = mean_deviance(counts, rate + scan.background, exposure.valid)
            tell(turn + 1, rounds)
        return scan, deviance


def _darkest(scan: Scan) -> float:
    """The most that a background can be: what the darkest pixels count in the mean, photons."""
    mean: NDArray[np.float64] = scan.counts.mean(axis=0, dtype=np.float64)[scan.mask]
    dark = float(np.quantile(mean, DARKEST))
    return dark + SIGMAS * float(np.sqrt(dark / scan.n_frames))  # the darkest are so by chance too


def beam_note(scan: Scan) -> str | None:
    """What was found, one line; None if nothing was."""
    told = []
    if scan.intensities is not None:
        told.append(f"intensities of the frames vary by {float(np.log(scan.intensities).std()):.2%} rms")
    if scan.background:
        told.append(f"a background of {scan.background:.3g} photons in a pixel")
    return f"{scan.source}: {' and '.join(told)}." if told else None
