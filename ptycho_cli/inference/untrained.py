"""The strongest opponent of a network: physics without training, of any kind, at any length and any regularisation."""

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
from ptycho_cli.progress_callback import Progress, StageProgress

PLAIN, MOMENTUM, SMALL = "plain steps", "steps with momentum", "iterations over small subsets"
KINDS = (PLAIN, MOMENTUM, SMALL)

MOST_STAGES = 128
# Ordered subsets of the frames, whatever a network uses: several settle in fewer stages than one. An iteration over
# small subsets goes through all frames, and so counts as this many stages.
SUBSETS = 4
_LOOKS = (4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128)  # stages after which an object is judged
_SURE = 16  # stages from which on a score that falls is noise being fitted, not a start that is still rough
_PATIENCE = 2  # times as many stages without a better score
_SMALL_LOOKS = (4, 8, 16)  # iterations over small subsets; each a run of its own, for its alpha grows to its end
_COARSE, _FINE = 4.0, 2.0
_LEAST_ALPHA, _LARGEST_ALPHA = 1e-3, 256.0

Judge = Callable[[Tensor], float]
"""Score of an object, ``(y, x)``; higher is better."""


@dataclass(frozen=True)
class Best:
    """The best of some untrained reconstructions, and with what score of the judge's.

    Attributes:
        kind: One of ``KINDS``.
        steps: How many of them.
        alpha: Regularisation; for iterations over small subsets that of the network, which theirs follows from.
        score: The judge's.
    """

    kind: str
    steps: int
    alpha: float
    score: float

    def same(self, other: Best) -> bool:
        """Whether both are one reconstruction, whatever the judges said of it."""
        return (self.kind, self.steps, self.alpha) == (other.kind, other.steps, other.alpha)


@torch.inference_mode()
def untrained_stages(
    exposure: ScanFrames,
    probe: Tensor,
    *,
    update: ObjectUpdate,
    momentum: bool = False,
    subsets: int = SUBSETS,
    seed: int = 0,
) -> Iterator[Tensor]:
    """Objects after 1, 2, 3, ... physics steps, each from one ordered subset of the frames; without end.

    Plain steps are those of the ``unrolled`` network with silent CNNs, steps with momentum those of the ``refiner``.

    Args:
        exposure: The scan.
        probe: The probe, complex ``(mode, y, x)``.
        update: The regularised update of a step.
        momentum: Whether steps have momentum.
        subsets: Ordered subsets of the frames.
        seed: Seed of the subsets.
    """
    order = torch.randperm(len(exposure.amplitude), generator=torch.Generator().manual_seed(seed))
    source = ScanFrameSource(exposure.select(order.to(exposure.amplitude.device)), probe)
    if momentum:
        for objects in Relaxation(subsets=subsets, update=update).objects(source):
            yield objects[0]
    obj, stage = source.vacuum(), 0
    while True:
        change, photons = source.back_project(obj, slice(stage % subsets, None, subsets))
        obj = obj + update(obj, change, photons, source.peak)
        stage += 1
        yield obj[0]


def untrained(
    exposure: ScanFrames,
    probe: Tensor,
    best: Best,
    *,
    update: ObjectUpdate,
    seed: int = 0,
    report: Progress | None = None,
) -> Tensor:
    """The object of one untrained reconstruction, with ``best.alpha`` in the update, complex ``(y, x)``."""
    update = update.with_alpha(best.alpha)
    if best.kind == SMALL:
        return polish_object(
            exposure,
            exposure.vacuum(),
            probe,
            iterations=best.steps,
            update=update,
            seed=seed,
            progress=report,
        )
    made = untrained_stages(exposure, probe, update=update, momentum=best.kind == MOMENTUM, seed=seed)
    for step in range(1, best.steps):
        next(made)
        if report is not None:
            report(step, best.steps)
    return next(made)


class Search:
    """Untrained reconstructions of a scan, each made once and judged in several ways.

    One run of stages shows every length on its way. Of each kind, alpha is changed by factors of 4 as long as that
    helps; of the best kind, then by 2 to either side.

    Args:
        exposure: Frames to reconstruct from.
        probe: The probe, complex ``(mode, y, x)``.
        judges: Score an object, each in its way.
        update: The regularised update of the network's physics for this scan; the search begins at its alpha.
        seed: Seed of the subsets.
        most: Largest number of stages.
        report: Called with (what is tried, stages done, of how many).
    """

    def __init__(
        self, exposure: ScanFrames, probe: Tensor, judges: Sequence[Judge], *, update: ObjectUpdate, seed: int = 0,
        most: int = MOST_STAGES, report: StageProgress | None = None,
    ) -> None:  # fmt: skip
        self._exposure, self._probe, self._judges, self._seed = exposure, probe, judges, seed
        self._first = {PLAIN: update.alpha, MOMENTUM: Relaxation().update.alpha, SMALL: update.alpha}
        self._update, self._most, self._report = update, most, report
        self._runs: dict[tuple[str, float], list[tuple[Best, ...]]] = {}

    def best(self, judge: int = 0) -> tuple[Best, ...]:
        """The best of each kind by judge number ``judge``, the best of all first."""
        found = sorted((self._coarse(kind, judge) for kind in KINDS), key=lambda best: -best.score)
        near = [self._at(found[0].kind, found[0].alpha * factor, judge) for factor in (_FINE, 1 / _FINE)]
        return (max((found[0], *near), key=lambda best: best.score), *found[1:])

    def _coarse(self, kind: str, judge: int) -> Best:
        first = self._at(kind, self._first[kind], judge)
        up = self._climb(first, _COARSE, judge)
        return up if up.score > first.score else self._climb(first, 1 / _COARSE, judge)

    def _climb(self, best: Best, factor: float, judge: int) -> Best:
        while (found := self._at(best.kind, best.alpha * factor, judge)).score > best.score:
            best = found
        return best

    def _at(self, kind: str, alpha: float, judge: int) -> Best:
        """The best length of a kind at one alpha."""
        alpha = min(max(alpha, _LEAST_ALPHA), _LARGEST_ALPHA)
        if (kind, alpha) not in self._runs:
            self._runs[kind, alpha] = self._judged(kind, alpha)
        return max((look[judge] for look in self._runs[kind, alpha]), key=lambda best: best.score)

    def _judged(self, kind: str, alpha: float) -> list[tuple[Best, ...]]:
        """One run: at every look, what each judge says; it ends where all of them have seen better."""
        looks: list[tuple[Best, ...]] = []
        for stages, steps, obj in self._objects(kind, alpha):
            finite = bool(torch.isfinite(torch.view_as_real(obj)).all())
            scores = [judge(obj) if finite else -math.inf for judge in self._judges]
            looks.append(tuple(Best(kind, steps, alpha, score) for score in scores))
            lengths = [max(row, key=lambda best: best.score).steps for row in zip(*looks, strict=True)]
            if stages >= _SURE and steps >= _PATIENCE * max(lengths):
                break
        return looks

    def _objects(self, kind: str, alpha: float) -> Iterator[tuple[int, int, Tensor]]:
        """(Stages' worth of work, steps, object) after each number of stages to look at."""
        name, looks = f"untrained: {kind}, alpha {alpha:.3g}", [look for look in _LOOKS if look <= self._most]
        if kind == SMALL:
            for steps in (look for look in _SMALL_LOOKS if look * SUBSETS <= self._most):
                task = Best(kind, steps, alpha, 0.0)
                yield (
                    steps * SUBSETS,
                    steps,
                    untrained(
                        self._exposure, self._probe, task, update=self._update, seed=self._seed, report=self._tell(name)
                    ),
                )
            return
        update = self._update.with_alpha(alpha)
        made = untrained_stages(self._exposure, self._probe, update=update, momentum=kind == MOMENTUM, seed=self._seed)
        for stage, obj in zip(range(1, looks[-1] + 1), made, strict=False):
            self._tell(name)(stage, looks[-1])
            if stage in looks:
                yield stage, stage, obj

    def _tell(self, name: str) -> Progress:
        return lambda done, of: None if self._report is None else self._report(name, done, of)
