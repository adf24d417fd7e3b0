"""Batches of groups, in an order that a resumed run continues exactly.

The order depends on (seed, epoch) alone. ``set_epoch`` sets the epoch, and the state of the loader is its position in
that epoch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Protocol

import torch
from torch.utils.data import DataLoader, Dataset

from ptycho_cli.data.batch import Batch, collate

Key = tuple[int, int]  # (epoch, index), so that worker processes get the epoch with every group


class GroupSource(Protocol):
    """Groups of frames to train on and to validate on, each by its number; picklable, for worker processes."""

    @property
    def canvas(self) -> tuple[int, int]:
        """Height and width of every group's canvas."""

    @property
    def patches(self) -> int:
        """Frames of a group, with padding."""

    @property
    def n_validation(self) -> int:
        """Number of validation groups."""

    def __len__(self) -> int:
        """Training groups in an epoch."""

    def training_group(self, epoch: int, index: int) -> Batch:
        """Group ``index`` of an epoch, as a batch of one."""

    def validation_group(self, index: int) -> Batch:
        """Validation group ``index``, as a batch of one; the same in every epoch."""


class GroupDataset(Dataset[Batch]):
    """Groups by (epoch, index); picklable, for worker processes.

    An index beyond the end gives every rank the same number of groups: it repeats a group without scored frames.
    """

    def __init__(self, groups: GroupSource, *, validation: bool = False) -> None:
        self.groups, self.validation = groups, validation

    def __len__(self) -> int:
        return self.groups.n_validation if self.validation else len(self.groups)

    def __getitem__(self, key: Key) -> Batch:
        epoch, index = key
        wrapped = index % len(self)
        batch = self.groups.validation_group(wrapped) if self.validation else self.groups.training_group(epoch, wrapped)
        return batch if index == wrapped else replace(batch, scored=torch.zeros_like(batch.scored))


class GroupSampler:
    """Keys of one rank's batches: indices ``rank``, ``rank + world``, and so on, divided into batches.

    Every rank has the same number of groups. Groups are random in every epoch, so their order needs no shuffling.
    """

    def __init__(self, n_groups: int, batch_size: int) -> None:
        self._n_groups, self._batch_size = n_groups, batch_size
        self._indices = range(n_groups)
        self.epoch, self.start = 0, 0

    def share(self, rank: int, world: int) -> None:
        """Restrict the keys to slice ``rank`` of ``world`` slices of equal length."""
        per_rank = -(-self._n_groups // world)
        self._indices = range(rank, rank + per_rank * world, world)

    def __len__(self) -> int:
        return -(-len(self._indices) // self._batch_size)

    def __iter__(self) -> Iterator[list[Key]]:
        for position in range(self.start, len(self)):
            first = position * self._batch_size
            yield [(self.epoch, index) for index in self._indices[first : first + self._batch_size]]

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.epoch = epoch


class _Loader(DataLoader[Batch]):
    def check_worker_number_rationality(self) -> None:
        """Print no warning about many workers; this program's own message names the setting."""


class GroupLoader:
    """Iterable over batches with a length, an epoch and a state, as Lightning expects of a data loader.

    Args:
        groups: The groups.
        batch_size: Groups in a batch; the last batch of an epoch may be shorter.
        validation: Use validation groups in place of training groups.
        rank: Index of this process, which gets slice ``rank`` of ``world`` equal slices of the epoch.
        world: Number of processes.
        num_workers: Processes that prepare batches; they live as long as the loader.
        pin_memory: Put batches in page-locked memory.

    Attributes:
        sampler: Has ``set_epoch``; Lightning looks for it here.
        batch_size: Groups in a batch.
        num_workers: Processes that prepare batches.
    """

    def __init__(
        self,
        groups: GroupSource,
        batch_size: int,
        *,
        validation: bool = False,
        rank: int = 0,
        world: int = 1,
        num_workers: int = 0,
        pin_memory: bool = False,
    ) -> None:
        self.dataset = GroupDataset(groups, validation=validation)
        self.sampler = GroupSampler(len(self.dataset), batch_size)
        self.share(rank, world)
        self.batch_sampler = None  # Lightning asks for one where there is a sampler
        self.batch_size = batch_size
        self.num_workers = num_workers
        self._position = 0  # batches returned in this epoch
        self._resume_at = 0
        self._loader: DataLoader[Batch] = _Loader(
            self.dataset,
            batch_sampler=self.sampler,
            num_workers=num_workers,
            collate_fn=collate,
            pin_memory=pin_memory,
            persistent_workers=num_workers > 0,
        )

    def __len__(self) -> int:
        """Batches in a whole epoch, even if an iteration starts in its middle."""
        return len(self.sampler)

    def __iter__(self) -> Iterator[Batch]:
        # A generator, because Lightning creates the iterator of a resumed epoch before it sets the epoch,
        # and workers prefetch as soon as their iterator exists.
        self.sampler.start, self._resume_at = self._resume_at, 0
        self._position = self.sampler.start
        for batch in self._loader:
            self._position += 1
            yield batch

    def share(self, rank: int, world: int) -> None:
        """Give this process slice ``rank`` of ``world`` equal slices of every epoch; call it before iterating."""
        self.sampler.share(rank, world)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch of the next iteration."""
        self.sampler.set_epoch(epoch)

    def state_dict(self) -> dict[str, int]:
        """Position in the epoch, as the number of batches that were returned; 0 at its end."""
        return {"position": self._position % len(self) if len(self) else 0}

    def load_state_dict(self, state_dict: dict[str, int]) -> None:
        """Start the next iteration, and no later one, at the saved position."""
        self._resume_at = self._position = int(state_dict["position"])
