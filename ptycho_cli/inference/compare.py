"""A trained network beside what it has to beat: itself untrained, the best untrained physics, and others' results."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.assembly.network import Objective
from ptycho_cli.assembly.physics import auto_alpha, exposure_of
from ptycho_cli.config.schema import Config
from ptycho_cli.data.fit import misfit
from ptycho_cli.data.objects import LoadedObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.write import Reconstruction
from ptycho_cli.inference.reconstruct import Result, judged, polished, probe_for, run_network
from ptycho_cli.inference.run import held_out, scores
from ptycho_cli.inference.uncertainty import assess, held_out_misfit
from ptycho_cli.inference.untrained import Best, search, untrained_stages
from ptycho_cli.metrics import align, phase_correlation, report
from ptycho_cli.physics.engine import Exposure
from ptycho_cli.render.comparison import save_comparison_png, write_csv

POLISH = 16  # iterations, where the settings ask for none
# Ordered subsets of the best untrained physics, whatever the network uses: several settle in fewer stages than one.
UNTRAINED_SUBSETS = 4

Image = NDArray[np.complex128]
Progress = Callable[[str, int, int], None]
Start = Callable[[Exposure, Callable[[int, int], None]], Tensor]


@dataclass(frozen=True, eq=False)
class Entry:
    """One reconstruction among those compared.

    Attributes:
        name: What it is.
        image: The object and, where it is ours, its coverage and place in the scan.
        stages: Stages of physics in it; None where that is no question.
        alpha: Regularisation of those stages; None where it is learned or unknown.
        polish: Iterations of physics alone after them.
        cpu_s: CPU seconds of the reconstruction, imports and reading apart; None for one from a file.
        figures: Scores by name, as ``ptycho evaluate`` names them.
    """

    name: str
    image: LoadedObject
    stages: int | None = None
    alpha: float | None = None
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


def compare(
    objective: Objective,
    config: Config,
    scan: Scan,
    references: Sequence[LoadedObject] = (),
    *,
    training_scan: int | None = None,
    progress: Progress | None = None,
) -> tuple[Entry, ...]:
    """Reconstruct a scan in every way and score each.

    The best untrained number of stages and alpha is that with the highest complex SNR where the object is
    known, and else with the lowest deviance of held-out frames.

    Args:
        objective: Network and probe of a run.
        config: Its settings, and those of ``inference``; without a number of iterations of polish, 16 are made.
        scan: The scan.
        references: Other reconstructions of it.
        training_scan: The scan's number among those that the run was trained on; None if it was not.
        progress: Called with (what, done, of how many).

    Returns:
        Trained, untrained and best untrained, each without and with polish, then the references.

    Raises:
        PtychoError: If run and scan do not fit together.
    """
    tell = progress or (lambda what, done, total: None)
    bench = _Bench(objective, config, scan, training_scan, tell)
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
        tell: Progress,
    ) -> None:
        self.objective, self.config, self.scan, self.tell = objective, config, scan, tell
        self.polish = config.inference.polish or POLISH
        self.probe = probe_for(objective, scan, own=config.inference.probe == "scan")
        self.alpha = auto_alpha(scan) if config.physics.alpha == "auto" else config.physics.alpha
        self.seed = config.training.seed
        self.subsets = UNTRAINED_SUBSETS
        self.left, self.unseen = held_out(config, scan, training_scan)

    def contenders(self) -> list[_Contender]:
        """The ways to compare, the best untrained one searched for."""
        network, stages = self.objective.network, getattr(self.objective.network, "stages", None)

        def run(*, silent: bool) -> Start:
            return lambda exposure, report: run_network(
                network, exposure, self.probe, silent=silent, seed=self.seed, progress=report
            )

        best = self._search()

        def many(exposure: Exposure, report: Callable[[int, int], None]) -> Tensor:
            made = untrained_stages(exposure, self.probe, subsets=self.subsets, alpha=best.alpha, seed=self.seed)
            for stage in range(1, best.stages):
                next(made)
                report(stage, best.stages)
            return next(made)

        return [
            _Contender("trained", run(silent=False), stages, None),
            _Contender("untrained", run(silent=True), stages, self.alpha),
            _Contender("best untrained", many, best.stages, best.alpha),
        ]

    def _search(self) -> Best:
        truth = self.scan.truth is not None
        kept = np.setdiff1d(np.arange(self.scan.n_frames), self.left)
        part = self.scan if truth else self.scan.select(kept)
        exposure = self._exposure(part)

        def judge(obj: Tensor) -> float:
            found = judged(exposure, part, obj, self.probe)
            if truth:
                return float(scores(found, self.scan)["complex_snr_db"])
            whole = found.reconstruction
            return -held_out_misfit(lambda _part, _name: whole, self.scan, self._whole(whole), self.left).deviance

        return search(
            exposure, self.probe, judge, alpha=self.alpha, subsets=self.subsets, seed=self.seed, report=self.tell
        )

    def _whole(self, part: Reconstruction) -> Reconstruction:
        """The pixels and positions of the whole scan, for a reconstruction of a part to be laid on."""
        exposure = self._exposure(self.scan)
        return judged(exposure, self.scan, self.probe.new_ones(exposure.shape), self.probe).reconstruction

    def _exposure(self, part: Scan) -> Exposure:
        pairs = self.objective.probe_pairs
        return exposure_of(part, dtype=pairs.dtype, device=pairs.device)

    def run(self, contender: _Contender) -> list[Entry]:
        """Reconstruct with and without polish, and score both."""
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
        began = time.process_time()
        obj = polished(
            exposure,
            obj,
            self.probe,
            iterations=self.polish,
            alpha=self.alpha,
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
            return {**figures, **known.figures()}
        return {**figures, "held_out_deviance": held_out_misfit(solve, self.scan, whole, self.left).deviance}


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


def common_images(entries: Sequence[Entry], scan: Scan) -> tuple[dict[str, Image], NDArray[np.bool_]]:
    """All objects on one grid: that of the known object, or else of the trained and polished one.

    Returns:
        Objects by name, aligned, ``(y, x)``, the known object first where there is one; and the area that all cover.
    """
    if scan.truth is not None:
        ground = LoadedObject("known object", scan.truth, scan.truth_origin_px)
        images = {ground.name: np.asarray(scan.truth, dtype=np.complex128)}
    else:
        ground, images = next(entry.image for entry in reversed(entries) if entry.name.startswith("trained")), {}
    area = np.ones(ground.object.shape, dtype=np.bool_)
    for entry in entries:
        image = entry.image
        offset = image.offset_on(ground)
        aligned = align(image.object, ground.object, coverage=image.coverage, offset_px=offset)
        placed, covered = np.ones_like(area, dtype=np.complex128), np.zeros_like(area)
        placed[aligned.window], covered[aligned.window] = aligned.object, aligned.covered
        images[entry.name], area = placed, area & covered
    return images, area


def write_comparison(entries: Sequence[Entry], scan: Scan, folder: Path) -> tuple[list[dict[str, Any]], Path]:
    """Write ``compare.csv`` and ``compare.png`` into a folder, which is made.

    Returns:
        The rows of the table, and the path of the picture.

    Raises:
        OutputError: If they cannot be written.
    """
    rows = [_row(entry) for entry in entries]
    if (flat := entries[0].figures.get("flat_object")) is not None:
        rows.append({"name": "flat object", **flat})
    images, area = common_images(entries, scan)
    picture = folder / "compare.png"
    save_comparison_png(picture, images, area, pixel_m=scan.object_pixel_m, title=Path(scan.source).name)
    write_csv(folder / "compare.csv", rows)
    return rows, picture


def _row(entry: Entry) -> dict[str, Any]:
    facts = {"name": entry.name, "stages": entry.stages, "alpha": entry.alpha, "polish": entry.polish}
    figures = {name: value for name, value in entry.figures.items() if name != "flat_object"}
    return {**facts, "cpu_s": entry.cpu_s, **figures}
