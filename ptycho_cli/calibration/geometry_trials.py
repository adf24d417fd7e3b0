"""Axes, rotation, scale and order of the positions, and orientation of the frames, found by trying.

Each hypothesis is fitted to the same frames and judged by the same left-out frames (``scan_trials``). Few iterations
screen all of them; the best are fitted again with more, and each part of the frames is left out once. One is reported
if it explains these frames significantly better than the geometry as read *and* leaves much less beyond photon noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.geometry_hypotheses import (
    AXES,
    Hypothesis,
    as_read,
    other_axes,
    other_frames,
    other_order,
    other_units,
    rotation,
    stretch_by_log,
)
from ptycho_cli.calibration.scan_trials import (
    TO_DECIDE,
    TO_PREVIEW,
    TO_REFINE,
    TO_SCREEN,
    TO_SCREEN_REFINED,
    Effort,
    ScanTrials,
    Score,
)
from ptycho_cli.data.findings.finding import Finding, with_treatments
from ptycho_cli.data.scan import Scan
from ptycho_cli.progress_callback import Progress

Positions = NDArray[np.float64]
FEWEST_FRAMES = 32  # a quarter of them judges
SIGNIFICANT = 5.0  # standard errors over the left-out frames
MUCH = 0.6  # of the deviance beyond noise: what must be left at most
NOISE_LIMITED = 0.15  # of photon noise: where less lies beyond it, only the significance counts
UNEXPLAINED = 0.5  # of the mean pattern's deviance beyond noise: a fit that leaves more explains nothing
SCALE_EXPLAINS = 0.8  # of the mean pattern's deviance: a fit that leaves more says nothing about a scale
CANDIDATES = 3  # of the screened hypotheses that are tried again
KEPT_PROBES = 2  # of those made for a file without one, after the axes were tried
HOPELESS = -3.0  # a screened hypothesis that is so significantly worse than the geometry as read is not tried again
EQUAL = 2.0  # standard errors: of hypotheses that differ by less, the first of ``_screened`` is taken
ANGLES_DEG = np.arange(-42.0, 43.0, 6.0)
LOG_SCALES = np.linspace(-0.4, 0.4, 9)
SMALLEST_TURN_DEG, SMALLEST_STRETCH = 1.5, 0.04  # less is for the refinement of positions
REFINED = 6  # more trials of the best rotation or scale
GOOD_PROBE = 0.5  # of photon noise: where a probe leaves less beyond it, it need not be refined
WORTHWHILE = 0.8  # of the deviance beyond noise: what a refined probe must leave at most to be used


@dataclass(frozen=True, eq=False)
class Tried:
    """A hypothesis and its score."""

    hypothesis: Hypothesis
    score: Score


@dataclass(frozen=True, eq=False)
class GeometryTrials:
    """Result of the trials.

    Attributes:
        scan: The scan.
        axes: The positions as read, and their seven other orientations, all after few iterations.
        stored: The geometry as read, after many iterations; None where no other came near it.
        best: The other geometry that explains left-out frames best, after many iterations; None likewise.
    """

    scan: Scan
    axes: tuple[Tried, ...]
    stored: Tried | None = None
    best: Tried | None = None

    def axes_as_json(self) -> list[dict[str, Any]]:
        """The positions as read and their seven other orientations: name, setting, and how well each explains."""
        names = ["as read", *AXES]
        return [
            {"name": name, "setting": tried.hypothesis.setting, "as_read": name == "as read",
             "deviance": tried.score.mean, "times_noise": tried.score.mean / tried.score.noise}
            for name, tried in zip(names, self.axes, strict=True)
        ]  # fmt: skip

    @property
    def findings(self) -> list[Finding]:
        """At most one finding: the geometry that explains left-out frames much better than the one as read."""
        stored, best = self.stored, self.best
        if stored is None or best is None or not (improves(best.score, stored.score) and _is_identified(best)):
            return []
        ratio, score = stored.score.excess / best.score.excess, best.score
        times = f"{ratio:.3g} times better" if ratio < 100 else "more than 100 times better"
        finding = Finding(
                best.hypothesis.id, "warning",
                f"With {best.hypothesis.name}, left-out frames are explained {times}: deviance "
                f"{score.mean:.3g} instead of {stored.score.mean:.3g}, photon noise alone {score.noise:.3g}."
                f" {best.hypothesis.cause}".rstrip(),
                setting=best.hypothesis.setting,
                evidence={"deviance": stored.score.mean, "deviance_cured": score.mean, "noise": score.noise,
                          "significance": score.significance(stored.score)},
            )  # fmt: skip
        return with_treatments([finding], self.scan.read_as.options.findings)


def geometry_findings(
    scan: Scan, *, probe: Tensor | None = None, seed: int = 0, progress: Progress | None = None
) -> list[Finding]:
    """Return at most one finding: the geometry that explains left-out frames much better than the one as read.

    Nothing is tried on scans of fewer than ``FEWEST_FRAMES`` frames. Arguments as in ``try_geometry``.
    """
    trials = try_geometry(scan, probe=probe, seed=seed, progress=progress)
    return [] if trials is None else trials.findings


def try_geometry(
    scan: Scan, *, probe: Tensor | None = None, seed: int = 0, progress: Progress | None = None
) -> GeometryTrials | None:
    """Try other geometries of a scan.

    One ambiguity remains: flipping both axes, with object and probe turned by 180 degrees and conjugated, changes no
    frame. It shows only if the file has a good probe.

    Args:
        scan: The scan, with at least ``FEWEST_FRAMES`` frames.
        probe: A probe that was refined for the geometry as read, complex ``(mode, y, x)``, to try besides the file's.
        seed: Which frames are left out.
        progress: Called with (trials done, trials at most).

    Returns:
        The trials; None where the scan has too few frames.
    """
    if scan.n_frames < FEWEST_FRAMES:
        return None
    return _Search(scan, seed, progress).run(probe)


def improves(score: Score, stored: Score) -> bool:
    """Whether a hypothesis explains left-out frames significantly and much better."""
    limited = stored.excess < NOISE_LIMITED * stored.noise
    return (limited or score.excess < MUCH * stored.excess) and score.significance(stored) > SIGNIFICANT


def _is_identified(tried: Tried) -> bool:
    """Whether a hypothesis may be reported where it improves.

    Compressed positions overlap more, so that a fit takes up less noise. Where the fit explains hardly more than the
    mean pattern, this alone decides between scales.
    """
    return tried.hypothesis.id != "positions-scale" or tried.score.mean < SCALE_EXPLAINS * tried.score.of_mean


class _Search:
    """The trials of one scan: which hypotheses, with which probes, and how thoroughly."""

    def __init__(self, scan: Scan, seed: int, progress: Progress | None) -> None:
        self.scan, self.trials, self.progress, self.done = scan, ScanTrials(scan, seed=seed), progress, 0
        self.discrete = [*other_axes(scan), *other_frames(scan), *other_order(scan), *other_units(scan)]
        self.total = 1 + len(self.discrete) + len(ANGLES_DEG) + len(LOG_SCALES) + 2 * REFINED
        self.probes = self.trials.first_probes()
        self.refine_probe = False

    def run(self, given: Tensor | None) -> GeometryTrials:
        if given is not None:
            self.probes.append(self.trials.cropped_probe(given))
        stored, others = self._screened(TO_SCREEN)
        if self._unexplained([stored, *others]) and given is None:
            self.probes = [self.trials.refined_probe(stored.hypothesis, self.probes[0])]
            stored, others = self._screened(TO_SCREEN)
        if self._unexplained([stored, *others]):
            # nothing explains the frames with a probe as it is: refine the probe within each trial
            self.probes, self.refine_probe = self.trials.first_probes(), True
            stored, others = self._screened(TO_SCREEN_REFINED)
        axes = (stored, *others[:7])
        if self._unexplained([stored, *others]):
            return GeometryTrials(self.scan, axes)
        near = [tried for tried in others if tried.score.significance(stored.score) > HOPELESS]
        if not near:
            return GeometryTrials(self.scan, axes)
        near = sorted(near, key=lambda tried: tried.score.mean)[:CANDIDATES]
        near = [tried for tried in near if near[0].score.significance(tried.score) < -HOPELESS]
        stored = self._decided(stored.hypothesis)
        decided = [self._decided(tried.hypothesis) for tried in near]
        best = min(decided, key=lambda tried: tried.score.mean)
        order = [id(tried.hypothesis) for tried in others]
        equal = [tried for tried in decided if best.score.significance(tried.score) < EQUAL or tried is best]
        best = min(equal, key=lambda tried: order.index(id(tried.hypothesis)))
        return GeometryTrials(self.scan, axes, stored, best)

    def _unexplained(self, tried: list[Tried]) -> bool:
        """Whether no hypothesis explains more than half of what the mean pattern leaves, where it leaves much."""
        of_mean, noise = tried[0].score.of_mean, tried[0].score.noise
        if of_mean < (1 + NOISE_LIMITED) * noise:
            return False
        return min(item.score.excess for item in tried) > UNEXPLAINED * (of_mean - noise)

    def _screened(self, effort: Effort) -> tuple[Tried, list[Tried]]:
        """The geometry as read, and all others, in the order in which equal ones are preferred."""
        self.done = 0
        stored = self._tried(as_read(self.scan), effort)
        others = [self._tried(hypothesis, effort) for hypothesis in self.discrete[: len(AXES)]]
        self._keep_best_probes([stored, *others])
        others += [self._tried(hypothesis, effort) for hypothesis in self.discrete[len(AXES) :]]
        others += self._best(ANGLES_DEG, rotation, SMALLEST_TURN_DEG, effort)
        # few iterations compress the positions
        longer = Effort(min(2 * effort.iterations, TO_DECIDE.iterations), effort.folds)
        others += self._best(LOG_SCALES, stretch_by_log, SMALLEST_STRETCH, longer)
        return stored, others

    def _keep_best_probes(self, tried: list[Tried]) -> None:
        """Go on with the probes of the hypotheses that explain most; the others would only take time."""
        ranked = sorted(tried, key=lambda item: item.score.mean)
        kept = list(dict.fromkeys(item.score.probe for item in ranked))[:KEPT_PROBES]
        self.probes = [self.probes[index] for index in sorted(kept)]

    def _best(
        self, values: Positions, make: Callable[[Scan, float], Hypothesis], smallest: float, effort: Effort
    ) -> list[Tried]:
        """The best of a row of evenly spaced rotations or logarithms of scales; none if it is about 0.

        Parabolas give its place between them: first through the row, then through closer values after more iterations.
        """
        row = [self._tried(make(self.scan, float(value)), effort) for value in values]
        step = float(values[1] - values[0])
        best = float(values[0]) + step * _vertex([tried.score.mean for tried in row])
        if abs(best) < smallest / 2:
            return []
        closer = best + 0.4 * step * np.arange(-2, 3)
        scores = [self._tried(make(self.scan, float(value)), TO_REFINE).score.mean for value in closer]
        best = float(closer[0]) + 0.4 * step * _vertex(scores)
        return [self._tried(make(self.scan, best), effort)] if abs(best) >= smallest else []

    def _decided(self, hypothesis: Hypothesis) -> Tried:
        """A hypothesis fitted with many iterations, with a probe as it is or refined, whichever explains more."""
        fixed = self._thoroughly(hypothesis, refine_probe=self.refine_probe)
        if self.refine_probe or fixed.excess < GOOD_PROBE * fixed.noise:
            return Tried(hypothesis, fixed)
        refined = self.trials.score(hypothesis, self.probes, TO_PREVIEW, refine_probe=True)
        if refined.excess > WORTHWHILE * fixed.excess:
            return Tried(hypothesis, fixed)
        refined = self.trials.score(hypothesis, [self.probes[refined.probe]], TO_DECIDE, refine_probe=True)
        return Tried(hypothesis, min(fixed, refined, key=lambda score: score.mean))

    def _thoroughly(self, hypothesis: Hypothesis, *, refine_probe: bool) -> Score:
        """The score of a hypothesis with the one probe that explains most after a preview."""
        probes = self.probes
        if len(probes) > 1:
            preview = self.trials.score(hypothesis, probes, TO_PREVIEW, refine_probe=refine_probe)
            probes = [probes[preview.probe]]
        return self.trials.score(hypothesis, probes, TO_DECIDE, refine_probe=refine_probe)

    def _tried(self, hypothesis: Hypothesis, effort: Effort) -> Tried:
        self.done += 1
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)
        return Tried(hypothesis, self.trials.score(hypothesis, self.probes, effort, refine_probe=self.refine_probe))


def _vertex(values: list[float]) -> float:
    """Place of the minimum of a row of values, in steps from the first, by a parabola about the lowest."""
    best = int(np.argmin(values))
    if best in (0, len(values) - 1):
        return float(best)
    left, middle, right = values[best - 1 : best + 2]
    return best + 0.5 * (left - right) / max(left - 2 * middle + right, 1e-12)
