"""What the training needs from the science: one loss for each group, and the parameters to fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sized
from typing import Any, Protocol, TypedDict

from torch import Tensor, nn

from ptycho_cli.data.batch import Batch
from ptycho_cli.data.scan import Scan


class ParameterGroup(TypedDict):
    """Parameters with one base learning rate.

    ``name`` is what tables call the group, such as ``network`` or ``probe``; ``lr`` is the base rate
    that a scheduler multiplies; ``weight_decay`` is decoupled.
    """

    name: str
    params: list[nn.Parameter]
    lr: float
    weight_decay: float


class Objective(Protocol):
    """An ``nn.Module`` whose output is minimised.

    Calling it with a batch and a loss weight gives the loss of each group, real, shape ``(batch,)``: the
    mean over the group's scored frames, normalised by constants of the data set, never by figures of
    the batch. Only so do N accumulated batches give the update of one batch N times as large.

    ``loss_weight`` is the weight in [0, 1] of the Poisson likelihood against the amplitude loss, or
    None for the loss that the settings chose.
    """

    forward: Callable[..., Any]
    state_dict: Callable[..., dict[str, Any]]
    load_state_dict: Callable[..., Any]

    def __call__(self, batch: Batch, loss_weight: float | None) -> Tensor:
        """Loss of each group, shape ``(batch,)``."""
        ...

    def parameter_groups(self) -> list[ParameterGroup]:
        """All parameters to fit, each in one group."""
        ...


class BatchLoader(Sized, Protocol):
    """Batches of one epoch; ``len`` is their number, also where an iteration starts in the middle."""

    @property
    def dataset(self) -> Any:
        """What is batched; its length is the number of groups in an epoch."""

    @property
    def batch_size(self) -> int:
        """Groups in a batch."""

    @property
    def num_workers(self) -> int:
        """Processes that prepare batches."""

    def share(self, rank: int, world: int) -> None:
        """Give one of ``world`` equal slices of every epoch."""

    def __iter__(self) -> Iterator[Batch]: ...


class Assembled(Protocol):
    """What a training is given: an objective and the batches to train it on."""

    @property
    def objective(self) -> nn.Module:
        """Gives the loss of each group; an :class:`~ptycho_cli.training.objective.Objective`."""

    @property
    def training_loader(self) -> BatchLoader:
        """Training batches."""

    @property
    def validation_loader(self) -> BatchLoader | None:
        """Validation batches; None if nothing is held out."""

    @property
    def scans(self) -> tuple[Scan, ...]:
        """The training scans."""
