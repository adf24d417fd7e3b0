"""A trained network compared with physics-only reconstructions of the same scan, and with others' results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ptycho_cli.assembly.auto_values import update_for
from ptycho_cli.assembly.network_weights import NetworkWeights
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import polish_rule
from ptycho_cli.calibration.scan_canvas import canvas_origin, scan_frames
from ptycho_cli.config.schema import Config
from ptycho_cli.data.misfit import misfit
from ptycho_cli.data.object_files import LoadedObject
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import DataError
from ptycho_cli.inference.held_out import central_split, held_out_of
from ptycho_cli.inference.physics_search import PhysicsRun, PhysicsSearch, Score, physics_object
from ptycho_cli.inference.reconstruct import reconstruction_probe, run_network
from ptycho_cli.inference.results import Result, coverage_of, deviance_of, result_of, scores
from ptycho_cli.inference.uncertainty import estimate_uncertainty, held_out_misfit
from ptycho_cli.metrics import phase_correlation, report, snr_db
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.polish import polish_object
from ptycho_cli.progress_callback import Progress, StageProgress
from ptycho_cli.registration import align

SHIPPED, BEST, BEST_BY_TRUTH = "shipped weights", "best physics only", "best by truth"
DEFAULT_POLISH = 16  # iterations to show what they do, where the setting is auto and chooses none


@dataclass(frozen=True, eq=False)
class Row:
    """One of the reconstructions that are compared.

    Attributes:
        name: Name of the reconstruction.
        image: The object, and its coverage and place in the scan where they are known.
        stages: Physics stages or iterations in it; None where there are none.
        alpha: Regularisation of those stages; None where it is learned or unknown.
        physics: Kind of the best physics-only reconstruction.
        ranking: The best of each kind of physics with its score, the best of all first, for people.
        polish: Iterations of physics alone after the stages.
        cpu_s: CPU seconds of the reconstruction, without imports and reading; None for one from a file.
        scores: Scores by name, as ``ptycho evaluate`` names them.
    """

    name: str
    image: LoadedObject
    stages: int | None = None
    alpha: float | None = None
    physics: str | None = None
    ranking: str | None = None
    polish: int = 0
    cpu_s: float | None = None
    scores: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class _Method:
    """A way to find an object, before it is polished; the attributes are those of ``Row``."""

    name: str
    find: Callable[[ScanFrames, Progress], Tensor]
    stages: int | None
    alpha: float | None
    physics: str | None = None
    ranking: str | None = None


def compare(
    objective: Objective,
    config: Config,
    scan: Scan,
    references: Sequence[LoadedObject] = (),
    *,
    training_scan: int | None = None,
    polish: tuple[int | None, float] = (None, 0.0),
    shipped: NetworkWeights | None = None,
    progress: StageProgress | None = None,
) -> tuple[Row, ...]:
    """Reconstruct a scan in every way and score each.

    The best physics-only reconstruction is of the kind, the number of steps and the alpha with the lowest deviance of
    held-out frames. Where the object is known and its complex SNR chooses another, that one is added.

    Args:
        objective: Network and probe of a run.
        config: Its settings, and those of ``inference``. With ``auto``, polish is what ``infer`` makes, and 16
            iterations where that is none.
        scan: The scan.
        references: Other reconstructions of it.
        training_scan: The scan's number among those that the run was trained on; None if it was not.
        polish: Iterations of polish that the run chose for its own scan, None where it did not choose, and the weight
            of the prior.
        shipped: Weights that come with the program, for a network that was not trained on the scan; None for none.
        progress: Called with (stage, steps done, steps in all).

    Returns:
        Trained, with shipped weights, untrained and best physics-only, each without and, if there is any, with polish,
        then the references.

    Raises:
        PtychoError: If run and scan do not fit together.
    """
    comparison = _Comparison(objective, config, scan, training_scan, polish, shipped, progress)
    rows = [row for method in comparison.methods() for row in comparison.rows(method)]
    return (*(_with_correlations(row, references) for row in rows), *(_reference(other, scan) for other in references))


class _Comparison:
    """A scan, and everything that is the same for all methods."""

    def __init__(
        self,
        objective: Objective,
        config: Config,
        scan: Scan,
        training_scan: int | None,
        polish: tuple[int | None, float],
        shipped: NetworkWeights | None,
        progress: StageProgress | None,
    ) -> None:
        self.shipped = shipped
        self.objective, self.config, self.scan = objective, config, scan
        self.report = progress or (lambda stage, done, total: None)
        chosen = polish_rule(objective, config, scan).choose(*polish)
        self.polish, self.tv_weight = chosen.iterations, chosen.tv_weight
        if config.inference.polish == "auto":
            self.polish = self.polish or DEFAULT_POLISH
        self.probe = reconstruction_probe(objective, scan)
        self.update, self.seed = update_for(config.physics, scan), config.training.seed
        self.held_out, self.unseen = held_out_of(config, scan, training_scan)
        self.frames = self._frames_of(scan)

    def methods(self) -> list[_Method]:
        """The methods to compare; searches for the best physics-only reconstructions."""
        network, stages = self.objective.network, getattr(self.objective.network, "stages", None)

        def run(network: nn.Module, *, physics_only: bool) -> Callable[[ScanFrames, Progress], Tensor]:
            return lambda frames, progress: run_network(
                network, frames, self.probe, physics_only=physics_only, seed=self.seed, progress=progress
            )

        frames, score_functions = self._search_frames()
        search = PhysicsSearch(
            frames, self.probe, score_functions, update=self.update, seed=self.seed, progress=self.report
        )
        by_data = search.best(0)
        methods = [
            _Method("trained", run(network, physics_only=False), stages, None),
            _Method("untrained", run(network, physics_only=True), stages, self.update.alpha),
            self._physics_method(BEST, by_data),
        ]
        if self.shipped is not None:
            other = deepcopy(network)
            self.shipped.load_into(other)
            methods.insert(1, _Method(SHIPPED, run(other, physics_only=False), stages, None))
        if len(score_functions) > 1 and not (by_truth := search.best(1))[0].same_object(by_data[0]):
            methods.append(self._physics_method(BEST_BY_TRUTH, by_truth))
        return methods

    def _physics_method(self, name: str, ranked: tuple[PhysicsRun, ...]) -> _Method:
        best = ranked[0]

        def find(frames: ScanFrames, progress: Progress) -> Tensor:
            return physics_object(frames, self.probe, best, update=self.update, seed=self.seed, progress=progress)

        return _Method(name, find, best.steps, best.alpha, best.kind, _ranking(ranked))

    def _search_frames(self) -> tuple[ScanFrames, list[Score]]:
        """Frames to search with, and the scores: minus the deviance of held-out frames, and the SNR where it is known.

        Raises:
            DataError: If no frames are held out.
        """
        scan = self.scan
        if len(self.held_out) == 0:
            raise DataError(f"{scan.source}: {scan.n_frames} frames are too few to hold some out.")
        test, kept = (self._select(chosen) for chosen in central_split(scan, self.held_out))

        def by_data(obj: Tensor) -> float:
            return -deviance_of(test, obj, self.probe)

        if scan.truth is None:
            return kept, [by_data]
        truth = LoadedObject("truth", scan.truth, scan.truth_origin_px)
        coverage = coverage_of(kept, self.probe).cpu().numpy()
        offset = LoadedObject("found", coverage, canvas_origin(scan)).offset_on(truth)

        def by_truth(obj: Tensor) -> float:
            return snr_db(align(obj.cpu().numpy(), truth.object, coverage=coverage, offset_px=offset))

        return kept, [by_data, by_truth]

    def _select(self, chosen: NDArray[Any]) -> ScanFrames:
        return self.frames.select(torch.from_numpy(chosen).to(self.frames.amplitude.device))

    def _frames_of(self, part: Scan) -> ScanFrames:
        pairs = self.objective.probe_pairs
        return scan_frames(part, dtype=pairs.dtype, device=pairs.device)

    def rows(self, method: _Method) -> list[Row]:
        """Reconstruct without polish and, if there is any, with it, and score both."""
        results: dict[str, list[tuple[Result, float]]] = {}

        def solve(part: Scan, name: str, which: int) -> Reconstruction:
            if name not in results:
                results[name] = self._reconstruct(method, part, f"{method.name}, {name}" if name else method.name)
            return results[name][which][0].reconstruction

        rows = []
        solve(self.scan, "", 0)
        for which, (result, cpu_s) in enumerate(results[""]):
            found = result.reconstruction
            rows.append(
                Row(
                    f"{method.name} + polish" if which else method.name,
                    LoadedObject(method.name, found.object, found.object_origin_px, found.coverage, found),
                    method.stages,
                    method.alpha,
                    method.physics,
                    method.ranking,
                    self.polish if which else 0,
                    cpu_s,
                    self._scores(result, lambda part, name: solve(part, name, which)),  # noqa: B023
                )
            )
        return rows

    def _reconstruct(self, method: _Method, part: Scan, name: str) -> list[tuple[Result, float]]:
        """Results without and, if there is any, with polish, each with its CPU seconds."""
        frames = self._frames_of(part)
        began = time.process_time()
        obj = method.find(frames, lambda done, total: self.report(name, done, total))
        cpu_s = time.process_time() - began
        results = [(result_of(frames, part, obj, self.probe), cpu_s)]
        if self.polish:
            began = time.process_time()
            obj = polish_object(
                frames, obj, self.probe, iterations=self.polish, tv_weight=self.tv_weight, update=self.update,
                seed=self.seed, progress=lambda done, total: self.report(f"{name}, polish", done, total),
            )  # fmt: skip
            cpu_s += time.process_time() - began
            results.append((result_of(frames, part, obj, self.probe), cpu_s))
        return results

    def _scores(self, result: Result, solve: Callable[[Scan, str], Reconstruction]) -> dict[str, Any]:
        values, whole = scores(result, self.scan), result.reconstruction
        if self.config.inference.uncertainty:
            uncertainty = estimate_uncertainty(
                solve, self.scan, whole, held_out=self.held_out, from_training=self.unseen, seed=self.seed
            )
            return {**values, **uncertainty.metrics()}
        return {**values, "held_out_deviance": held_out_misfit(solve, self.scan, whole, self.held_out).deviance}


def _ranking(ranked: Sequence[PhysicsRun]) -> str:
    """The best of each kind of physics; the score is a complex SNR in dB or minus a deviance."""
    return "; ".join(
        f"{run.steps} {run.kind}, alpha {run.alpha:.3g}: {abs(run.score):.{3 if run.score < 0 else 1}f}"
        for run in ranked
    )


def _with_correlations(row: Row, references: Sequence[LoadedObject]) -> Row:
    for other in references:
        aligned = align(
            row.image.object, other.object, coverage=row.image.coverage, offset_px=row.image.offset_on(other)
        )
        row.scores[f"phase_correlation {other.name}"] = phase_correlation(aligned)
    return row


def _reference(other: LoadedObject, scan: Scan) -> Row:
    values: dict[str, Any] = {}
    if other.reconstruction is not None:
        fit = misfit(other.reconstruction, scan)
        values |= {"r_factor": fit.r_factor, "deviance": fit.deviance}
    if scan.truth is not None:
        truth = LoadedObject("truth", scan.truth, scan.truth_origin_px)
        offset = other.offset_on(truth)
        values |= report(align(other.object, truth.object, coverage=other.coverage, offset_px=offset))
    return Row(other.name, other, scores=values)
