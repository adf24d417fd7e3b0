"""A trained network beside what it has to beat: itself untrained, the best untrained physics, and others' results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import polish_rule
from ptycho_cli.calibration.scan_canvas import canvas_origin, scan_frames
from ptycho_cli.config.schema import Config
from ptycho_cli.data.goodness_of_fit import misfit
from ptycho_cli.data.object_files import LoadedObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.write import Reconstruction
from ptycho_cli.errors import DataError
from ptycho_cli.inference.inference_run import held_out, scores
from ptycho_cli.inference.polish_choice import held_out_and_others
from ptycho_cli.inference.reconstruct import (
    Result,
    coverage_of,
    judged,
    mean_deviance,
    probe_for,
    run_network,
)
from ptycho_cli.inference.uncertainty import assess, held_out_misfit
from ptycho_cli.inference.untrained import Best, Judge, Search, untrained
from ptycho_cli.metrics import phase_correlation, report, snr_db
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.polish import polish_object
from ptycho_cli.progress_callback import Progress, StageProgress
from ptycho_cli.registration import align

BEST, BEST_BY_TRUTH = "best untrained", "best by truth"
POLISH = 16  # iterations to show what they would do, where the settings leave them open and auto makes none

Start = Callable[[ScanFrames, Progress], Tensor]


@dataclass(frozen=True, eq=False)
class Entry:
    """One reconstruction among those compared.

    Attributes:
        name: What it is.
        image: The object and, where it is ours, its coverage and place in the scan.
        stages: Stages of physics in it, or iterations; None where that is no question.
        alpha: Regularisation of those stages; None where it is learned or unknown.
        physics: Kind of the best untrained physics.
        beaten: Its score by the judge that chose it, and what the other kinds reach at their best; for people.
        polish: Iterations of physics alone after them.
        cpu_s: CPU seconds of the reconstruction, imports and reading apart; None for one from a file.
        figures: Scores by name, as ``ptycho evaluate`` names them.
    """

    name: str
    image: LoadedObject
    stages: int | None = None
    alpha: float | None = None
    physics: str | None = None
    beaten: str | None = None
    polish: int = 0
    cpu_s: float | None = None
    figures: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Contender:
    """A way to a first object, which is then polished or not."""

    name: str
    start: Start
    stages: int | None
    alpha: float | None
    physics: str | None = None
    beaten: str | None = None


def compare(
    objective: Objective,
    config: Config,
    scan: Scan,
    references: Sequence[LoadedObject] = (),
    *,
    training_scan: int | None = None,
    polish: int | None = None,
    progress: StageProgress | None = None,
) -> tuple[Entry, ...]:
    """Reconstruct a scan in every way and score each.

    The best untrained physics is the kind, the number of steps and the alpha with the lowest deviance of held-out
    frames. Where the object is known and its complex SNR chooses another, that one is there too.

    Args:
        objective: Network and probe of a run.
        config: Its settings, and those of ``inference``. Of polish, ``auto`` makes what it does everywhere, and 16
            iterations where that is none.
        scan: The scan.
        references: Other reconstructions of it.
        training_scan: The scan's number among those that the run was trained on; None if it was not.
        polish: Iterations of it that the run found best, if it did.
        progress: Called with (what, done, of how many).

    Returns:
        Trained, untrained and best untrained, each without and, if there is any, with polish, then the references.

    Raises:
        PtychoError: If run and scan do not fit together.
    """
    tell = progress or (lambda what, done, total: None)
    bench = _Bench(objective, config, scan, training_scan, polish, tell)
    entries = [entry for contender in bench.contenders() for entry in bench.run(contender)]
    own = [_with_correlations(entry, references) for entry in entries]
    return (*own, *(_reference(other, scan) for other in references))


class _Bench:
    """A scan and everything that is the same for all contenders."""

    def __init__(
        self,
        objective: Objective,
        config: Config,
        scan: Scan,
        training_scan: int | None,
        polish: int | None,
        tell: StageProgress,
    ) -> None:
        self.objective, self.config, self.scan, self.tell = objective, config, scan, tell
        self.polish = polish_rule(objective, config, scan).choose(polish).iterations
        if config.inference.polish == "auto":
            self.polish = self.polish or POLISH
        self.probe = probe_for(objective, scan, own=config.inference.probe == "scan")
        self.update = update_for(config.physics, scan)
        self.seed = config.training.seed
        self.left, self.unseen = held_out(config, scan, training_scan)
        self.whole = self._exposure(scan)

    def contenders(self) -> list[_Contender]:
        """The ways to compare, the best untrained one searched for."""
        network, stages = self.objective.network, getattr(self.objective.network, "stages", None)

        def run(*, physics_only: bool) -> Start:
            return lambda exposure, report: run_network(
                network, exposure, self.probe, physics_only=physics_only, seed=self.seed, progress=report
            )

        def opponent(name: str, found: tuple[Best, ...]) -> _Contender:
            best = found[0]

            def start(exposure: ScanFrames, report: Progress) -> Tensor:
                return untrained(exposure, self.probe, best, update=self.update, seed=self.seed, report=report)

            return _Contender(name, start, best.steps, best.alpha, best.kind, _ranking(found))

        kept, judges = self._contest()
        search = Search(kept, self.probe, judges, update=self.update, seed=self.seed, report=self.tell)
        by_data = search.best(0)
        opponents = [opponent(BEST, by_data)]
        if len(judges) > 1 and not (by_truth := search.best(1))[0].same(by_data[0]):
            opponents.append(opponent(BEST_BY_TRUTH, by_truth))
        return [
            _Contender("trained", run(physics_only=False), stages, None),
            _Contender("untrained", run(physics_only=True), stages, self.update.alpha),
            *opponents,
        ]

    def _contest(self) -> tuple[ScanFrames, list[Judge]]:
        """Frames for the search to reconstruct from, and how it judges.

        By minus the deviance of held-out frames; and by the complex SNR, where the object is known.

        Raises:
            DataError: If no frames are held out.
        """
        scan = self.scan
        if len(self.left) == 0:
            raise DataError(f"{scan.source}: {scan.n_frames} frames are too few to hold some out.")
        unseen, kept = (self._frames(chosen) for chosen in held_out_and_others(scan, self.left))

        def by_data(obj: Tensor) -> float:
            return -mean_deviance(unseen, obj, self.probe)

        if scan.truth is None:
            return kept, [by_data]
        truth = LoadedObject("truth", scan.truth, scan.truth_origin_px)
        coverage = coverage_of(kept, self.probe).cpu().numpy()
        offset = LoadedObject("found", coverage, canvas_origin(scan)).offset_on(truth)

        def by_truth(obj: Tensor) -> float:
            return snr_db(align(obj.cpu().numpy(), truth.object, coverage=coverage, offset_px=offset))

        return kept, [by_data, by_truth]

    def _frames(self, chosen: NDArray[np.int64]) -> ScanFrames:
        return self.whole.select(torch.from_numpy(chosen).to(self.whole.amplitude.device))

    def _exposure(self, part: Scan) -> ScanFrames:
        pairs = self.objective.probe_pairs
        return scan_frames(part, dtype=pairs.dtype, device=pairs.device)

    def run(self, contender: _Contender) -> list[Entry]:
        """Reconstruct without polish and, if there is any, with it, and score all."""
        parts: dict[str, list[tuple[Result, float]]] = {}

        def results(part: Scan, name: str) -> list[tuple[Result, float]]:
            if name not in parts:
                parts[name] = self._both(contender, part, f"{contender.name}, {name}" if name else contender.name)
            return parts[name]

        entries = []
        for which, (result, cpu_s) in enumerate(results(self.scan, "")):
            figures = self._figures(result, lambda part, name: results(part, name)[which][0].reconstruction)  # noqa: B023
            polish = self.polish if which else 0
            found = result.reconstruction
            entries.append(
                Entry(
                    f"{contender.name} + polish" if which else contender.name,
                    LoadedObject(contender.name, found.object, found.object_origin_px, found.coverage, found),
                    contender.stages,
                    contender.alpha,
                    contender.physics,
                    contender.beaten,
                    polish,
                    cpu_s,
                    figures,
                )
            )
        return entries

    def _both(self, contender: _Contender, part: Scan, name: str) -> list[tuple[Result, float]]:
        exposure = self._exposure(part)
        began = time.process_time()
        obj = contender.start(exposure, lambda done, of: self.tell(name, done, of))
        took = time.process_time() - began
        plain = (judged(exposure, part, obj, self.probe), took)
        if not self.polish:
            return [plain]
        began = time.process_time()
        obj = polish_object(
            exposure,
            obj,
            self.probe,
            iterations=self.polish,
            update=self.update,
            seed=self.seed,
            progress=lambda done, of: self.tell(f"{name}, polish", done, of),
        )
        took += time.process_time() - began
        return [plain, (judged(exposure, part, obj, self.probe), took)]

    def _figures(self, result: Result, solve: Callable[[Scan, str], Reconstruction]) -> dict[str, Any]:
        figures, whole = scores(result, self.scan), result.reconstruction
        if self.config.inference.uncertainty:
            known = assess(
                solve, self.scan, whole, held_out=self.left, from_training=self.unseen, seed=self.seed
            )  # fmt: skip
            return {**figures, **known.metrics()}
        return {**figures, "held_out_deviance": held_out_misfit(solve, self.scan, whole, self.left).deviance}


def _ranking(found: Sequence[Best]) -> str:
    """What each kind of physics reaches at its best; the judge's score is a complex SNR or minus a deviance."""
    return "; ".join(
        f"{best.steps} {best.kind}, alpha {best.alpha:.3g}: {abs(best.score):.{3 if best.score < 0 else 1}f}"
        for best in found
    )


def _with_correlations(entry: Entry, references: Sequence[LoadedObject]) -> Entry:
    for other in references:
        aligned = align(
            entry.image.object, other.object, coverage=entry.image.coverage, offset_px=entry.image.offset_on(other)
        )
        entry.figures[f"phase_correlation {other.name}"] = phase_correlation(aligned)
    return entry


def _reference(other: LoadedObject, scan: Scan) -> Entry:
    figures: dict[str, Any] = {}
    if other.reconstruction is not None:
        fit = misfit(other.reconstruction, scan)
        figures |= {"r_factor": fit.r_factor, "deviance": fit.deviance}
    if scan.truth is not None:
        truth = LoadedObject("truth", scan.truth, scan.truth_origin_px)
        offset = other.offset_on(truth)
        figures |= report(align(other.object, truth.object, coverage=other.coverage, offset_px=offset))
    return Entry(other.name, other, figures=figures)
