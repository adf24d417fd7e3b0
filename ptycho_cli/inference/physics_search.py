"""The best physics-only reconstruction of a scan: of any kind, at any length and any regularisation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ptycho_cli.physics.frame_source import ScanFrameSource
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.polish import polish_object
from ptycho_cli.physics.relaxation import Relaxation
from ptycho_cli.progress_callback import Progress, StageProgress, stage_progress

PLAIN, MOMENTUM, SMALL_SUBSETS = "plain steps", "steps with momentum", "iterations over small subsets"
KINDS = (PLAIN, MOMENTUM, SMALL_SUBSETS)

MAX_STAGES = 128
# Ordered subsets of the frames, whatever a network uses: with several of them an object converges in fewer stages. An
# iteration over small subsets goes through all frames, and so counts as this many stages.
SUBSETS = 4
_SCORED_STAGES = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)
# Iterations over small subsets after which an object is scored; each is a run of its own, whose alpha grows to its end.
_SCORED_ITERATIONS = (4, 8, 16)
# A run ends after so many times the stages of the best score; before this stage a falling score may come from a start
# that is still rough, afterwards it means that noise is fitted.
_PATIENCE, _MIN_STAGES = 2, 16
_COARSE_FACTOR, _FINE_FACTOR = 4.0, 2.0  # between the alphas that are tried
_MIN_ALPHA, _MAX_ALPHA = 1e-3, 256.0

Score = Callable[[Tensor], float]
"""Score of an object, complex ``(y, x)``; higher is better."""


@dataclass(frozen=True)
class PhysicsRun:
    """One physics-only reconstruction.

    Attributes:
        kind: One of ``KINDS``.
        steps: Number of steps, or of iterations.
        alpha: Regularisation; for iterations over small subsets that of the network, from which theirs follows.
        score: Its score, where it is known.
    """

    kind: str
    steps: int
    alpha: float
    score: float = math.nan

    def same_object(self, other: PhysicsRun) -> bool:
        """Return True if both make the same object, with whatever scores."""
        return (self.kind, self.steps, self.alpha) == (other.kind, other.steps, other.alpha)


@torch.inference_mode()
def physics_steps(
    frames: ScanFrames, probe: Tensor, kind: str = PLAIN, *, update: ObjectUpdate, subsets: int = SUBSETS, seed: int = 0
) -> Iterator[Tensor]:
    """Objects ``(y, x)`` after 1, 2, 3, ... physics steps, each from one ordered subset of the frames; without end.

    Plain steps are those of the ``unrolled`` network without its CNNs, steps with momentum those of the ``refiner``.

    Args:
        frames: The frames.
        probe: The probe, complex ``(mode, y, x)``.
        kind: ``PLAIN`` or ``MOMENTUM``.
        update: Regularised update of each step.
        subsets: Number of ordered subsets.
        seed: Seed of the subsets.
    """
    order = torch.randperm(len(frames.amplitude), generator=torch.Generator().manual_seed(seed))
    source = ScanFrameSource(frames.select(order.to(frames.amplitude.device)), probe)
    if kind == MOMENTUM:
        for objects in Relaxation(subsets=subsets, update=update).objects(source):
            yield objects[0]
    obj, stage = source.vacuum(), 0
    while True:
        change, photons = source.back_project(obj, slice(stage % subsets, None, subsets))
        obj = obj + update(obj, change, photons, source.peak)
        stage += 1
        yield obj[0]


def physics_object(
    frames: ScanFrames,
    probe: Tensor,
    run: PhysicsRun,
    *,
    update: ObjectUpdate,
    seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:
    """The object of one physics-only reconstruction, complex ``(y, x)``.

    Args:
        frames: The frames.
        probe: The probe, complex ``(mode, y, x)``.
        run: Kind, steps and regularisation.
        update: Regularised update, with another regularisation.
        seed: Seed of the subsets.
        progress: Called with (steps done, steps in all).
    """
    update = update.with_alpha(run.alpha)
    if run.kind == SMALL_SUBSETS:
        vacuum = frames.vacuum()
        return polish_object(frames, vacuum, probe, iterations=run.steps, update=update, seed=seed, progress=progress)
    objects = physics_steps(frames, probe, run.kind, update=update, seed=seed)
    for step in range(1, run.steps):
        next(objects)
        if progress is not None:
            progress(step, run.steps)
    return next(objects)


class PhysicsSearch:
    """A search for the best physics-only reconstruction of a scan, by several scores.

    One run of steps gives the objects of every length on its way. For each kind, alpha is changed by factors of 4 as
    long as that improves the score; for the best kind, then by 2 to either side. Every object is made once.

    Args:
        frames: Frames to reconstruct from.
        probe: The probe, complex ``(mode, y, x)``.
        scores: Functions that score an object.
        update: Regularised update of the network's physics for this scan; the search begins at its alpha.
        seed: Seed of the subsets.
        max_stages: Largest number of stages.
        progress: Called with (what is tried, stages done, stages in all).
    """

    def __init__(
        self, frames: ScanFrames, probe: Tensor, scores: Sequence[Score], *, update: ObjectUpdate, seed: int = 0,
        max_stages: int = MAX_STAGES, progress: StageProgress | None = None,
    ) -> None:  # fmt: skip
        self._frames, self._probe, self._scores, self._update, self._seed = frames, probe, scores, update, seed
        self._first_alpha = {
            PLAIN: update.alpha, MOMENTUM: Relaxation().update.alpha, SMALL_SUBSETS: update.alpha,
        }  # fmt: skip
        self._max_stages, self._progress = max_stages, progress
        self._runs: dict[tuple[str, float], list[tuple[PhysicsRun, ...]]] = {}

    def best(self, score: int = 0) -> tuple[PhysicsRun, ...]:
        """The best of each kind by score number ``score``, the best of all first."""
        found = sorted((self._best_of_kind(kind, score) for kind in KINDS), key=lambda run: -run.score)
        best = found[0]
        near = [self._best_length(best.kind, best.alpha * factor, score) for factor in (_FINE_FACTOR, 1 / _FINE_FACTOR)]
        return (max((best, *near), key=lambda run: run.score), *found[1:])

    def _best_of_kind(self, kind: str, score: int) -> PhysicsRun:
        first = self._best_length(kind, self._first_alpha[kind], score)
        larger = self._change_alpha(first, _COARSE_FACTOR, score)
        return larger if larger.score > first.score else self._change_alpha(first, 1 / _COARSE_FACTOR, score)

    def _change_alpha(self, best: PhysicsRun, factor: float, score: int) -> PhysicsRun:
        """Multiply alpha by a factor as long as the score improves."""
        while (found := self._best_length(best.kind, best.alpha * factor, score)).score > best.score:
            best = found
        return best

    def _best_length(self, kind: str, alpha: float, score: int) -> PhysicsRun:
        alpha = min(max(alpha, _MIN_ALPHA), _MAX_ALPHA)
        if (kind, alpha) not in self._runs:
            self._runs[kind, alpha] = self._scored_run(kind, alpha)
        return max((scored[score] for scored in self._runs[kind, alpha]), key=lambda run: run.score)

    def _scored_run(self, kind: str, alpha: float) -> list[tuple[PhysicsRun, ...]]:
        """All scores of the objects of one run; it ends where every score has been better before."""
        scored: list[tuple[PhysicsRun, ...]] = []
        for stages, steps, obj in self._objects(kind, alpha):
            finite = bool(torch.isfinite(torch.view_as_real(obj)).all())
            values = [score(obj) if finite else -math.inf for score in self._scores]
            scored.append(tuple(PhysicsRun(kind, steps, alpha, value) for value in values))
            lengths = [max(column, key=lambda run: run.score).steps for column in zip(*scored, strict=True)]
            if stages >= _MIN_STAGES and steps >= _PATIENCE * max(lengths):
                break
        return scored

    def _objects(self, kind: str, alpha: float) -> Iterator[tuple[int, int, Tensor]]:
        """The objects to score, each as (stages of work, steps, object)."""
        progress = stage_progress(self._progress, f"physics only: {kind}, alpha {alpha:.3g}")
        if kind == SMALL_SUBSETS:
            for steps in (steps for steps in _SCORED_ITERATIONS if steps * SUBSETS <= self._max_stages):
                run = PhysicsRun(kind, steps, alpha)
                obj = physics_object(
                    self._frames, self._probe, run, update=self._update, seed=self._seed, progress=progress
                )
                yield steps * SUBSETS, steps, obj
            return
        stages = [stages for stages in _SCORED_STAGES if stages <= self._max_stages]
        update = self._update.with_alpha(alpha)
        objects = physics_steps(self._frames, self._probe, kind, update=update, seed=self._seed)
        for stage, obj in zip(range(1, stages[-1] + 1), objects, strict=False):
            if progress is not None:
                progress(stage, stages[-1])
            if stage in stages:
                yield stage, stage, obj
