"""Corrections of a scan: a factor on the photons of each frame and a background, where they explain it better.

Both are found in turns with an object that is reconstructed by physics alone.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import ndimage
from torch import Tensor

from ptycho_cli.calibration.scan_canvas import PIE_ALPHA_FACTOR, central_frames, frame_photons, scan_frames
from ptycho_cli.data.background import Background, is_pattern, mean_background
from ptycho_cli.data.frame_statistics import total_of
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.frame_intensity import (
    fit_background,
    fit_background_pattern,
    fit_intensities,
    normalised_intensities,
)
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.likelihood import MeanDeviance, expected_deviance, mean_deviance
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.physics.propagation import background_on_detector, centred
from ptycho_cli.progress_callback import Progress

MIN_FRAMES = 16  # with fewer, a correction explains what the object should
TRIAL_FRAMES = 128  # around the middle of a scan, to decide whether a correction is kept
ITERATIONS_PER_TURN = 2  # of the PIE between two estimates of the corrections
# A correction is kept if it lowers the deviance to this share of that without it.
MAX_RATIO = 0.98
# The darkest pixels bound the background: the mean of this share of the pixels, plus this many standard errors.
DARKEST_SHARE, DARKEST_SIGMAS = 0.02, 3.0
# An estimate above this many times that bound is an error of the model, not a background: dark pixels count less.
MAX_BOUND_RATIO = 1.5
# A background that differs from pixel to pixel takes up noise, and much of what a wrong model leaves: it is kept if it
# lowers the deviance to this share, and estimated from this many frames at least. It is smooth over this part of the
# frame: of scattering by air of 11 photons per pixel 2.1 were missed that way, 7.1 pixel by pixel.
MAX_PATTERN_RATIO, MIN_PATTERN_FRAMES, SMOOTH = 0.95, 32, 1 / 24
MAX_PATTERN_NOISE = 1.15  # times photon noise: where a pattern leaves more, the model is wrong in another way
LEFT = 1.3  # times photon noise: where less is left, none is looked for
SMALLEST = 1e-3  # photons per pixel: what is 0 stays 0
START = 0.01  # of a pixel's mean counts: its background to begin with


@dataclass(frozen=True)
class Turns:
    """Iterations in which object and corrections are fitted in turns.

    Attributes:
        number: Number of turns.
        alpha_factor: Regularisation of the PIE in units of the network's.
    """

    number: int
    alpha_factor: float


TO_DECIDE = Turns(6, PIE_ALPHA_FACTOR)
# Object and intensities depend on each other, so that both converge slowly, and sooner with a small alpha: intensities
# that vary by 10 % rms came to within 1.4 to 3.0 % of the truth with the turns above, to 0.5 to 1.0 % with these.
TO_ESTIMATE = Turns(16, 0.25)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A scan with the corrections of a fit, its mean deviance, and what photon noise alone would leave of it."""

    scan: Scan
    deviance: float = float("inf")
    noise: float = float("inf")


@dataclass(frozen=True)
class CorrectionSearch:
    """A search for frame intensities and background.

    Attributes:
        update: Regularised update of the network's physics; the PIE uses multiples of its regularisation.
        intensity: Whether to fit intensities; ``auto`` fits them where they explain the data.
        background: Photons per pixel; ``auto`` estimates it.
        seed: Seed of the subsets.
        progress: Called with (turns done, turns at most).
        max_ratio: A correction is kept if it lowers the deviance to this share of that without it.
        pattern: Whether an estimated background may differ from pixel to pixel.
    """

    update: ObjectUpdate
    intensity: Literal["auto", "always", "never"]
    background: float | Literal["auto"]
    seed: int
    progress: Progress | None = None
    max_ratio: float = MAX_RATIO
    pattern: bool = True

    def find(self, scan: Scan, probe: Tensor) -> Scan:
        """Find the corrections of a scan.

        Args:
            scan: The scan; corrections that it has are ignored.
            probe: Its probe, complex ``(mode, y, x)``, on the device to compute on.

        Returns:
            The scan with the corrections that are kept.
        """
        given = 0.0 if self.background == "auto" else self.background
        scan = replace(scan, intensities=None, background=given)
        bound = _background_bound(scan) if self.background == "auto" and scan.n_frames >= MIN_FRAMES else 0.0
        fit_intensities = self.intensity == "always" or (self.intensity == "auto" and scan.n_frames >= MIN_FRAMES)
        if bound == 0 and not fit_intensities:
            return scan
        few = scan.select(central_frames(scan, np.arange(scan.n_frames), TRIAL_FRAMES))
        varies, fitted = self._choose_both(few, probe, bound) if bound > 0 else self._choose_intensities(few, probe)
        scan = replace(scan, background=self._pattern(fitted, probe, varies))
        return self._fit(scan, probe, intensity=True, judge=False).scan if varies else scan

    def _pattern(self, fitted: _Fitted, probe: Tensor, varies: bool) -> Background:
        """The background of a fit, or a pattern where the fit leaves much and a pattern explains much more."""
        known, scan = fitted.scan.background, replace(fitted.scan, intensities=None)
        allowed = self.background == "auto" and self.pattern and scan.n_frames >= MIN_PATTERN_FRAMES
        if not allowed or fitted.deviance < LEFT * fitted.noise:
            return known
        start = replace(scan, background=np.maximum(START * total_of(scan.counts) / scan.n_frames, known))
        found = self._fit(start, probe, background=True, intensity=varies)
        most = min(MAX_PATTERN_NOISE * found.noise, min(self.max_ratio, MAX_PATTERN_RATIO) * fitted.deviance)
        if not found.deviance <= most:  # nor if it is not a number
            return known
        return self._fit(start, probe, background=True, intensity=varies, turns=TO_ESTIMATE).scan.background

    def _choose_intensities(self, scan: Scan, probe: Tensor) -> tuple[bool, _Fitted]:
        """Decide whether to fit intensities, where no background is looked for; and the fit that is kept."""
        with_them = self._fit(scan, probe, intensity=True)
        if self.intensity == "always":
            return True, with_them
        none = self._fit(scan, probe)
        varies = self._improves(with_them, none)
        return varies, with_them if varies else none

    def _choose_both(self, scan: Scan, probe: Tensor, bound: float) -> tuple[bool, _Fitted]:
        """Decide on a background and on intensities.

        Each combination that could be kept is fitted: none, intensities, background, both. A background is kept if
        both together improve on none and on intensities alone, and if it is not far above its bound; without one,
        intensities are kept if they improve on none; with one, if both improve on the background alone.

        Args:
            scan: Frames to decide by.
            probe: Their probe, complex ``(mode, y, x)``.
            bound: The most that the background can be, photons per pixel.

        Returns:
            Whether to fit intensities, and the fit that is kept; its scan has the background, 0 if none is.
        """
        always, allowed = self.intensity == "always", self.intensity != "never"
        both = self._fit(replace(scan, background=bound), probe, background=True, intensity=allowed)
        none = self._fit(scan, probe)
        if not self._improves(both, none):
            return always, none
        intensities = self._fit(scan, probe, intensity=True) if allowed else none
        found = mean_background(both.scan.background)
        if not (found < MAX_BOUND_RATIO * bound and self._improves(both, intensities)):
            varies = always or self._improves(intensities, none)
            return varies, intensities if varies else none
        alone = self._fit(replace(scan, background=min(found, bound)), probe)
        both = replace(both, scan=replace(both.scan, background=min(found, bound)))
        varies = always if self.intensity != "auto" else self._improves(both, alone)
        return varies, both if varies else alone

    def _improves(self, found: _Fitted, without: _Fitted) -> bool:
        """Return True if a correction lowers the deviance far enough."""
        return found.deviance < self.max_ratio * without.deviance

    def _fit(
        self,
        scan: Scan,
        probe: Tensor,
        *,
        background: bool = False,
        intensity: bool = False,
        judge: bool = True,
        turns: Turns | None = None,
    ) -> _Fitted:
        """Fit object, intensities and background in turns.

        Without ``judge``, which is for whole scans, only intensities are fitted, and the deviance is infinite.
        """
        turns = turns or (TO_DECIDE if judge else TO_ESTIMATE)
        obj: Tensor | None = None
        fitted = _Fitted(scan)
        for turn in range(turns.number):
            which = np.arange(scan.n_frames) if judge else None  # a whole scan may be larger than memory
            frames = scan_frames(scan, which, dtype=probe.real.dtype, device=probe.device)
            scaled = scale_probe(probe, frame_photons(scan))
            obj, _ = run_pie(
                frames, frames.vacuum() if obj is None else obj, scaled,
                update=self.update.scaled(turns.alpha_factor),
                iterations=ITERATIONS_PER_TURN, seed=self.seed + turn,
            )  # fmt: skip
            plain = replace(frames, intensities=None, background=0.0)
            if not judge:
                background_here = background_on_detector(scan.background, probe.real)
                found = _intensities(plain, obj, scaled, background_here)
                scan = replace(scan, intensities=normalised_intensities(found).double().cpu().numpy())
                fitted = _Fitted(scan)
            else:
                fitted = _judged(plain, obj, scaled, scan, background=background, intensity=intensity)
                scan = fitted.scan
            if self.progress is not None:
                self.progress(turn + 1, turns.number)
        return fitted


def _intensities(frames: ScanFrames, obj: Tensor, probe: Tensor, background: Tensor | float) -> Tensor:
    """Most likely factors on the photons of frames, ``(frame,)``."""
    found, done = probe.real.new_empty(len(frames)), 0
    for part in frames.parts():
        counts, rate = part.measured().square(), expected_rate(part, obj, probe)
        found[done : (done := done + len(part))] = fit_intensities(counts, rate, background, part.valid)
    return found


def _judged(
    frames: ScanFrames, obj: Tensor, probe: Tensor, scan: Scan, *, background: bool, intensity: bool
) -> _Fitted:
    """A scan with intensities and background that fit an object.

    Args:
        frames: All frames of the scan, without intensities and background.
        obj: The object, complex ``(y, x)``.
        probe: The probe, complex ``(mode, y, x)``.
        scan: The scan.
        background: Fit the background: a pattern if the scan has one, else a constant.
        intensity: Fit the intensities.
    """
    counts, rate = frames.measured().square(), expected_rate(frames, obj, probe)
    known = background_on_detector(scan.background, rate)
    factor = torch.ones(len(counts), dtype=counts.dtype, device=counts.device)
    if intensity:
        factor = normalised_intensities(fit_intensities(counts, rate, known, frames.valid))
        scan = replace(scan, intensities=factor.double().cpu().numpy())
    rate = rate * factor[:, None, None]
    if background and isinstance(known, Tensor):
        found = centred(fit_background_pattern(counts, rate, known.clamp_min(SMALLEST)))
        scan = replace(scan, background=_smoothed(found.double().cpu().numpy(), scan.mask))
        known = background_on_detector(scan.background, rate)
    elif background:
        scan = replace(scan, background=(known := fit_background(counts, rate, frames.valid)))
    rate = rate + known
    noise = MeanDeviance(frames.valid)
    noise.add(expected_deviance(rate))
    return _Fitted(scan, mean_deviance(counts, rate, frames.valid), noise.value())


def _smoothed(background: NDArray[np.float64], mask: NDArray[np.bool_]) -> NDArray[np.float64]:
    """A background ``(y, x)`` without details that are smaller than a part of the frame, from its valid pixels."""
    width = SMOOTH * len(background)
    valid = mask.astype(np.float64)
    smooth, weight = (
        ndimage.gaussian_filter(values, width, mode="nearest") for values in (np.where(mask, background, 0), valid)
    )
    return np.asarray(smooth / np.maximum(weight, 1e-6))


def _background_bound(scan: Scan) -> float:
    """The most that a background can be: what the darkest pixels count on average, photons per pixel."""
    mean: NDArray[np.float64] = (total_of(scan.counts) / scan.n_frames)[scan.mask]
    dark = float(np.quantile(mean, DARKEST_SHARE))
    return dark + DARKEST_SIGMAS * float(np.sqrt(dark / scan.n_frames))  # the darkest are so by chance, too


def correction_note(scan: Scan) -> str | None:
    """One line about the corrections of a scan; None if it has none."""
    found = []
    if scan.intensities is not None:
        found.append(f"frame intensities that vary by {float(np.log(scan.intensities).std()):.2%} rms")
    if is_pattern(scan.background):
        found.append(
            f"a background that differs from pixel to pixel, {mean_background(scan.background):.3g} photons on average"
        )
    elif scan.background:
        found.append(f"a background of {scan.background:.3g} photons per pixel")
    return f"{scan.source}: corrected for {' and '.join(found)}." if found else None
