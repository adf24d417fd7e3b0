"""``ptycho train --resume``: the table of settings shows which schedule continues, and why, before torch loads."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan

SMALL = ("--n-groups", "5", "--group-size", "6", "--network-option", "stages=1", "--network-option", "subsets=1")
QUICK = (
    "--network-option",
    "width=4",
    "--set",
    "physics.probe_warmup=0",
    "--accelerator",
    "cpu",
    "--epochs",
    "1",
    "--no-report",
)
CHANGES = ("--learning-rate", "0.5", "--scheduler", "Default", "--epochs", "2")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of one epoch, with a rate of 0.002 that decays at every step."""
    folder = tmp_path_factory.mktemp("resume")
    write_scan(folder / "scan.h5", simulate(n_frames=24, n_pixels=16, photons=1e5, seed=1))
    decay = ("--scheduler", "Exponential", "--scheduler-option", "every=1")
    assert main(["train", str(folder / "scan.h5"), "-o", str(folder / "run"), *SMALL, *QUICK, *decay, "--quiet"]) == 0
    return folder / "run"


def test_a_changed_schedule_needs_a_choice(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", str(run), *CHANGES, "--quiet"]) == 2

    error, hint = capsys.readouterr().err.splitlines()[-2:]
    assert error.startswith(f"error: {run}: the schedule changed: optimizer.learning_rate is 0.002 in the checkpoint")
    assert "--resume-schedule checkpoint" in hint
    assert "--resume-schedule config" in hint


def test_the_table_names_the_schedule_that_is_kept_and_what_it_beat(
    run: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")

    assert main(["train", "--resume", str(run), *CHANGES, "--resume-schedule", "checkpoint"]) == 0

    table, effective = capsys.readouterr().out.split("\neffective ")
    lines = [" ".join(line.split()) for line in table.splitlines()]
    rate = lines.index("optimizer.learning_rate 0.002 --resume-schedule checkpoint")
    assert lines[rate + 1].startswith("overrides 0.5 --learning-rate (argument ")
    name = lines.index("scheduler.name Exponential --resume-schedule checkpoint")
    assert lines[name + 1].startswith("overrides Default --scheduler (argument ")
    assert "scheduler Exponential" in " ".join(effective.split())
    with (run / "metrics.csv").open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.002 * 0.95**step for step in range(10)])
    assert json.loads((run / "run.json").read_text())["config"]["optimizer"]["learning_rate"] == 0.002


def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again_with_its_settings(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan, killed = run.parent / "scan.h5", tmp_path / "killed"
    polish = ("--set", "inference.polish=3", "--learning-rate", "0.001")
    assert main(["train", str(scan), "-o", str(killed), *SMALL, *QUICK, *polish, "--quiet"]) == 0
    expected = (killed / "weights.safetensors").read_bytes()
    for left in (killed / "checkpoints").iterdir():
        left.unlink()
    assert main(["train", "--resume", str(killed), "--quiet"]) == 2  # it had ended: nothing was lost
    assert "last.ckpt: no such file" in capsys.readouterr().err
    (killed / "weights.safetensors").unlink()

    assert main(["train", "--resume", str(killed)]) == 0

    assert "ended before its first checkpoint, so the training starts again" in "".join(capsys.readouterr())
    assert (killed / "weights.safetensors").read_bytes() == expected
    config = json.loads((killed / "run.json").read_text())["config"]
    assert (config["inference"]["polish"], config["optimizer"]["learning_rate"]) == (3, 0.001)


def test_a_resumed_run_keeps_how_it_reconstructs_and_the_latest_epoch_serves(run: Path, tmp_path: Path) -> None:
    scan, part = run.parent / "scan.h5", tmp_path / "part"
    assert main(["train", str(scan), "-o", str(part), *SMALL, *QUICK, "--set", "inference.polish=3", "--quiet"]) == 0
    (part / "checkpoints" / "last.ckpt").unlink()

    assert main(["train", "--resume", str(part), "--epochs", "2", "--resume-schedule", "config", "--quiet"]) == 0

    record = json.loads((part / "run.json").read_text())
    assert record["config"]["inference"]["polish"] == 3
    assert record["resumed_at_step"] == 5
    assert record["applied_steps"] == 10
