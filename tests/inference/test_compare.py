"""What a network is compared with: the physics at its best, on the same frames, scored alike."""

from __future__ import annotations

import csv
import json
from copy import deepcopy
from functools import partial
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.image import imread

import ptycho_cli
from ptycho_cli.assembly.network_weights import read_network_weights, write_network_weights
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.cli.app import main
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.schema import Config
from ptycho_cli.config.sources import library_layer
from ptycho_cli.data.object_files import LoadedObject
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.inference import comparison as module
from ptycho_cli.inference.comparison import compare
from ptycho_cli.inference.comparison_files import common_images
from ptycho_cli.inference.inference_run import infer
from ptycho_cli.inference.physics_search import (
    MOMENTUM,
    PLAIN,
    SMALL_SUBSETS,
    PhysicsRun,
    PhysicsSearch,
    physics_object,
    physics_steps,
)
from ptycho_cli.inference.reconstruct import run_network
from ptycho_cli.inference.results import Result, coverage_of, scores
from ptycho_cli.metrics import snr_db
from ptycho_cli.networks.refiner import Refiner
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.relaxation import Relaxation
from ptycho_cli.registration import align
from ptycho_cli.render.comparison_figure import save_comparison_png


@pytest.fixture(scope="module")
def scan() -> Scan:
    return simulate(n_frames=80, n_pixels=32, photons=2e4, object_kind="texture", seed=6)


def settings(**changes: object) -> Config:
    return resolve([library_layer(dict(changes))], load_plugins(()).catalogue(), command="infer").config


def test_untrained_stages_are_the_silent_network(scan: Scan, objective: Objective) -> None:
    exposure, probe = scan_frames(scan, dtype=torch.float32), objective.probe.detach()

    physics_only = run_network(objective.network, exposure, probe, physics_only=True, seed=4)
    made = physics_steps(exposure, probe, subsets=3, update=ObjectUpdate(auto_alpha(scan)), seed=4)

    torch.testing.assert_close(list(islice(made, 6))[-1], physics_only, rtol=1e-4, atol=1e-5)


def test_steps_with_momentum_are_those_of_the_refiner(scan: Scan, objective: Objective) -> None:
    exposure, probe = scan_frames(scan, dtype=torch.float32), objective.probe.detach()
    refiner = Refiner(relaxation=Relaxation(stages=6, subsets=4, update=ObjectUpdate(2.0)), width=2, levels=1)

    physics_only = run_network(refiner, exposure, probe, physics_only=True, seed=4)
    made = physics_steps(exposure, probe, MOMENTUM, update=ObjectUpdate(2.0), seed=4)

    torch.testing.assert_close(list(islice(made, 6))[-1], physics_only)


def test_the_search_finds_no_worse_than_any_physics_at_any_length_and_alpha_around(
    scan: Scan, objective: Objective
) -> None:
    """Against the whole table of kinds, of powers of two up to 32 stages, and of alphas a factor of 4 apart."""
    exposure, probe = scan_frames(scan, dtype=torch.float32), objective.probe.detach()
    truth, coverage = np.asarray(scan.truth), coverage_of(exposure, probe).numpy()

    def judge(obj: torch.Tensor) -> float:
        return snr_db(align(obj.numpy(), truth, coverage=coverage))

    found = PhysicsSearch(exposure, probe, [judge], update=ObjectUpdate(0.2), max_stages=32).best()

    table = {
        (kind, alpha, stage): judge(obj)
        for kind in (PLAIN, MOMENTUM)
        for alpha in (0.2, 0.8, 3.2, 12.8)
        for stage, obj in enumerate(
            islice(physics_steps(exposure, probe, kind, update=ObjectUpdate(alpha)), 32), start=1
        )
        if stage in (8, 16, 32)
    }
    table |= {
        (SMALL_SUBSETS, alpha, steps): judge(
            physics_object(exposure, probe, PhysicsRun(SMALL_SUBSETS, steps, alpha), update=ObjectUpdate(alpha))
        )
        for alpha in (0.2, 0.8, 3.2)
        for steps in (4, 8)
    }
    assert {best.kind for best in found} == {PLAIN, MOMENTUM, SMALL_SUBSETS}
    assert found[0].score >= max(table.values()) - 0.1
    assert found[0].score == max(best.score for best in found)
    assert table[PLAIN, 0.2, 32] < found[0].score - 0.5  # or kinds would not matter here
    assert judge(physics_object(exposure, probe, found[0], update=ObjectUpdate(1.0))) == pytest.approx(found[0].score)


def test_each_judge_gets_its_own_best_and_what_blows_up_is_nobodys(scan: Scan, objective: Objective) -> None:
    exposure, probe = scan_frames(scan, dtype=torch.float32), objective.probe.detach()
    calm = PhysicsSearch(
        exposure, probe, [lambda obj: -float((obj - 1).abs().sum())], update=ObjectUpdate(0.2), max_stages=16
    ).best()
    both = [lambda obj: -float((obj - 1).abs().sum()), lambda obj: float((obj - 1).abs().sum())]

    search = PhysicsSearch(exposure, probe, both, update=ObjectUpdate(0.2), max_stages=16)

    assert search.best(0) == calm
    assert search.best(0)[0].alpha > 10 * search.best(1)[0].alpha
    assert all(np.isfinite(best.score) for best in search.best(1))


@pytest.fixture
def few_stages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PhysicsSearch", partial(PhysicsSearch, max_stages=16))


@pytest.mark.usefixtures("few_stages")
def test_each_row_is_what_infer_gives_and_all_are_scored_alike(scan: Scan, objective: Objective) -> None:
    config = settings(polish=3)
    reports: set[str] = set()

    rows = compare(objective, config, scan, progress=lambda what, done, total: reports.add(what.split(",")[0]))

    names = [row.name for row in rows]
    assert names[:4] == ["trained", "trained + polish", "untrained", "untrained + polish"]
    assert names[4:6] == ["best physics only", "best physics only + polish"]
    assert names[6:] in ([], ["best by truth", "best by truth + polish"])  # where held-out frames choose another
    plain = infer(objective, settings(polish=0), scan).result
    polished = infer(objective, config, scan).result
    physics_only = infer(objective, settings(polish=0, untrained=True), scan).result
    for row, same in zip(rows, (plain, polished, physics_only), strict=False):
        assert row.scores["r_factor"] == pytest.approx(same.r_factor, rel=1e-5)
    assert all((row.cpu_s or 0) > 0 for row in rows)
    assert all(polish.cpu_s > bare.cpu_s for bare, polish in zip(rows[::2], rows[1::2], strict=True))  # type: ignore[operator]
    assert all(row.scores["held_out_deviance"] > row.scores["deviance"] for row in rows)
    assert rows[4].scores["complex_snr_db"] > rows[2].scores["complex_snr_db"]
    assert {"trained", "untrained", "best physics only"} <= reports


@pytest.mark.usefixtures("few_stages")
def test_shipped_weights_are_compared_as_a_network_of_their_own(
    scan: Scan, objective: Objective, tmp_path: Path
) -> None:
    """Weights of another training: the row is what infer gives with them, and the run's network stays as it is."""
    other = deepcopy(objective)
    with torch.no_grad():
        next(iter(other.network.parameters())).mul_(1.5)
    model = settings().model
    write_network_weights(other.network, tmp_path / "w.safetensors", model, {})
    shipped = read_network_weights(tmp_path / "w.safetensors")

    rows = {row.name: row for row in compare(objective, settings(polish=0), scan, shipped=shipped)}

    for name, made in (("trained", objective), ("shipped weights", other)):
        expected = infer(made, settings(polish=0), scan).result.r_factor
        assert rows[name].scores["r_factor"] == pytest.approx(expected, rel=1e-5)
    assert rows["trained"].scores["r_factor"] != rows["shipped weights"].scores["r_factor"]


@pytest.mark.usefixtures("few_stages")
def test_without_a_truth_held_out_frames_choose_and_a_reference_is_correlated_with(
    scan: Scan, objective: Objective
) -> None:
    """The opponent chosen by held-out frames alone is, by the truth, within 1 dB of the one chosen by it."""
    unknown = Scan(scan.source, scan.counts, scan.positions_px, scan.mask, scan.probe)
    assert scan.truth is not None
    y, x = np.indices(scan.truth.shape)
    reference = LoadedObject("theirs", (0.3j * scan.truth * np.exp(0.02j * y - 0.01j * x))[5:, 3:])

    rows = compare(objective, settings(polish=2), unknown, [reference])
    by_truth = compare(objective, settings(polish=2), scan)

    assert "complex_snr_db" not in rows[0].scores
    assert all(row.scores["phase_correlation theirs"] > 0.9 for row in rows[4:6])
    assert rows[-1].name == "theirs"
    best = rows[4].image.reconstruction
    assert best is not None
    chosen = scores(Result(best, 0.0, 0.0), scan)["complex_snr_db"]
    assert chosen > by_truth[4].scores["complex_snr_db"] - 1


@pytest.mark.usefixtures("few_stages")
def test_pictures_show_the_same_place_of_all_on_one_grid(scan: Scan, objective: Objective) -> None:
    assert scan.truth is not None
    moved = LoadedObject("theirs", (2j * scan.truth)[7:, 4:])

    rows = compare(objective, settings(polish=0), scan, [moved])
    images, area = common_images(rows, scan)

    assert not any(row.polish for row in rows)
    assert [row.name for row in rows][:3] == ["trained", "untrained", "best physics only"]
    assert next(iter(images)) == "known object"
    assert area.sum() > 500
    np.testing.assert_allclose(images["theirs"][area], scan.truth[area], atol=0.02)
    for image in images.values():
        assert image.shape == scan.truth.shape


def test_equal_objects_look_equal_and_one_bad_one_does_not_darken_the_others(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    obj = (1 + 0.1 * rng.standard_normal((60, 60))) * np.exp(0.3j * rng.standard_normal((60, 60)))
    area = np.ones(obj.shape, dtype=bool)
    wild = 50 * obj

    for name, third in (("even", obj), ("wild", wild)):
        save_comparison_png(tmp_path / f"{name}.png", {"a": obj, "b": obj, "c": third}, area)
    even, uneven = (imread(tmp_path / f"{name}.png")[..., :3] for name in ("even", "wild"))

    top = slice(0, even.shape[0] // 4)  # each object has a row of its own
    np.testing.assert_array_equal(even[top], uneven[top])
    assert np.abs(even - uneven).max() > 0.5


def test_the_command_writes_a_table_and_a_picture_and_refuses_half_a_command_line(
    scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out = tmp_path / "run", tmp_path / "out"
    ptycho_cli.train(scan_file, output_dir=run, epochs=1, n_groups=2, group_size=12, polish=0, report=False)
    words = ["compare", str(run), str(scan_file)]
    assert main(words) == 2
    assert "no folder for the comparison" in capsys.readouterr().err
    assert main([*words, "-o", str(run)]) == 2
    assert "not empty" in capsys.readouterr().err
    assert main([*words, "-o", str(out), "--untrained"]) == 2
    capsys.readouterr()
    monkeypatch.setattr(module, "PhysicsSearch", partial(PhysicsSearch, max_stages=16))

    assert main([*words, "-o", str(out), "--polish", "2", "--reference", str(run / "reconstruction.h5"), "--json"]) == 0

    printed = json.loads(capsys.readouterr().out)
    with (out / "compare.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [row["name"] for row in rows] == [row["name"] for row in printed["reconstructions"]]
    assert float(rows[0]["complex_snr_db"]) == printed["reconstructions"][0]["complex_snr_db"]
    key = f"phase_correlation {run / 'reconstruction.h5'}"
    assert float(rows[0][key]) == pytest.approx(1.0, abs=1e-4)
    assert rows[-1]["name"] == "flat object"
    assert imread(out / "compare.png").shape[0] > 500
