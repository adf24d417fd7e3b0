"""Axes, rotation, scale and order of the positions, and orientation of the frames, found by trying.

Each hypothesis is fitted to the same frames and judged by the same left-out frames (``scan_trials``). Few iterations
screen all of them, and fewer those that are hopeless beside a geometry that explains the frames; the best are fitted
again with more, and each part of the frames is left out once. One is reported if it explains these frames
significantly better than the geometry as read *and* leaves much less beyond photon noise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.frame_order import neighbour_likeness
from ptycho_cli.calibration.geometry_hypotheses import (
    AXES,
    TWINS,
    Hypothesis,
    as_read,
    both,
    other_axes,
    other_frames,
    other_order,
    other_units,
    rotation,
    stretch_by_log,
)
from ptycho_cli.calibration.geometry_result import (
    NOISE_LIMITED,
    GeometryTrials,
    Tried,
    best_of,
    improves,
    without_twins,
)
from ptycho_cli.calibration.position_trial import with_moved_positions
from ptycho_cli.calibration.scale_or_focus import with_scale_or_focus
from ptycho_cli.calibration.scan_trials import (
    CLOSER,
    HOPELESS,
    TO_DECIDE,
    TO_PREVIEW,
    TO_REFINE,
    TO_SCREEN,
    TO_SCREEN_REFINED,
    Effort,
    ScanTrials,
    Score,
    vertex_of,
)
from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.scan import Scan
from ptycho_cli.progress_callback import Progress

Positions = NDArray[np.float64]
FEWEST_FRAMES = 32  # a quarter of them judges
UNEXPLAINED = 0.5  # of the mean pattern's deviance beyond noise: a fit that leaves more explains nothing
LEFT = 0.3  # of photon noise: where the best geometry leaves more beyond it, a second fault is tried
CANDIDATES = 3  # of the screened hypotheses that are tried again
BASES = 2  # of them that a second change is added to, where nothing explains the frames
KEPT_PROBES = 2  # of those made for a file without one, after the axes were tried
CLEARLY_BETTER = 0.5  # of the deviance beyond noise: where the best probe leaves less, no second one is kept
EQUAL = 2.0  # standard errors: of hypotheses that differ by less, the first of ``_screened`` is taken
ANGLES_DEG = np.arange(-42.0, 43.0, 6.0)
LOG_SCALES = np.linspace(-0.4, 0.4, 9)
SMALLEST_TURN_DEG, SMALLEST_STRETCH = 1.5, 0.04  # less is for the refinement of positions
REFINED = 6  # more trials of the best rotation or scale
GOOD_PROBE = 0.5  # of photon noise: where a probe leaves less beyond it, it need not be refined
WORTHWHILE = 0.8  # of the deviance beyond noise: what a refined probe must leave at most to be used


def geometry_findings(
    scan: Scan, *, probe: Tensor | None = None, move_frames: bool = True, seed: int = 0,
    progress: Progress | None = None,
) -> list[Finding]:  # fmt: skip
    """Return findings of the geometry that explains left-out frames much better than the one as read, if there is one.

    Nothing is tried on scans of fewer than ``FEWEST_FRAMES`` frames. Arguments as in ``try_geometry``.
    """
    trials = try_geometry(scan, probe=probe, move_frames=move_frames, seed=seed, progress=progress)
    return [] if trials is None else trials.findings


def try_geometry(
    scan: Scan, *, probe: Tensor | None = None, move_frames: bool = True, seed: int = 0,
    progress: Progress | None = None,
) -> GeometryTrials | None:  # fmt: skip
    """Try other geometries of a scan.

    One ambiguity remains: flipping both axes, with object and probe turned by 180 degrees and conjugated, changes no
    frame. It shows only if the file has a good probe.

    Args:
        scan: The scan, with at least ``FEWEST_FRAMES`` frames.
        probe: A probe that was refined for the geometry as read, complex ``(mode, y, x)``, to try besides the file's.
        move_frames: Refine the position of each frame if nothing else explains the frames.
        seed: Which frames are left out.
        progress: Called with (trials done, trials at most).

    Returns:
        The trials; None where the scan has too few frames.
    """
    if scan.n_frames < FEWEST_FRAMES:
        return None
    search = _Search(scan, seed, progress)
    found = search.run(probe)
    if search.from_file is not None and search.scale is not None:
        found = with_scale_or_focus(found, search.trials, search.from_file, search.scale)
    return with_moved_positions(found, search.trials, search.probes, move_frames=move_frames)


class _Search:
    """The trials of one scan: which hypotheses, with which probes, and how thoroughly."""

    def __init__(self, scan: Scan, seed: int, progress: Progress | None) -> None:
        self.scan, self.trials, self.progress, self.done = scan, ScanTrials(scan, seed=seed), progress, 0
        self.discrete = [*other_axes(scan), *other_frames(scan), *other_order(scan), *other_units(scan)]
        self.total = 1 + len(self.discrete) + len(ANGLES_DEG) + len(LOG_SCALES) + 2 * REFINED
        self.probes = self.trials.first_probes()
        self.from_file = None if scan.probe is None else self.probes[0]
        self.refine_probe = False
        self.scale: Hypothesis | None = None  # that which explains most with the file's probe
        # probes that are made lie on both sides of the focus, and those of one side are the twins of the others
        self.has_twins = scan.probe is None

    def run(self, given: Tensor | None) -> GeometryTrials:
        self.has_twins = self.has_twins and given is None
        if given is not None:
            self.probes.append(self.trials.cropped_probe(given))
        self.trials.choose_background(as_read(self.scan), self.probes)
        stored, others = self._screened(TO_SCREEN)
        axes, shuffled = (stored, *others[:7]), None
        if self._leaves(UNEXPLAINED, [stored, *others]):
            likeness = neighbour_likeness(self.trials.scan, seed=self.trials.seed)
            shuffled = likeness if likeness.is_shuffled else None
            if shuffled is None:
                stored, others = self._with_more_freedom(stored, others, given)
            else:  # axes, rotation and scale cannot explain it
                stored, others = self._with_refined_probes(other_order(self.scan))
            axes = axes if shuffled else (stored, *others[:7])
        if self._leaves(UNEXPLAINED, [stored, *others]):
            return GeometryTrials(self.scan, axes, shuffled=shuffled)
        near = without_twins([stored, *others])[1:]
        near = [tried for tried in near if not tried.score.is_hopeless(stored.score)]
        if not near:
            return GeometryTrials(self.scan, axes)
        near = best_of(near)[:CANDIDATES]
        near = [tried for tried in near if near[0].score.significance(tried.score) < -HOPELESS]
        stored = self._decided(stored.hypothesis)
        decided = [self._decided(tried.hypothesis) for tried in near]
        best = min(decided, key=lambda tried: tried.score.mean)
        order = [id(tried.hypothesis) for tried in others]
        equal = [tried for tried in decided if best.score.significance(tried.score) < EQUAL or tried is best]
        best = min(equal, key=lambda tried: order.index(id(tried.hypothesis)))
        return GeometryTrials(self.scan, axes, stored, self._with_second_fault(stored, best))

    def _with_more_freedom(self, stored: Tried, others: list[Tried], given: Tensor | None) -> tuple[Tried, list[Tried]]:
        """Hypotheses with a refined probe, in pairs, and with a probe refined in each trial, until one explains."""
        if given is None:
            file, has_twins = self.probes, self.has_twins
            self.has_twins = False
            self.probes = [self.trials.refined_probe(stored.hypothesis, self.probes[0])]
            if not self._leaves(UNEXPLAINED, [self._tried(stored.hypothesis, TO_SCREEN)]):
                return self._screened(TO_SCREEN)
            self.probes, self.has_twins = file, has_twins
        pairs = [pair for tried in best_of(others)[:BASES] for pair in self._pairs(tried.hypothesis, TO_SCREEN)]
        if not self._leaves(UNEXPLAINED, pairs):
            return stored, [*others, *pairs]
        return self._with_refined_probes(self.discrete)

    def _with_refined_probes(self, discrete: list[Hypothesis]) -> tuple[Tried, list[Tried]]:
        """Hypotheses with a probe that is refined in each trial, where nothing explains the frames with it as it is."""
        self.probes, self.refine_probe, all_of_them = self.trials.first_probes(), True, discrete is self.discrete
        self.has_twins = self.scan.probe is None
        self.discrete = discrete
        return self._screened(TO_SCREEN_REFINED, continuous=all_of_them)

    def _with_second_fault(self, stored: Tried, best: Tried) -> Tried:
        """The best geometry, or two changes at once, where the one leaves much and both explain much more."""
        single = best.hypothesis.also is None and improves(best.score, stored.score)
        if not single or best.score.excess < LEFT * best.score.noise:
            return best
        pairs = best_of(self._pairs(best.hypothesis, TO_SCREEN))
        if not pairs:
            return best
        pair = self._decided(pairs[0].hypothesis)
        return pair if improves(pair.score, best.score) else best

    def _pairs(self, first: Hypothesis, effort: Effort) -> list[Tried]:
        """A geometry with a second change of another kind, each fitted briefly."""
        if first.frames != as_read(self.scan).frames or self.scan.read_as.options.scan_rotation_deg:
            return []
        changed = replace(self.scan, positions_px=first.positions_px)
        seconds = [] if first.id == "positions-index" else other_order(changed)
        seconds += other_axes(changed) if first.id in ("positions-index", "positions-scale") else []
        found = [self._tried(both(first, second), effort) for second in seconds]

        def turned(scan: Scan, angle_deg: float) -> Hypothesis:
            return both(first, rotation(changed, angle_deg))

        def stretched(scan: Scan, log_factor: float) -> Hypothesis:
            return both(first, stretch_by_log(changed, log_factor))

        if first.id != "positions-rotation":
            found += self._best(ANGLES_DEG, turned, SMALLEST_TURN_DEG, effort)
        if first.id not in ("positions-scale", "positions-unit"):
            found += self._best(LOG_SCALES, stretched, SMALLEST_STRETCH, effort.longer())
        return found

    def _leaves(self, share: float, tried: list[Tried]) -> bool:
        """Whether all hypotheses leave more than a share of what the mean pattern leaves, where it leaves much."""
        if not tried:
            return True
        of_mean, noise = tried[0].score.of_mean, tried[0].score.noise
        if of_mean < (1 + NOISE_LIMITED) * noise:
            return False
        return min(item.score.excess for item in tried) > share * (of_mean - noise)

    def _screened(self, effort: Effort, *, continuous: bool = True) -> tuple[Tried, list[Tried]]:
        """The geometry as read, and all others, in the order in which equal ones are preferred."""
        self.done = 0
        stored = self._tried(as_read(self.scan), effort)
        # Where the geometry as read explains the frames, fits that are hopeless beside it end halfway.
        rival = None if self._leaves(UNEXPLAINED, [stored]) else stored.score
        others = self._first_tried(stored, effort, rival)
        self._keep_best_probes([stored, *others])
        others += [self._tried(hypothesis, effort, rival) for hypothesis in self.discrete[len(AXES) :]]
        if continuous:
            others += self._best(ANGLES_DEG, rotation, SMALLEST_TURN_DEG, effort, rival)
            others += self._scale(effort, rival)
        return stored, others

    def _scale(self, effort: Effort, rival: Score | None) -> list[Tried]:
        """The best scale; that with the file's probe alone is kept to be judged beside another focus of this probe."""
        found = alone = self._best(LOG_SCALES, stretch_by_log, SMALLEST_STRETCH, effort.longer(), rival)
        if self.from_file is None or self.refine_probe or self.scale is not None:
            return found
        used = self.probes
        if len(used) > 1 or used[0] is not self.from_file:
            self.probes = [self.from_file]
            alone = self._best(LOG_SCALES, stretch_by_log, SMALLEST_STRETCH, effort.longer(), rival)
            self.probes = used
        self.scale = alone[0].hypothesis if alone else None
        return found

    def _first_tried(self, stored: Tried, effort: Effort, rival: Score | None) -> list[Tried]:
        """The other axes; of twins that share their probes, one is fitted, and both have its score."""
        first = self.discrete[: len(AXES)]
        if not self.has_twins or first[0].id != "positions-axes":
            return [self._tried(hypothesis, effort, rival) for hypothesis in first]
        scores = {"as read": stored.score}
        for name, hypothesis in zip(AXES, first, strict=True):
            if name not in TWINS:
                scores[name] = self._tried(hypothesis, effort, rival).score
        return [
            Tried(hypothesis, scores[TWINS.get(name, name)]) for name, hypothesis in zip(AXES, first, strict=True)
        ]  # fmt: skip

    def _keep_best_probes(self, tried: list[Tried]) -> None:
        """Go on with the probes of the hypotheses that explain most; the others would only take time."""
        best: dict[int, Score] = {}
        for item in best_of(tried):
            best.setdefault(item.score.probe, item.score)
        least = min(score.excess for score in best.values())
        kept = [index for index, score in best.items() if least >= CLEARLY_BETTER * score.excess]
        self.probes = [self.probes[index] for index in sorted(kept[:KEPT_PROBES])]
        self.has_twins = False

    def _best(
        self, values: Positions, make: Callable[[Scan, float], Hypothesis], smallest: float, effort: Effort,
        rival: Score | None = None,
    ) -> list[Tried]:  # fmt: skip
        """The best of a row of evenly spaced rotations or logarithms of scales about 0; none if it is about 0.

        Parabolas give its place between them: first through the row, then through closer values after more iterations.
        With a ``rival``, fits that are hopeless beside the one at 0 end halfway.
        """
        middle = self._tried(make(self.scan, 0.0), effort)
        rival = None if rival is None else middle.score
        row = [self._tried(make(self.scan, float(value)), effort, rival) if value else middle for value in values]
        best = vertex_of(values, [tried.score.mean for tried in row])
        if abs(best) < smallest / 2:
            return []
        closer, probes = best + (values[1] - values[0]) * CLOSER, self.probes
        self.probes = [probes[best_of(row)[0].score.probe]]
        scores = [self._tried(make(self.scan, float(value)), TO_REFINE).score.mean for value in closer]
        self.probes = probes
        best = vertex_of(closer, scores)
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

    def _tried(self, hypothesis: Hypothesis, effort: Effort, rival: Score | None = None) -> Tried:
        self.done += 1
        if self.progress is not None:
            self.progress(min(self.done, self.total), self.total)
        score = self.trials.score(hypothesis, self.probes, effort, refine_probe=self.refine_probe, rival=rival)
        return Tried(hypothesis, score)
