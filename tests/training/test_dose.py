"""A scan with few photons is trained with the settings of the low-dose preset, without flags."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import ptycho_cli
from ptycho_cli.assembly.auto_values import trains_probe
from ptycho_cli.calibration.probe_rounds import RefinedProbe
from ptycho_cli.cli.app import main
from ptycho_cli.config.presets import PRESETS
from ptycho_cli.config.schema import PhysicsSettings
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan

LOW_DOSE = next(dict(preset.settings) for preset in PRESETS if preset.name == "low-dose")
WHY = "photons in a bright pixel"
KEPT = "Training keeps the file's probe as it is"
SHORT = ("--n-groups", "2", "--epochs", "1", "--set", "physics.probe_warmup=0", "--no-report")


def scan_of(folder: Path, photons: float = 500.0) -> str:
    write_scan(folder / "scan.h5", simulate(n_frames=30, n_pixels=16, photons=photons, seed=1))
    return str(folder / "scan.h5")


def decisions_of(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, dict[str, Any]]:
    assert main(["inspect-config", *arguments, "--json"]) == 0
    return {item["key"]: item for item in json.loads(capsys.readouterr().out)["decisions"]}


def from_scan(decisions: dict[str, dict[str, Any]]) -> set[str]:
    return {key for key, item in decisions.items() if item["source"] == "scan"}


def test_a_scan_of_few_photons_is_trained_with_the_low_dose_preset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Typed settings win, the others come from the scan: checked in the rates of the steps and in the record."""
    path, run = scan_of(tmp_path), tmp_path / "run"

    decisions = decisions_of(capsys, path, *SHORT)
    assert main(["train", path, "-o", str(run), *SHORT, "--quiet"]) == 0

    assert from_scan(decisions) == set(LOW_DOSE) - {"training.n_groups", "training.epochs"}
    for key in from_scan(decisions):
        assert decisions[key]["value"] == LOW_DOSE[key]
        assert WHY in decisions[key]["origin"]
    record = json.loads((run / "run.json").read_text())
    recorded = {item["key"]: item for item in record["decisions"]}
    assert {key: recorded[key] for key in from_scan(recorded)} == {key: decisions[key] for key in from_scan(decisions)}
    assert record["auto"]["loss.withheld"] == 0.25
    with (run / "metrics.csv").open() as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    first = recorded["optimizer.learning_rate"]["value"]  # 5 % of two steps is no warm-up at all
    assert rates == pytest.approx([first, first * LOW_DOSE["scheduler.options.min_ratio"]])


@pytest.mark.parametrize(
    "arguments",
    [
        ("--network", "unrolled"),
        ("--network-option", "stages=4"),
        ("--preset", "quick"),
        ("--preset", "low-dose"),
    ],
)
def test_a_typed_network_or_preset_wins(
    arguments: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert not from_scan(decisions_of(capsys, scan_of(tmp_path), *arguments))


def test_a_typed_scheduler_replaces_that_of_the_scan_without_a_warning(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The options of the scheduler that the scan suggests are dropped with it; nobody typed them."""
    arguments = [
        "train",
        scan_of(tmp_path),
        "-o",
        str(tmp_path / "run"),
        *SHORT,
        "--scheduler",
        "Exponential",
        "--weights",
        "none",
        "--quiet",
    ]
    assert main(arguments) == 0

    assert capsys.readouterr().err == ""
    with (tmp_path / "run" / "metrics.csv").open() as file:
        assert {float(row["learning_rate"]) for row in csv.DictReader(file)} == {LOW_DOSE["optimizer.learning_rate"]}


def test_a_preset_of_execution_settings_leaves_the_choice_to_the_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert from_scan(decisions_of(capsys, scan_of(tmp_path), "--preset", "gpu")) == {*LOW_DOSE, "training.stop"}


def test_many_photons_and_scaled_counts_keep_the_defaults(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert not from_scan(decisions_of(capsys, scan_of(tmp_path, photons=1e6)))

    scan = simulate(n_frames=40, n_pixels=16, photons=500.0, seed=1)
    flat_field = np.random.default_rng(0).uniform(0.3, 0.4, (16, 16)).astype(np.float32)
    np.savez(tmp_path / "scaled.npz", diffraction=scan.counts * flat_field, scan_yx_px=scan.positions_px)
    assert not from_scan(decisions_of(capsys, str(tmp_path / "scaled.npz")))


def test_few_photons_are_seen_where_all_counts_were_divided(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Whole photons are recovered from such counts, so that the dose is known."""
    scan = simulate(n_frames=40, n_pixels=16, photons=500.0, seed=1)
    np.savez(tmp_path / "divided.npz", diffraction=scan.counts * np.float32(0.37), scan_yx_px=scan.positions_px)

    assert from_scan(decisions_of(capsys, str(tmp_path / "divided.npz")))


def test_a_python_caller_gets_the_same_settings_as_the_command(tmp_path: Path) -> None:
    more = {"n_groups": 2, "epochs": 1, "physics.probe_warmup": 0, "report": False}

    run = ptycho_cli.train(scan_of(tmp_path), output_dir=str(tmp_path / "run"), **more)

    assert run.resolved.config.model.name == "refiner"
    assert WHY in run.resolved.decision("model.name").winner.origin


def test_settings_from_the_scan_survive_a_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = scan_of(tmp_path)
    decisions = decisions_of(capsys, path)
    assert main(["inspect-config", path, "--yaml"]) == 0
    (tmp_path / "run.yaml").write_text(capsys.readouterr().out)

    again = decisions_of(capsys, "-c", str(tmp_path / "run.yaml"))

    assert {key: item["value"] for key, item in again.items()} == {k: item["value"] for k, item in decisions.items()}


def probes_of(run: Path) -> list[Tensor]:
    """The probe before training and after it, each up to a factor."""
    weights = load_file(run / "weights.safetensors")
    return [weights[name] for name in ("initial_probe_pairs", "probe_pairs")]


def test_the_probe_of_the_file_stays_as_it_is(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Where photons are few: in the weights, in the record, in words, and when the training is resumed."""
    path, run, whole = scan_of(tmp_path), tmp_path / "run", tmp_path / "whole"
    arguments = (
        "train",
        path,
        "--n-groups",
        "2",
        "--scheduler",
        "Default",
        "--set",
        "training.stop=never",
        "--no-report",
    )

    assert main([*arguments, "-o", str(run), "--epochs", "1"]) == 0
    said = capsys.readouterr().err
    assert main([*arguments, "-o", str(whole), "--epochs", "2", "--quiet"]) == 0
    assert main(["train", "--resume", str(run), "--epochs", "2", "--quiet"]) == 0

    for folder in (run, whole):
        before, after = probes_of(folder)
        assert torch.equal(before, after)
        record = json.loads((folder / "run.json").read_text())
        assert record["auto"]["physics.refine_probe"] is False
        assert list(record["effective"]["learning_rates"]) == ["network"]
    assert KEPT in " ".join(said.split())
    one, other = (load_file(folder / "weights.safetensors") for folder in (run, whole))
    assert all(torch.equal(one[name], value) for name, value in other.items())


def test_a_typed_true_trains_the_probe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    arguments = ("--n-groups", "2", "--epochs", "1", "--set", "physics.refine_probe=true", "--no-report")

    assert main(["train", scan_of(tmp_path), "-o", str(run), *arguments]) == 0

    before, after = probes_of(run)
    assert not torch.equal(before, after)
    assert "physics.refine_probe" not in json.loads((run / "run.json").read_text())["auto"]
    assert KEPT not in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, False),
        ({"withheld": 0.0}, True),
        ({"iterations": 10}, True),
        ({"modes": 2}, True),
        ({"stored": False}, True),
        ({"settings": {"probe_warmup": 0}}, True),
        ({"settings": {"refine_probe": True}}, True),
        ({"settings": {"refine_probe": False}, "withheld": 0.0}, False),
        ({"resumed": True}, True),
        ({"resumed": False, "withheld": 0.0}, False),
        ({"of_run": True}, True),
    ],
    ids=str,
)
def test_what_trains_the_probe(change: dict[str, Any], expected: bool) -> None:
    """Many photons, a probe that refinement improved or that is none of the file's, modes that were added, a run's."""
    scan = simulate(n_frames=9, n_pixels=16, photons=500.0, seed=1)
    assert scan.probe is not None
    probe = torch.from_numpy(scan.probe).repeat(change.get("modes", 1), 1, 1)
    found = None if change.get("of_run") else RefinedProbe(probe, change.get("iterations", 0), "")
    if not change.get("stored", True):
        scan = replace(scan, probe=None)

    assert expected is trains_probe(
        PhysicsSettings(**change.get("settings", {})), scan, found,
        withheld=change.get("withheld", 0.25), resumed=change.get("resumed"),
    )  # fmt: skip
