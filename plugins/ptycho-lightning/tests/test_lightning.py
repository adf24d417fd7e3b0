"""The callbacks of Lightning are built with their own arguments, and each does what its name says."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest
from ptycho_lightning import DEVICE, EMA, LEARNING_RATE, SUMMARY, SWA, TIMER

from ptycho_cli.extend.conformance import CallbackConformance


class TestEMA(CallbackConformance):
    entry = EMA
    options = ({}, {"decay": 0.5, "update_starting_at_step": 3})


class TestSWA(CallbackConformance):
    entry = SWA
    options = ({}, {"swa_epoch_start": 0.5, "annealing_strategy": "linear"})


class TestTimer(CallbackConformance):
    entry = TIMER
    options = ({}, {"duration": "00:00:10:00", "interval": "epoch"})


class TestLearningRate(CallbackConformance):
    entry = LEARNING_RATE
    options = ({}, {"logging_interval": "epoch"})


class TestDevice(CallbackConformance):
    entry = DEVICE
    options = ({},)


class TestSummary(CallbackConformance):
    entry = SUMMARY
    options = ({}, {"max_depth": 2})


def ptycho(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "ptycho_cli", *words]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=True)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs")
    ptycho("simulate", "-o", "scan.h5", "--frames", "36", "--size", "32", "--quiet", folder=folder)
    return folder


def test_averages_are_kept_rates_logged_and_a_time_limit_ends_the_training(folder: Path) -> None:
    words = ("train", "scan.h5", "-o", "run", "--epochs", "50", "--n-groups", "2", "--quiet", "--callback", "Timer")
    more = ("--callback-option", "Timer.duration=00:00:00:02", "--callback", "EMAWeightAveraging")
    ptycho(*words, *more, "--callback", "LearningRateMonitor", folder=folder)

    record = json.loads((folder / "run" / "run.json").read_text())
    assert "'Timer' (ptycho-lightning" in record["ended_by"]
    assert "'EMAWeightAveraging' (ptycho-lightning" in record["weights_from"]
    assert 0 < record["applied_steps"] < 100
    with (folder / "run" / "callback_metrics.csv").open(newline="") as file:
        assert any(row["name"].endswith("lr-Adam/network") for row in csv.DictReader(file))
