"""Trial fits: some iterations of physics on some frames, judged by frames that were left out.

A wrong axis, a rotated stage, a wrong pixel size or positions that are one frame behind cannot be seen in the file.
But they can be tried: the right geometry explains left-out frames better.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.geometry_hypotheses import Hypothesis
from ptycho_cli.calibration.scan_canvas import central_frames, frame_photons, scan_frames
from ptycho_cli.data.frame_corrections import AsType, Crop
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.frame_statistics import total_of
from ptycho_cli.data.frames import crop_bandwidth, crop_window
from ptycho_cli.data.orientation import oriented_frames
from ptycho_cli.data.scan import Counts, Scan
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.frame_intensity import fit_intensities, normalised_intensities
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.likelihood import expected_deviance, poisson_deviance
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import pie_iterations, run_pie
from ptycho_cli.physics.probe import defocus_candidates, initial_probe, scale_probe

FRAMES = 96
FOLDS = 4  # one part of the frames is left out of a fit
LARGEST_FRAME_PX = 64  # larger frames are cropped: low angles tell right from wrong, at a quarter of the time
MOMENTUM = 0.8
ALPHA_FACTOR = 2.0  # regularisation in units of the network's
PROBE_ITERATIONS = 60
DARK = 0.05  # of the valid pixels, the darkest: what they count is the largest background, which is tried beside none
NO_BACKGROUND = 0.01  # photons per pixel: where they count less, none is tried
MADE_PROBES = 5  # defoci that are tried where the file has no probe
CLOSER = 0.4 * np.arange(-2, 3)  # steps of a row: places about its best that are tried with more iterations
HOPELESS = -3.0  # standard errors: so much worse than another, a hypothesis need not be tried further
STEADY = 1.3  # times photon noise: where they vary more from frame to frame, it is scattered light, and no background


@dataclass(frozen=True)
class Effort:
    """How thoroughly a hypothesis is tried.

    Attributes:
        iterations: Passes through the frames.
        folds: Parts of the frames that are left out, one after the other, of ``FOLDS``.
        corrected: Fit the intensity of each frame after half of the iterations, and choose the background anew.
    """

    iterations: int
    folds: int
    corrected: bool = False

    def longer(self) -> Effort:
        """Twice the iterations, to compare scales: few compress the positions."""
        return Effort(min(2 * self.iterations, TO_DECIDE.iterations), self.folds)


TO_SCREEN, TO_SCREEN_REFINED, TO_REFINE = Effort(8, 1), Effort(20, 1), Effort(24, 1)
TO_PREVIEW, TO_DECIDE = Effort(30, 1), Effort(30, FOLDS, corrected=True)


@dataclass(frozen=True, eq=False)
class Score:
    """How well a trial explains the frames that it left out, in nats per pixel.

    Attributes:
        deviance: Mean deviance of each left-out frame, ``(frame,)``.
        noise: What photon noise alone would leave at the rates found, mean over frames.
        of_mean: Mean deviance under the trivial model: every frame is the mean of all.
        probe: Index of the probe with which it was reached, among those that were tried.
        halfway: The score after half of the iterations; None where it was not taken.
    """

    deviance: NDArray[np.float64]
    noise: float
    of_mean: float
    probe: int = 0
    halfway: Score | None = None

    @property
    def mean(self) -> float:
        """Mean deviance of the left-out frames."""
        return float(self.deviance.mean())

    @property
    def excess(self) -> float:
        """Deviance beyond photon noise, at least a thousandth of the noise."""
        return max(self.mean - self.noise, 1e-3 * self.noise)

    def significance(self, other: Score) -> float:
        """How many standard errors the left-out frames are explained better here than in another trial."""
        gain = np.log(np.maximum(other.deviance, 1e-9) / np.maximum(self.deviance, 1e-9))
        error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        return float(gain.mean()) / max(error, 1e-12)

    def is_hopeless(self, rival: Score | None) -> bool:
        """Whether the left-out frames are explained so much worse than in another trial that this one may end."""
        return rival is not None and self.significance(rival) < HOPELESS


class ScanTrials:
    """Trial fits of one scan, all with the same frames and the same left-out frames.

    Args:
        scan: The scan; its geometry is in doubt.
        seed: Which frames are left out, and the order of subsets.

    Attributes:
        update: Regularised update of the network's physics.
        dark: Photons that the darkest pixels count: the largest background there can be; 0 where it is none.
        background: Photons per pixel that a brief trial expects everywhere.
    """

    def __init__(self, scan: Scan, *, seed: int = 0) -> None:
        self.scan, self.shrink = _cropped(scan)
        self.seed = seed
        self.rows = central_frames(self.scan, np.arange(scan.n_frames), FRAMES)
        self._lots = np.random.default_rng([seed, 7]).permutation(len(self.rows))
        self.update = ObjectUpdate(auto_alpha(self.scan))
        self._update = self.update.scaled(ALPHA_FACTOR)
        self.dark, self.background = _dark_rate(self.scan.counts[self.rows][:, self.scan.mask]), 0.0

    def choose_background(self, hypothesis: Hypothesis, probes: Sequence[Tensor]) -> None:
        """Choose the background of brief trials: none, or what the darkest pixels count, if that explains more."""
        if self.dark:
            without = self.score(hypothesis, probes, TO_SCREEN).mean
            self.background = self.dark
            if self.score(hypothesis, probes, TO_SCREEN).mean > without:
                self.background = 0.0

    def first_probes(self) -> list[Tensor]:
        """The scan's probe, or some that are made from its mean pattern, each complex ``(mode, y, x)``."""
        if self.scan.probe is not None:
            return [self.scaled(torch.from_numpy(self.scan.probe))]
        pattern = torch.from_numpy(total_of(self.scan.counts) / self.scan.n_frames)
        defoci = np.array(defocus_candidates(pattern))
        which = np.unique(np.linspace(0, len(defoci) - 1, MADE_PROBES).round().astype(int))
        return [self.scaled(initial_probe(pattern, defocus).to(torch.complex64)) for defocus in defoci[which]]

    def cropped_probe(self, probe: Tensor) -> Tensor:
        """A probe of the uncropped scan, as the trials use it."""
        if probe.shape[-1] != self.scan.n_pixels:
            probe = torch.from_numpy(crop_bandwidth(probe.numpy(), self.scan.n_pixels))
        return self.scaled(probe.to(torch.complex64))

    def scaled(self, probe: Tensor) -> Tensor:
        """A probe with the photons of the scan's frames."""
        return scale_probe(probe, frame_photons(self.scan))

    def refined_probe(self, hypothesis: Hypothesis, probe: Tensor) -> Tensor:
        """A probe refined under one hypothesis."""
        frames = self._frames(hypothesis, self.rows)
        return run_pie(
            frames, frames.vacuum(), probe, update=self._update, iterations=PROBE_ITERATIONS, probe_step=1.0,
            momentum=MOMENTUM, seed=self.seed,
        )[1]  # fmt: skip

    def score(
        self, hypothesis: Hypothesis, probes: Sequence[Tensor], effort: Effort, *, refine_probe: bool = False,
        rival: Score | None = None,
    ) -> Score:  # fmt: skip
        """Fit and judge a hypothesis with each probe, and return the best score.

        Args:
            hypothesis: The geometry.
            probes: Probes to start from, each complex ``(mode, y, x)``.
            effort: Iterations and parts to leave out.
            refine_probe: Refine the probe with the object.
            rival: The score of another hypothesis, with the same effort; a fit that is hopeless beside it ends halfway.
        """
        beside = None if rival is None else rival.halfway
        scores = [self._score(hypothesis, probe, effort, refine_probe, beside) for probe in probes]
        best = min(range(len(scores)), key=lambda index: scores[index].mean)
        return replace(scores[best], probe=best)

    def _score(
        self, hypothesis: Hypothesis, probe: Tensor, effort: Effort, refine_probe: bool, rival: Score | None
    ) -> Score:
        everything = self._frames(hypothesis, self.rows)
        backgrounds = [0.0, self.dark] if effort.corrected and self.dark else [self.background]
        parts: list[Score] = []
        for fold in range(effort.folds):
            is_out = torch.zeros(len(self.rows), dtype=torch.bool)
            is_out[torch.from_numpy(self._lots[fold::FOLDS])] = True
            out, used = everything.select(is_out), everything.select(~is_out)
            tried = [
                self._judged(
                    replace(out, background=value), replace(used, background=value), probe, effort, refine_probe, rival
                )
                for value in backgrounds
            ]
            best = min(range(len(tried)), key=lambda index: tried[index].mean)
            parts.append(tried[best])
            backgrounds = [backgrounds[best]]
        if len(parts) == 1:
            return parts[0]
        weights = [len(part.deviance) for part in parts]
        return Score(
            np.concatenate([part.deviance for part in parts]),
            float(np.average([part.noise for part in parts], weights=weights)),
            float(np.average([part.of_mean for part in parts], weights=weights)),
        )

    def _judged(
        self, out: ScanFrames, used: ScanFrames, probe: Tensor, effort: Effort, refine_probe: bool, rival: Score | None
    ) -> Score:
        """The score of left-out frames by a fit to the others."""

        def fits(frames: ScanFrames, obj: Tensor, start: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
            return pie_iterations(
                frames, obj, start, update=self._update, probe_step=1.0 if refine_probe else 0.0, momentum=MOMENTUM,
                seed=self.seed,
            )  # fmt: skip

        half = effort.iterations // 2
        found, halfway = fits(used, used.vacuum(), probe), None
        obj, fitted = next(islice(found, half - 1, None))
        if effort.corrected:
            light = expected_rate(used, obj, fitted) - used.background
            factors = fit_intensities(used.measured().square(), light, used.background, used.valid)
            used = replace(used, intensities=normalised_intensities(factors))
            found = fits(used, obj, fitted)
        else:
            halfway = _judge(out, used, obj, fitted)
            if halfway.is_hopeless(rival):
                return halfway
        obj, fitted = next(islice(found, effort.iterations - half - 1, None))
        return replace(_judge(out, used, obj, fitted), halfway=halfway)

    def _frames(self, hypothesis: Hypothesis, rows: NDArray[np.int64]) -> ScanFrames:
        scan = self.scan
        changed = replace(
            scan.select(rows),
            counts=np.ascontiguousarray(oriented_frames(scan.counts[rows], hypothesis.frames)),
            mask=np.ascontiguousarray(oriented_frames(scan.mask, hypothesis.frames)),
            positions_px=np.ascontiguousarray(hypothesis.positions_px[rows] * self.shrink),
            stored_positions_px=None,
        )
        return scan_frames(changed, np.arange(len(rows)), dtype=torch.float32)


def vertex_of(places: NDArray[np.float64], values: list[float]) -> float:
    """Place of the minimum of values at evenly spaced places, by a parabola about the lowest."""
    best = int(np.argmin(values))
    if best in (0, len(values) - 1):
        return float(places[best])
    left, middle, right = values[best - 1 : best + 2]
    steps = 0.5 * (left - right) / max(left - 2 * middle + right, 1e-12)
    return float(places[best] + (places[1] - places[0]) * steps)


def _dark_rate(counts: NDArray[Any]) -> float:
    """Photons that the darkest pixels of frames ``(frame, pixel)`` count, if these vary by photon noise alone, or 0."""
    mean = counts.mean(0, dtype=np.float64)
    dark = np.argsort(mean, kind="stable")[: max(1, int(DARK * len(mean)))]
    rate, variance = float(mean[dark].mean()), float(counts[:, dark].var(0, dtype=np.float64).mean())
    return rate if rate > NO_BACKGROUND and variance < STEADY * rate else 0.0


def _judge(out: ScanFrames, used: ScanFrames, obj: Tensor, probe: Tensor) -> Score:
    """Score left-out frames, each with the intensity that suits it, so that an uneven beam does not count."""
    counts, valid = out.measured().square(), out.valid
    rate = _with_photons_of(counts, expected_rate(out, obj, probe) - out.background, valid, out.background)
    mean = _with_photons_of(counts, used.measured().square().mean(0).expand_as(counts), valid)
    usable = torch.nan_to_num(rate, nan=1e6, posinf=1e6).clamp(1e-9, 1e9)
    return Score(
        _of_frames(poisson_deviance(counts, usable), valid),
        float(_of_frames(expected_deviance(usable), valid).mean()),
        float(_of_frames(poisson_deviance(counts, mean.clamp_min(1e-9)), valid).mean()),
    )


def _with_photons_of(counts: Tensor, rate: Tensor, valid: Tensor | None, background: Tensor | float = 0.0) -> Tensor:
    """Rates scaled so that each frame expects as many photons as it has, with those of a constant background."""
    weight = torch.ones_like(counts[0]) if valid is None else valid
    photons = ((counts - background) * weight).sum((-2, -1)) / (rate * weight).sum((-2, -1)).clamp_min(1e-9)
    return rate * photons.clamp_min(0)[:, None, None] + background


def _of_frames(deviance: Tensor, valid: Tensor | None) -> NDArray[np.float64]:
    """Mean deviance of each frame over its valid pixels."""
    if valid is None:
        return np.asarray(deviance.mean((-2, -1)).double().numpy())
    return np.asarray(((deviance * valid).sum((-2, -1)) / valid.sum()).double().numpy())


def _cropped(scan: Scan) -> tuple[Scan, float]:
    """The scan with the middle of large frames alone, in larger object pixels, and the factor on its positions."""
    if scan.n_pixels <= LARGEST_FRAME_PX:
        return scan, 1.0
    size = LARGEST_FRAME_PX
    window = crop_window((scan.n_pixels, scan.n_pixels), size)
    smaller = None if scan.probe is None else crop_bandwidth(scan.probe, size).astype(np.complex64)
    shrink = size / scan.n_pixels
    scan = replace(
        scan, counts=_cut(scan.counts, window), mask=np.ascontiguousarray(scan.mask[window]),
        positions_px=scan.positions_px * shrink, probe=smaller, truth=None, stored_positions_px=None,
    )  # fmt: skip
    return scan, shrink


def _cut(counts: Counts, window: tuple[slice, slice]) -> Counts:
    """A window of each frame."""
    if isinstance(counts, FrameStack):
        return counts.then(Crop(window)).then(AsType(counts.dtype))
    return np.ascontiguousarray(counts[:, *window])
