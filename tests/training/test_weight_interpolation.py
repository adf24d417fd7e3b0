"""The final weights of a run: the trained ones, or some between them and those that the training started from."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import ptycho_cli
from ptycho_cli.api import TrainedRun
from ptycho_cli.assembly.network_weights import NetworkWeights, read_network_weights, shipped_path
from ptycho_cli.cli.app import main
from ptycho_cli.data.write import read_reconstruction
from ptycho_cli.inference import weight_choice
from ptycho_cli.inference.held_out_trial import HeldOutTrial
from ptycho_cli.inference.weight_choice import choose_weights, least_share
from ptycho_cli.run_weights import load_objective

KEY = "training.weight_interpolation"
SMALL = {
    "network": "refiner", "loss.withheld": 0.25, "epochs": 1,
    "n_groups": 2, "data.group_size": 12, "inference.polish": 0,
    "data.validation_fraction": 0.2, "report": False,
}  # fmt: skip


def train(scan: Path, folder: Path, share: Any, **more: Any) -> TrainedRun:
    return ptycho_cli.train(scan, output_dir=folder, **{KEY: share, **SMALL, **more})


@pytest.fixture(scope="module")
def trained(scan_file: Path, tmp_path_factory: pytest.TempPathFactory) -> TrainedRun:
    return train(scan_file, tmp_path_factory.mktemp("run") / "trained", 1.0)


def network(folder: Path) -> dict[str, Tensor]:
    prefix = "network."
    weights = load_file(folder / "weights.safetensors")
    return {name.removeprefix(prefix): value for name, value in weights.items() if name.startswith(prefix)}


def between(start: dict[str, Tensor], end: dict[str, Tensor], share: float) -> dict[str, Tensor]:
    return {name: torch.lerp(start[name], value, share) for name, value in end.items()}


def assert_equal(found: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    torch.testing.assert_close(found, expected, rtol=0, atol=0)


def test_a_number_is_where_the_weights_lie(scan_file: Path, trained: TrainedRun, tmp_path: Path) -> None:
    """Also in the object, which is made with these weights."""
    run = train(scan_file, tmp_path / "half", 0.5)

    start = dict(read_network_weights(shipped_path("refiner")).tensors)
    assert_equal(network(run.folder), between(start, network(trained.folder), 0.5))
    assert any((start[name] != value).any() for name, value in network(trained.folder).items())
    assert run.summary["notes"] == [
        "The final weights keep 50% of what the training changed in the shipped weights of refiner."
    ]
    objects = [read_reconstruction(folder / "reconstruction.h5").object for folder in (run.folder, trained.folder)]
    assert (objects[0] != objects[1]).any()
    again = ptycho_cli.infer(run, scan_file, polish=0).reconstruction
    np.testing.assert_array_equal(again.object, objects[0])


def test_a_resumed_run_does_not_interpolate_twice(scan_file: Path, tmp_path: Path) -> None:
    """All its epochs are done, so only its end is done again."""
    run = train(scan_file, tmp_path / "run", 0.5)
    first = (run.folder / "weights.safetensors").read_bytes()

    assert main(["train", "--resume", str(run.folder), "--quiet"]) == 0

    assert (run.folder / "weights.safetensors").read_bytes() == first


def test_a_run_that_starts_from_another_stays_near_that_one(
    scan_file: Path, trained: TrainedRun, tmp_path: Path
) -> None:
    ends = {
        share: ptycho_cli.train(scan_file, output_dir=tmp_path / str(share), init_from=trained, **{KEY: share})
        for share in (1.0, 0.25)
    }

    expected = between(network(trained.folder), network(ends[1.0].folder), 0.25)
    assert_equal(network(ends[0.25].folder), expected)


def test_a_start_that_is_gone_is_told(
    scan_file: Path, trained: TrainedRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = tmp_path / "earlier"
    shutil.copytree(trained.folder, copy)
    run = ptycho_cli.train(scan_file, output_dir=tmp_path / "run", init_from=copy, **{KEY: 0.5})
    shutil.rmtree(copy)

    assert main(["train", "--resume", str(run.folder), "--json"]) == 0

    resumed = json.loads(capsys.readouterr().out)
    assert f"{KEY} has no effect: the weights that the training started from are not known." in resumed["notes"]


@pytest.mark.parametrize(
    ("more", "share"),
    [({}, 0.8), ({"loss.withheld": 0.0}, 1.0), ({"weights": "none"}, 1.0)],
    ids=["low dose", "no photons withheld", "random weights"],
)
def test_auto_is_for_low_dose_and_a_known_start(
    scan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: dict[str, Any], share: float
) -> None:
    monkeypatch.setattr(HeldOutTrial, "frame_deviances", lambda trial, polish: np.array([1.0, 2.0]))
    monkeypatch.setattr(weight_choice, "least_share", lambda photons: 0.8)

    run = train(scan_file, tmp_path / "run", "auto", **more)

    assert run.record["auto"][KEY] == share
    assert bool(run.summary["notes"]) == (share < 1)


@pytest.mark.parametrize(
    ("least", "middle", "kept"),
    [
        ([0.3, -0.2, 0.1, -0.1, 0.0], [0.1, 0.0, 0.1, 0.0, 0.1], 0.6),
        ([-0.3, -0.2, -0.1], [0.0, 0.0, 0.0], 0.6),
        ([0.3, 0.2, 0.1], [0.1, -0.1, 0.0], 0.8),
        ([0.3, 0.2, 0.1], [0.2, 0.1, 0.3], 1.0),
        ([0.1, 0.1, 0.1], [-0.2, -0.1, -0.3], 0.8),
        ([-0.1], [-0.1], 1.0),
    ],
    ids=["within the error", "explained better", "middle", "both worse", "worse than the middle", "a single frame"],
)
def test_held_out_frames_decide(
    scan_file: Path, trained: TrainedRun, monkeypatch: pytest.MonkeyPatch, least: list[float], middle: list[float],
    kept: float,
) -> None:  # fmt: skip
    """The least share that these frames do not surely tell from the best one; all of it is bit for bit all."""
    objective, config, scan, start = _parts(trained, scan_file)
    monkeypatch.setattr(weight_choice, "least_share", lambda photons: 0.6)
    deviances = iter([1.0 + np.array(least), 1.0 + np.array(middle), np.full(len(least), 1.0)])
    monkeypatch.setattr(HeldOutTrial, "frame_deviances", lambda trial, polish: next(deviances))

    _, share = choose_weights(HeldOutTrial(objective, config, scan, 0), objective.network, config, scan, start)

    assert share == kept
    expected = between(dict(start.tensors), network(trained.folder), kept)
    assert_equal({name: value.detach() for name, value in objective.network.state_dict().items()}, expected)


def test_the_trial_of_the_weights_that_are_kept_goes_on(
    scan_file: Path, trained: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the choice, such as that of the polish, sees the objects of these weights, found once."""
    from ptycho_cli.assembly.polish_rule import Polish

    objective, config, scan, start = _parts(trained, scan_file)
    monkeypatch.setattr(weight_choice, "least_share", lambda photons: 0.3)
    before = HeldOutTrial(objective, config, scan, 0)

    trial, _ = choose_weights(before, objective.network, config, scan, start)

    anew = HeldOutTrial(objective, config, scan, 0)
    assert trial.deviance(Polish(0)) == pytest.approx(anew.deviance(Polish(0)), rel=1e-6)


def test_the_more_photons_the_more_is_kept() -> None:
    shares = [least_share(photons) for photons in (1e2, 2e5, 2e6, 1e7, 3e7, 1e8)]

    assert shares == [0.0, 0.09, 0.5, 0.83, 0.94, 1.0]


def test_a_scan_of_many_photons_keeps_all_without_a_trial(
    scan_file: Path, trained: TrainedRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    objective, config, scan, start = _parts(trained, scan_file)
    monkeypatch.setattr(HeldOutTrial, "frame_deviances", lambda trial, polish: pytest.fail("tried"))
    many = replace(scan, counts=scan.counts.astype(np.float32) * 1000)
    trial = HeldOutTrial(objective, config, many, 0)

    assert choose_weights(trial, objective.network, config, many, start) == (trial, 1.0)


def test_deviances_are_those_of_the_score(scan_file: Path, trained: TrainedRun) -> None:
    from ptycho_cli.assembly.polish_rule import Polish

    objective, config, scan, _ = _parts(trained, scan_file)
    trial = HeldOutTrial(objective, config, scan, 0)

    found = trial.frame_deviances(Polish(0))

    assert len(found) > 1
    assert found.mean() == pytest.approx(trial.deviance(Polish(0)), rel=1e-6)


def _parts(run: TrainedRun, scan_file: Path) -> tuple[Any, Any, Any, NetworkWeights]:
    from ptycho_cli.data.read import read_scan
    from ptycho_cli.extend.host import load_plugins

    objective = load_objective(run.resolved, load_plugins(()), run.folder)
    scan = read_scan(scan_file)
    scan = objective.corrected(scan, 0) or scan
    return objective, run.resolved.config, scan, read_network_weights(shipped_path("refiner"))
