"""A torch scheduler whose learning rate is a formula of the step number, which is enough for most schedulers."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler


def closed_form(optimizer: Optimizer, factor: Callable[[int], float]) -> LRScheduler:
    """A scheduler that sets the rate of every parameter group to its base rate times ``factor(t)``.

    Each rate follows from the step number alone, so rates do not drift, all groups keep their ratio,
    and a restored scheduler continues exactly. The saved state is the step number and the base rates;
    the formula follows from the options when the scheduler is built again.

    Args:
        optimizer: The optimizer, whose groups hold the base rates.
        factor: Optimizer step t, from 0 to T - 1 in a training of T steps -> factor, at least 0.
    """
    scheduler: LRScheduler = _scheduler_class()(optimizer, factor)
    return scheduler


@cache
def _scheduler_class() -> Any:
    """The class, defined on first use because its base class needs torch."""
    from torch.optim.lr_scheduler import LRScheduler

    class ClosedFormLR(LRScheduler):
        """``base rate * factor(last_epoch)`` for every group."""

        def __init__(self, optimizer: Optimizer, factor: Callable[[int], float]) -> None:
            self._factor = factor
            super().__init__(optimizer)

        def get_lr(self) -> list[Any]:
            factor = float(self._factor(self.last_epoch))  # of NumPy, too
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
