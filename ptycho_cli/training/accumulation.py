"""Accumulation windows: the batches whose gradients make one optimizer step."""

from __future__ import annotations

from dataclasses import dataclass

from ptycho_cli.extend.specs import Span


@dataclass(frozen=True, slots=True)
class Windows:
    """How the batches of an epoch fall into windows of ``accumulate``, the last one perhaps shorter.

    Lightning divides every loss by ``accumulate``, also in a shorter window, and a mean over a short
    batch weighs its groups more; ranks are averaged, though one may have fewer groups. With
    :meth:`weight` on every group's loss the accumulated gradient is that of the mean over all groups
    of the window: the update of one large batch.

    Attributes:
        n_groups: Groups in an epoch, over all ranks.
        batch_size: Groups in a batch of one rank.
        accumulate: Batches in a window, of each rank.
        world_size: Number of ranks. Rank r goes through groups r, r + world_size, ...; all ranks have
            equally many, the surplus ones with nothing scored in them.
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
        """Groups, over all ranks, in a window that is not cut short."""
        return self.batch_size * self.accumulate * self.world_size

    @property
    def _groups_per_rank(self) -> int:
        return -(-self.n_groups // self.world_size)

    def span(self, epochs: int) -> Span:
        """Length of a training of ``epochs`` epochs."""
        return Span(total_steps=epochs * self.steps, steps_per_epoch=self.steps, epochs=epochs)

    def opens(self, batch_index: int) -> bool:
        """Whether batch ``batch_index`` of an epoch is the first of its window."""
        return batch_index % self.accumulate == 0

    def closes(self, batch_index: int) -> bool:
        """Whether an optimizer step follows batch ``batch_index`` of an epoch."""
        return (batch_index + 1) % self.accumulate == 0 or batch_index + 1 == self.batches

    def groups_in_window(self, batch_index: int) -> int:
        """Groups, over all ranks, in the window that holds batch ``batch_index`` of an epoch."""
        first = batch_index // self.accumulate * self.groups_per_window
        return min(self.groups_per_window, self.n_groups - first)

    def weight(self, batch_index: int) -> float:
        """What the loss of each group in a batch is multiplied by, before Lightning divides by ``accumulate``.

        Gradients are averaged over ranks, hence the world size. Surplus groups have no loss.
        """
        return self.accumulate * self.world_size / self.groups_in_window(batch_index)
