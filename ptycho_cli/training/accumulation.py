"""Accumulation over batches: the windows that make one optimizer step, and mean losses."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ptycho_cli.extend.specs import Span
from ptycho_cli.training.distributed import sum_over_ranks

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from torch import Tensor


@dataclass(frozen=True, slots=True)
class Windows:
    """Division of an epoch's batches into windows of ``accumulate`` batches; the last one may be shorter.

    Lightning divides every loss by ``accumulate``, also in a shorter window; a mean over a short batch gives its
    groups more weight; and DDP averages over ranks, though one may have fewer groups. If every group's loss is
    multiplied by :meth:`weight`, the accumulated gradient is that of the mean over all groups of the window: the
    update of one large batch.

    Attributes:
        n_groups: Groups in an epoch, over all ranks.
        batch_size: Groups in a batch of one rank.
        accumulate: Batches in a window, of each rank.
        world_size: Number of ranks. Rank r processes groups r, r + world_size, ... All ranks have the same number
            of groups; surplus groups have no scored frames.
    """

    n_groups: int
    batch_size: int
    accumulate: int
    world_size: int = 1

    @property
    def batches(self) -> int:
        """Batches per epoch and rank."""
        return -(-self._groups_per_rank // self.batch_size)

    @property
    def steps(self) -> int:
        """Optimizer steps per epoch."""
        return -(-self.batches // self.accumulate)

    @property
    def groups_per_window(self) -> int:
        """Groups of a full window, over all ranks."""
        return self.batch_size * self.accumulate * self.world_size

    @property
    def _groups_per_rank(self) -> int:
        return -(-self.n_groups // self.world_size)

    @property
    def note(self) -> str | None:
        """Message where an epoch has too few groups for an optimizer step; else None."""
        if self.groups_per_window <= self.n_groups:
            return None
        return (
            f"An optimizer step should use {self.groups_per_window} groups, but an epoch has only {self.n_groups}: "
            "each epoch is one step with all of them."
        )

    def span(self, epochs: int) -> Span:
        """Length of a training of ``epochs`` epochs."""
        return Span(total_steps=epochs * self.steps, steps_per_epoch=self.steps, epochs=epochs)

    def opens(self, batch_index: int) -> bool:
        """True if batch ``batch_index`` of an epoch is the first of its window."""
        return batch_index % self.accumulate == 0

    def closes(self, batch_index: int) -> bool:
        """True if an optimizer step follows batch ``batch_index`` of an epoch."""
        return (batch_index + 1) % self.accumulate == 0 or batch_index + 1 == self.batches

    def groups_in_window(self, batch_index: int) -> int:
        """Groups, over all ranks, in the window that contains batch ``batch_index`` of an epoch."""
        first = batch_index // self.accumulate * self.groups_per_window
        return min(self.groups_per_window, self.n_groups - first)

    def weight(self, batch_index: int) -> float:
        """Factor on the loss of each group of a batch, before Lightning divides by ``accumulate``.

        It contains the world size, since DDP averages gradients over ranks. Surplus groups have no loss.
        """
        return self.accumulate * self.world_size / self.groups_in_window(batch_index)


class RunningMean:
    """A weighted mean; its sum stays on the device until it is read, since reading waits for the device."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | float = 0.0

    def clear(self) -> None:
        """Reset to nothing added."""
        self.count, self._sum = 0, 0.0

    def add(self, total: Tensor | float, count: int) -> None:
        """Add a sum over ``count`` items."""
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
        """Restore a saved mean."""
        self._sum, self.count = float(state["sum"]), int(state["count"])
