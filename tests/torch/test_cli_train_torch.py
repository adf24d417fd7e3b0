"""Flags of ``ptycho train`` determine the learning rates of optimizer steps, and the weights."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch

from ptycho_cli.cli.app import main

BASE = 2e-3  # optimizer.learning_rate by default


class TestExecutionConfigCLI:
    def test_scheduler_flag_roundtrip(self, train: Callable[..., Any]) -> None:
        """``--scheduler Exponential`` halves the rate of all steps every epoch, and so leads to other weights."""
        flags = ("--scheduler", "exponential", "--scheduler-option", "gamma=0.5", "--epochs", "3")
        trained, default = train(*flags), train("--epochs", "3")

        assert trained.rates == pytest.approx([BASE * 0.5**epoch for epoch in range(3) for _ in range(5)])
        assert trained.rate == pytest.approx(BASE * 0.5**2)  # a schedule is not asked beyond its last epoch
        assert default.rates == [BASE] * 15
        assert default.rate == BASE
        assert not torch.equal(next(iter(trained.weights.values())), next(iter(default.weights.values())))

    def test_accumulate_grad_batches_roundtrip(self, train: Callable[..., Any]) -> None:
        """N accumulated batches give the weights of one batch N times as large, also with a short last window."""
        flags = ("--epochs", "2", "--precision", "64-true")
        accumulated = train("--accumulate-grad-batches", "2", *flags)
        one_batch, each = train("--batch-size", "2", *flags), train(*flags)

        assert len(accumulated.rates) == len(one_batch.rates) == 2 * 3
        assert len(each.rates) == 2 * 5
        for name, weights in one_batch.weights.items():
            torch.testing.assert_close(accumulated.weights[name], weights, rtol=1e-6, atol=1e-12)
        assert any(not torch.allclose(each.weights[name], weights) for name, weights in one_batch.weights.items())

    def test_metrics_show_the_closed_form_at_every_step_under_both_flags(self, train: Callable[..., Any]) -> None:
        trained = train("--scheduler", "Exponential", "--accumulate-grad-batches", "4", "--epochs", "3")

        rows = read(trained.folder)
        assert list(rows[0]) == ["step", "epoch", "learning_rate", "train_loss", "val_loss"]
        assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
        assert [float(row["learning_rate"]) for row in rows] == pytest.approx(
            [BASE * 0.95 ** (k // 2) for k in range(6)]
        )

    @pytest.mark.parametrize("accumulate", [1, 4])
    @pytest.mark.parametrize("name", ["MultiStage", "Adaptive"])
    def test_metrics_show_rate_and_loss_weight_of_the_stages(
        self, train: Callable[..., Any], name: str, accumulate: int
    ) -> None:
        """Five groups make 5 or 2 optimizer steps an epoch; stage 1 is 40 % of them, stage 2 is 30 %."""
        trained = train("--scheduler", name, "--accumulate-grad-batches", str(accumulate), "--epochs", "4")

        rows, total = read(trained.folder), {1: 20, 4: 8}[accumulate]
        first, second = {1: (8, 6), 4: (3, 2)}[accumulate]
        progress = [min(1.0, max(0.0, (step - first) / second)) for step in range(total)]
        weights = [(1 - cos(pi * p)) / 2 for p in progress]
        form = {
            "MultiStage": [0.1 + 0.9 * (1 + cos(pi * p)) / 2 for p in progress],
            "Adaptive": [1.0 if step < first else 0.5 - 0.4 * w for step, w in enumerate(weights)],
        }[name]
        assert [int(row["step"]) for row in rows] == list(range(1, total + 1))
        assert [float(row["loss_weight"]) for row in rows] == pytest.approx(weights, abs=1e-15)
        assert [float(row["learning_rate"]) for row in rows] == pytest.approx([BASE * factor for factor in form])
        assert trained.rates == [float(row["learning_rate"]) for row in rows]

    def test_stage_1_is_the_amplitude_loss_and_stage_3_the_likelihood(self, train: Callable[..., Any]) -> None:
        """A training that is all stage 1, or all stage 3, gives the weights of that loss, bit for bit."""
        stages = ("--scheduler-option", "stage_2=0", "--scheduler-option", "factor=1", "--epochs", "2")
        all_first = train("--scheduler", "MultiStage", "--scheduler-option", "stage_1=100%", *stages)
        all_third = train("--scheduler", "MultiStage", "--scheduler-option", "stage_1=0", *stages)
        amplitude, poisson = train("--loss", "amplitude", "--epochs", "2"), train("--epochs", "2")

        for staged, plain in ((all_first, amplitude), (all_third, poisson)):
            assert all(torch.equal(staged.weights[name], expected) for name, expected in plain.weights.items())
        assert any(not torch.equal(amplitude.weights[name], each) for name, each in poisson.weights.items())

    def test_the_summary_has_the_end_points_of_rate_and_loss_weight(
        self, small_arguments: list[str], capsys: pytest.CaptureFixture[str]
    ) -> None:
        arguments = [*small_arguments, "--scheduler", "Adaptive"]

        assert main([*arguments, "--json"]) == 0
        summary = json.loads(capsys.readouterr().out)
        assert summary["learning_rate"] == pytest.approx([BASE, 0.1 * BASE])
        assert summary["loss_weight"] == [0.0, 1.0]
        assert main([*arguments, "--force"]) == 0
        printed = capsys.readouterr().out
        assert "learning rate: 0.002 at the first step, 0.0002 at the last\n" in printed
        assert "weight of the Poisson likelihood: 0 at the first step, 1 at the last\n" in printed


def read(folder: Path) -> list[dict[str, str]]:
    with (folder / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))
