"""A torch scheduler whose rate is a formula of its own count of steps: all that most schedulers need."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


def closed_form(optimizer: Optimizer, factor: Callable[[int], float]) -> LRScheduler:
    """A scheduler that gives every parameter group its base rate times ``factor(t)`` at optimizer step t, from 0.

    Nothing is accumulated from step to step, so the rates do not drift, the groups keep their
    ratio, and a state restored in the middle goes on exactly. The state holds numbers only: the
    step and the base rates. The formula itself comes from the options, when it is built again.

    Args:
        optimizer: Its groups hold the base rates.
        factor: Step t -> factor, at least 0, for t from 0 to the total number of steps, inclusive:
            torch asks for one rate more than is used.
    """
    scheduler: LRScheduler = _scheduler_class()(optimizer, factor)
    return scheduler


@cache
def _scheduler_class() -> Any:
    """The class, made on first use because its base class comes with torch."""
    from torch.optim.lr_scheduler import LRScheduler

    class ClosedFormLR(LRScheduler):
        """``base rate * factor(last_epoch)`` for every group."""

        def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]) -> None:
            self._factor = factor
            super().__init__(optimizer)

        def get_lr(self) -> list[Any]:
            factor = self._factor(self.last_epoch)
            return [base * factor for base in self.base_lrs]

        def state_dict(self) -> dict[str, Any]:
            return {
                "last_epoch": self.last_epoch,
                "base_lrs": [float(base) for base in self.base_lrs],
                "step_count": self._step_count,
            }

        def load_state_dict(self, state_dict: dict[str, Any]) -> None:
            self.last_epoch = state_dict["last_epoch"]
            self.base_lrs = list(state_dict["base_lrs"])
            self._step_count = state_dict["step_count"]
            self._last_lr = self.get_lr()
            for group, rate in zip(self.optimizer.param_groups, self._last_lr, strict=True):
                group["lr"] = rate

    return ClosedFormLR
