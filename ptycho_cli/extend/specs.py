"""What a plugin may offer and what it is given: the types and hooks of the extension contract.

Importing this module costs pluggy and pydantic, never torch.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pluggy
from pydantic import BaseModel

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch import nn
    from torch.optim import Optimizer

    from ptycho_cli.config.schema import Config

API_VERSION = 1
PROJECT = "ptycho_cli"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Span:
    """How long training lasts, in optimizer steps, the only clock there is.

    Attributes:
        total_steps: Optimizer steps in the whole training: ``epochs * steps_per_epoch``.
        steps_per_epoch: ``ceil(batches per epoch / accumulate_grad_batches)``, per rank.
        epochs: Epochs of the whole training.
    """

    total_steps: int
    steps_per_epoch: int
    epochs: int

    def epoch_of(self, step: int) -> int:
        """The epoch, from 0, that optimizer step ``step``, from 0, belongs to."""
        return step // self.steps_per_epoch


@dataclass(frozen=True, slots=True)
class Schedule:
    """What a scheduler factory returns.

    Attributes:
        scheduler: A torch ``LRScheduler`` or ``ReduceLROnPlateau`` (or one with the same ``step`` and ``state_dict``)
            that scales every parameter group by one factor.
        interval: ``step``: stepped after each applied optimizer step. ``epoch``: after each epoch's validation.
        monitor: The logged figure that ``scheduler.step`` is given; None for schedulers that need none.
        loss_weight: Optimizer step -> weight w in [0, 1] of the Poisson likelihood, the rest going to the
            amplitude loss; None leaves the chosen loss alone.
    """

    scheduler: Any
    interval: Literal["step", "epoch"] = "step"
    monitor: str | None = None
    loss_weight: Callable[[int], float] | None = None


@dataclass(frozen=True, slots=True)
class SchedulerEntry:
    """A learning-rate scheduler on offer.

    Attributes:
        name: What users type after ``--scheduler``.
        summary: One sentence for listings.
        options: A frozen pydantic model that forbids unknown names; checked, documented and shown before torch loads.
        build: ``(optimizer, span, options) -> Schedule``; import torch inside it.
        staged: Whether the schedule comes with a ``loss_weight``.
    """

    name: str
    summary: str
    options: type[BaseModel]
    build: Callable[[Optimizer, Span, Any], Schedule]
    staged: bool = False


@dataclass(frozen=True, slots=True)
class CallbackContext:
    """What a callback factory is told about the run.

    Attributes:
        run_dir: Folder of the run; it exists.
        config: The immutable settings.
        span: Length of the training.
        scan: The first training scan, a ``ptycho_cli.data.Scan``.
        reconstruct: Reconstructs that scan with the network as it is now: no argument, returns
            ``(object, coverage)`` as numpy arrays ``(y, x)``, complex64 and float32.
    """

    run_dir: Path
    config: Config
    span: Span
    scan: Any
    reconstruct: Callable[[], tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class CallbackEntry:
    """A training callback on offer.

    Attributes:
        name: What users type after ``--callback``.
        summary: One sentence for listings.
        options: A frozen pydantic model that forbids unknown names.
        build: ``(context, options) -> lightning.pytorch.Callback``; import lightning inside it.
    """

    name: str
    summary: str
    options: type[BaseModel]
    build: Callable[[CallbackContext, Any], Callback]


@dataclass(frozen=True, slots=True)
class NetworkContext:
    """What a network factory is told.

    Attributes:
        n_pixels: Pixels along one side of a frame.
        alpha: Regularisation of the physics step for the first training scan, relative to the largest ``|P|^2``.
            When weights are loaded the network is built anew with 1: keep what follows from it in a buffer or a
            parameter.
    """

    n_pixels: int
    alpha: float


@dataclass(frozen=True, slots=True)
class NetworkEntry:
    """A network on offer.

    Attributes:
        name: What users type after ``--network``.
        summary: One sentence for listings.
        options: A frozen pydantic model that forbids unknown names.
        build: ``(context, options) -> torch.nn.Module``; import torch inside it. Calling the module as
            ``network(scene, silent=False, report=None)`` reconstructs the canvases of a
            ``ptycho_cli.physics.scene.Scene``; ``ptycho_cli.networks.contract.Network`` says what that promises.
    """

    name: str
    summary: str
    options: type[BaseModel]
    build: Callable[[NetworkContext, Any], nn.Module]


Entry = SchedulerEntry | CallbackEntry | NetworkEntry


@hookspec
def ptycho_schedulers() -> Iterable[SchedulerEntry]:
    """Offer learning-rate schedulers; a user picks one by its name with ``--scheduler``.

    Called once per command, before torch is imported: import torch inside ``build``. The
    host validates ``scheduler.options`` against ``entry.options`` before ``build`` runs, and
    stops with both distributions' names if two offer the same scheduler.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def ptycho_callbacks() -> Iterable[CallbackEntry]:
    """Offer Lightning callbacks; a user adds them with ``--callback``, in the order given.

    Called once per command, before torch is imported: import lightning inside ``build``.
    ``build`` runs once the scan is read and the span is known, before the first step. The
    callback's ``state_dict`` is saved with the checkpoint and restored on resume.
    """
    raise AssertionError("a hook specification is never called")


@hookspec
def ptycho_networks() -> Iterable[NetworkEntry]:
    """Offer networks; a user picks one by its name with ``--network``.

    Called once per command, before torch is imported: import torch inside ``build``. The host
    validates ``model.options`` against ``entry.options`` before ``build`` runs. ``build`` runs under
    the seed of the run, and again whenever weights are loaded, for which options and shapes must be enough.
    """
    raise AssertionError("a hook specification is never called")
