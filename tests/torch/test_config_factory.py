"""The setting that wins over the others is the one that trains."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

BASE = 2e-3


class TestExecutionConfigOverrides:
    def test_scheduler_override_applied(self, train: Callable[..., Any], tmp_path: Path) -> None:
        """The file sets a plateau, the command line a decay: the rate decays, from the base rate of the file."""
        settings = tmp_path / "run.yaml"
        settings.write_text("scheduler: {name: ReduceLROnPlateau}\noptimizer: {learning_rate: 0.004}\n")
        flags = ("--epochs", "2", "--scheduler-option", "gamma=0.1")

        trained = train("-c", str(settings), "--scheduler", "Exponential", *flags)
        direct = train("--learning-rate", "0.004", "--scheduler", "Exponential", *flags)

        assert trained.rates == pytest.approx([0.004] * 5 + [0.0004] * 5)
        assert trained.rate == pytest.approx(4e-4)  # of the last epoch
        assert all(torch.equal(trained.weights[name], weights) for name, weights in direct.weights.items())

    def test_accum_steps_override_applied(
        self, train: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """The file sets 5, the environment 3, the command line 2: three steps an epoch, and their weights."""
        settings = tmp_path / "run.yaml"
        settings.write_text("training: {accumulate_grad_batches: 5}\n")
        direct = train("--epochs", "1", "--accumulate-grad-batches", "2")
        monkeypatch.setenv("PTYCHO_TRAINING__ACCUMULATE_GRAD_BATCHES", "3")

        by_flag = train("-c", str(settings), "--epochs", "1", "--accumulate-grad-batches", "2")
        by_environment = train("-c", str(settings), "--epochs", "1")

        assert len(by_flag.rates) == 3
        assert len(by_environment.rates) == 2
        assert by_flag.rate == BASE
        assert all(torch.equal(by_flag.weights[name], weights) for name, weights in direct.weights.items())
