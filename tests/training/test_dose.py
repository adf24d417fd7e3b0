"""A scan with few photons is trained with the settings of the low-dose preset, without flags."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_cli
from ptycho_cli.cli.app import main
from ptycho_cli.config.presets import PRESETS
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan

LOW_DOSE = next(dict(preset.settings) for preset in PRESETS if preset.name == "low-dose")
WHY = "photons in a bright pixel"
SHORT = ("--n-groups", "2", "--epochs", "1", "--set", "physics.probe_warmup=0")


def scan_of(folder: Path, photons: float = 500.0) -> str:
    write_scan(folder / "scan.h5", simulate(n_frames=40, n_pixels=16, photons=photons, seed=1))
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
    np.savez(tmp_path / "scaled.npz", diffraction=scan.counts * np.float32(0.37), scan_yx_px=scan.positions_px)
    assert not from_scan(decisions_of(capsys, str(tmp_path / "scaled.npz")))


def test_a_python_caller_gets_the_same_settings_as_the_command(tmp_path: Path) -> None:
    more = {"n_groups": 2, "epochs": 1, "physics.probe_warmup": 0}

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
