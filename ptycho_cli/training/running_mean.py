"""Means that are gathered batch by batch and read once."""

from __future__ import annotations

import torch
from lightning.pytorch import Trainer
from torch import Tensor


def sum_over_ranks(trainer: Trainer, *values: float) -> list[float]:
    """Each value summed over all ranks, the same on each of them."""
    if trainer.world_size == 1:
        return list(values)
    # a GPU of Apple's has no double precision, but there is only one of it
    all_of_them = torch.tensor(values, dtype=torch.float64, device=trainer.strategy.root_device)
    summed: list[float] = trainer.strategy.reduce(all_of_them, reduce_op="sum").tolist()
    return summed


class RunningMean:
    """A weighted mean whose sum stays on the device until it is read, since reading waits for the device."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | float = 0.0

    def clear(self) -> None:
        """Start anew."""
        self.count, self._sum = 0, 0.0

    def add(self, total: Tensor | float, count: int) -> None:
        """Add a sum over ``count`` things."""
        self._sum = self._sum + total
        self.count += count

    def value(self, trainer: Trainer | None = None) -> float:
        """The mean so far, over all ranks if a trainer is given; NaN if nothing was added."""
        total, count = float(self._sum), float(self.count)
        if trainer is not None:
            total, count = sum_over_ranks(trainer, total, count)
        return total / count if count else float("nan")

    def state(self) -> dict[str, float]:
        """Plain numbers for a checkpoint."""
        return {"sum": float(self._sum), "count": self.count}

    def load(self, state: dict[str, float]) -> None:
        """Take up a saved mean."""
        self._sum, self.count = float(state["sum"]), int(state["count"])
