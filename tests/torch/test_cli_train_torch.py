"""Flags of ``ptycho train`` end at the learning rates of optimizer steps and at weights."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any

import pytest
import torch

BASE = 2e-3  # optimizer.learning_rate by default


class TestExecutionConfigCLI:
    def test_scheduler_flag_roundtrip(self, train: Callable[..., Any]) -> None:
        """``--scheduler Exponential`` halves the rate every epoch, at every step, and so leads to other weights."""
        flags = ("--scheduler", "exponential", "--scheduler-option", "gamma=0.5", "--epochs", "3")
        trained, default = train(*flags), train("--epochs", "3")

        assert trained.rates == pytest.approx([BASE * 0.5**epoch for epoch in range(3) for _ in range(5)])
        assert trained.rate == pytest.approx(BASE * 0.5**3)
        assert default.rates == [BASE] * 15
        assert default.rate == BASE
        assert not torch.equal(next(iter(trained.weights.values())), next(iter(default.weights.values())))

    def test_accumulate_grad_batches_roundtrip(self, train: Callable[..., Any]) -> None:
        """N batches accumulated are one batch N times as large, the short last window too: the same weights."""
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

        with (trained.folder / "metrics.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
        assert [float(row["learning_rate"]) for row in rows] == pytest.approx(
            [BASE * 0.95 ** (k // 2) for k in range(6)]
        )
