"""Lightning's trainer receives the settings and applies them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest


class TestLightningExecutionConfig:
    @pytest.mark.parametrize(("arguments", "n", "steps"), [((), 1, 5), (("--accumulate-grad-batches", "4"), 4, 2)])
    def test_trainer_receives_accumulation(
        self, train: Callable[..., Any], arguments: tuple[str, ...], n: int, steps: int
    ) -> None:
        """Checked in the trainer, in the optimizer's steps, in the count of Adam, and in the record."""
        trained = train("--epochs", "1", *arguments)

        assert trained.trainer.accumulate_grad_batches == n
        assert trained.trainer.global_step == len(trained.rates) == steps
        state = next(iter(trained.trainer.optimizers[0].state.values()))
        assert int(state["step"]) == steps
        effective = json.loads((trained.folder / "run.json").read_text())["effective"]
        assert (effective["accumulate_grad_batches"], effective["steps_per_epoch"]) == (n, steps)
