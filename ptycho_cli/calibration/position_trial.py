"""The last trials of a geometry that explains little: positions transformed, late from a frame on, each by its own.

A stretch along one axis and a shear are rare, and take two more rows of trials.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.geometry_hypotheses import Hypothesis, as_read, delayed, transformation
from ptycho_cli.calibration.geometry_result import GeometryTrials, Tried, improves
from ptycho_cli.calibration.position_search import refine_positions
from ptycho_cli.calibration.scan_trials import (
    TO_DECIDE,
    TO_PREVIEW,
    TO_REFINE,
    Effort,
    ScanTrials,
    Score,
    vertex_of,
)
from ptycho_cli.data.position_transform import PositionTransform

SMALLEST, LEFT = 0.05, 0.3  # of photon noise beyond it: what stored positions leave at least, and refined ones at most
LITTLE = 0.002  # of photon noise: where less lies beyond it, no linear transformation is tried
REFINED = "physics.refine_positions=true"
LINEAR = ("positions-rotation", "positions-scale")  # which one more parameter of the same kind may explain better
# Logarithms of the scale and of stretches along y and along a diagonal, and a rotation in radians: near none, none of
# them undoes a part of another, so that they can be found one after the other.
Parameters = NDArray[np.float64]
ROWS, CHANGES = (1, 2), np.linspace(-0.15, 0.15, 7)  # the two stretches, and how they are changed to begin with
TO_BEGIN = Effort(16, 1)
WORTHWHILE = 3.0  # standard errors: so much better than before the best of a row must be
ROUNDS = (
    np.linspace(-0.06, 0.06, 5),
    np.linspace(-0.015, 0.015, 3),
)  # changes of each parameter in the rounds that follow
DELAYS_FROM_A_FRAME = (-1, 1, -2, 2)  # where frames were dropped or recorded twice
SMALLEST_STRETCH = 0.015  # less is for the refinement of positions


def with_moved_positions(
    found: GeometryTrials, trials: ScanTrials, probes: Sequence[Tensor], *, move_frames: bool
) -> GeometryTrials:
    """Trials of a geometry, with a better one by moved positions where the others explain little.

    Args:
        found: Trials of other geometries.
        trials: The fits.
        probes: Probes to choose from, each complex ``(mode, y, x)``.
        move_frames: Try also to move each frame by its own.
    """
    last = _LastTrials(found, trials, probes)
    if found.shuffled is None:
        moved = last.transformed() or last.delayed_from_a_frame_on()
        if moved is not None or found.findings:
            return moved or found
    return last.with_each_frame_moved() if move_frames else found


@dataclass(frozen=True, eq=False)
class _LastTrials:
    """The last trials of a scan."""

    found: GeometryTrials
    trials: ScanTrials
    probes: Sequence[Tensor]

    @cached_property
    def stored(self) -> Tried:
        """The positions as read."""
        reading = as_read(self.found.scan)
        return Tried(reading, self.trials.score(reading, [self.probe], TO_DECIDE))

    @cached_property
    def probe(self) -> Tensor:
        """The probe that explains most with the positions as read, complex ``(mode, y, x)``."""
        if len(self.probes) == 1:
            return self.probes[0]
        return self.probes[self.trials.score(as_read(self.found.scan), self.probes, TO_PREVIEW).probe]

    def transformed(self) -> GeometryTrials | None:
        """The best linear transformation, beginning with what was found; None if it explains no more."""
        best = self.found.best if self.found.findings else None
        if best is not None and (best.hypothesis.id not in LINEAR or best.hypothesis.also is not None):
            return None
        start, places = best or self.stored, self.found.scan.positions_px
        on_a_line = np.linalg.matrix_rank(places - places.mean(axis=0), tol=1.0) < 2
        if on_a_line or start.score.excess < LITTLE * start.score.noise:
            return None
        for probe in self._either_probe():
            values = self._improved(self._parameters_of(start.hypothesis), probe)
            if values is not None and np.hypot(*values[1:3]) >= SMALLEST_STRETCH:
                hypothesis = self._hypothesis(values)
                score = self.trials.score(hypothesis, [probe], TO_DECIDE)
                if improves(score, start.score):
                    return replace(self.found, stored=self.stored, best=Tried(hypothesis, score))
        return None

    def _either_probe(self) -> list[Tensor]:
        """The file's probe, and the one that explains most: one refined for wrong positions takes up their errors."""
        from_file = [] if self.trials.scan.probe is None else self.trials.first_probes()
        return [*from_file, *(probe for probe in [self.probe] if not any(torch.equal(probe, own) for own in from_file))]

    def _parameters_of(self, hypothesis: Hypothesis) -> Parameters:
        before, after = (
            places - places.mean(axis=0) for places in (self.found.scan.positions_px, hypothesis.positions_px)
        )
        matrix = np.linalg.lstsq(before, after, rcond=None)[0].T
        left, factors, right = np.linalg.svd(matrix)
        turn, stretch = left @ right, right.T @ np.diag(np.log(factors)) @ right
        scale = np.trace(stretch) / 2
        return np.array([scale, stretch[0, 0] - scale, stretch[0, 1], np.arctan2(turn[1, 0], turn[0, 0])])

    def _hypothesis(self, values: Parameters) -> Hypothesis:
        scale, along_y, diagonal, angle = values
        turn = PositionTransform(rotation_deg=float(np.rad2deg(angle))).matrix
        factors, axes = np.linalg.eigh([[scale + along_y, diagonal], [diagonal, scale - along_y]])
        matrix = turn @ axes @ np.diag(np.exp(factors)) @ axes.T
        return transformation(self.found.scan, PositionTransform.from_matrix(matrix))

    def _improved(self, start: Parameters, probe: Tensor) -> Parameters | None:
        """The best parameters near some, found one by one; None if stretches explain no more at first."""
        values, gained = start, False
        for which in ROWS:
            scores, change = self._row(values, which, CHANGES, probe, TO_BEGIN)
            middle = scores[len(scores) // 2]
            if max(score.significance(middle) for score in scores if score is not middle) > WORTHWHILE:
                values, gained = _changed(values, which, change), True
        if not gained:
            return None
        for changes in ROUNDS:
            for which in range(len(values)):
                values = _changed(values, which, self._row(values, which, changes, probe, TO_REFINE)[1])
        return values

    def _row(
        self, values: Parameters, which: int, changes: NDArray[np.float64], probe: Tensor, effort: Effort
    ) -> tuple[list[Score], float]:
        """Scores of evenly spaced changes of one parameter about none, and the change that a parabola finds best.

        Fits that are hopeless beside that without a change end halfway.
        """
        rival: Score | None = None
        scores: dict[float, Score] = {}
        for change in sorted((float(change) for change in changes), key=abs):
            hypothesis = self._hypothesis(_changed(values, which, change))
            scores[change] = self.trials.score(hypothesis, [probe], effort, rival=rival)
            rival = rival or scores[change]
        row = [scores[float(change)] for change in changes]
        return row, vertex_of(changes, [score.mean for score in row])

    def delayed_from_a_frame_on(self) -> GeometryTrials | None:
        """Positions that are those of other frames from one frame on; None where that explains no more.

        Of a wrong number of the first such frame, all frames between it and the right one are explained badly: it is
        found by halving.
        """
        options, scan = self.found.scan.read_as.options, self.found.scan
        explained = self.stored.score.excess < SMALLEST * self.stored.score.noise
        if self.found.findings or explained or options.position_delay or options.position_sequence != "stored":
            return None
        numbers = np.sort(scan.frame_numbers[self.trials.rows])
        begun = self.trials.score(self.stored.hypothesis, [self.probe], TO_BEGIN)
        tried = [
            (self.trials.score(delayed(scan, delay, first=int(numbers[at])), [self.probe], TO_BEGIN), delay, at)
            for delay in DELAYS_FROM_A_FRAME
            for at in (len(numbers) * np.arange(1, 4)) // 4
        ]
        score, delay, at = min(tried, key=lambda item: item[0].mean)
        if score.significance(begun) < WORTHWHILE:
            return None
        step, scores = len(numbers) // 8, {}
        while step:
            for near in (at - step, at, at + step):
                if near not in scores and 0 < near < len(numbers):
                    hypothesis = delayed(scan, delay, first=int(numbers[near]))
                    scores[near] = self.trials.score(hypothesis, [self.probe], TO_REFINE).mean
            at, step = min(scores, key=lambda near: scores[near]), step // 2
        hypothesis = delayed(scan, delay, first=int(numbers[at]))
        score = self.trials.score(hypothesis, [self.probe], TO_DECIDE)
        if not improves(score, self.stored.score):
            return None
        return replace(self.found, stored=self.stored, best=Tried(hypothesis, score))

    def with_each_frame_moved(self) -> GeometryTrials:
        """Trials with refined positions as the best, where these alone explain the frames.

        A frame that is left out is judged at the position that it was found at itself, which are two numbers for all
        of its pixels.
        """
        stored = self.stored.score
        if stored.excess < SMALLEST * stored.noise:
            return self.found
        for probe in self._either_probe():
            refined = self._refined(probe)
            score = self.trials.score(refined, [probe], TO_DECIDE)
            if score.excess < LEFT * score.noise and improves(score, stored):
                return replace(self.found, shuffled=None, stored=self.stored, best=Tried(refined, score))
        return self.found

    def _refined(self, probe: Tensor) -> Hypothesis:
        """The positions that the frames of the trials are explained best at with a probe."""
        trials, reading = self.trials, self.stored.hypothesis
        scan = replace(trials.scan.select(trials.rows), stored_positions_px=None, intensities=None)
        longest_px = CalibrationOptions.max_position_shift_px * trials.shrink
        moved = refine_positions(scan, probe, update=trials.update, max_shift_px=longest_px, seed=trials.seed)
        moves = (moved - scan.positions_px) / trials.shrink
        positions_px = reading.positions_px.copy()
        positions_px[trials.rows] += moves
        rms = float(np.sqrt(np.mean(np.sum(moves**2, axis=1))))
        name = f"the position of each frame refined (by {rms:.2g} px rms)"
        return Hypothesis(
            "positions-error", name, REFINED, positions_px, cause="The stage was elsewhere than the file says."
        )


def _changed(values: Parameters, which: int, by: float) -> Parameters:
    """Parameters with one changed."""
    values = values.copy()
    values[which] += by
    return values
