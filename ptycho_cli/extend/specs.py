"""The types of the extension contract: the entries that a plugin offers, and the arguments of their factories.

Importing this module costs pluggy and pydantic, never torch.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import pluggy
from pydantic import BaseModel

if TYPE_CHECKING:
    from lightning.pytorch import Callback
    from torch import nn
    from torch.optim import Optimizer
    from typer import Typer

    from ptycho_cli.config.schema import Config
    from ptycho_cli.data.readers.raw_scan import RawScan
    from ptycho_cli.data.readers.source import Source
    from ptycho_cli.physics.object_update import ObjectUpdate

API_VERSION = 1
PROJECT = "ptycho_cli"
hookimpl = pluggy.HookimplMarker(PROJECT)


@dataclass(frozen=True, slots=True)
class Entry:
    """One thing that a plugin offers; each hook has a subclass of its own.

    Attributes:
        kind: Name of the subclass in messages, such as ``scheduler``.
        functions: Names of the fields that must be functions.
        name: Name that users type, without regard to case.
        summary: One sentence for listings.
    """

    kind: ClassVar[str]
    functions: ClassVar[tuple[str, ...]]

    name: str
    summary: str


@dataclass(frozen=True, slots=True)
class ConfigurableEntry(Entry):
    """An entry with options of its own, from which a factory ``build`` makes an object.

    Attributes:
        options: A frozen pydantic model that forbids unknown names; checked, documented and shown before torch loads.
    """

    functions: ClassVar[tuple[str, ...]] = ("build",)

    options: type[BaseModel]


@dataclass(frozen=True, slots=True)
class Span:
    """Length of a training in optimizer steps.

    Attributes:
        total_steps: Optimizer steps in the whole training: ``epochs * steps_per_epoch``.
        steps_per_epoch: ``ceil(batches per epoch / accumulate_grad_batches)``, per rank.
        epochs: Epochs of the whole training.
    """

    total_steps: int
    steps_per_epoch: int
    epochs: int

    def epoch_of(self, step: int) -> int:
        """Epoch of optimizer step ``step``; both count from 0."""
        return step // self.steps_per_epoch


@dataclass(frozen=True, slots=True)
class Schedule:
    """A learning-rate schedule, as a scheduler's factory returns it.

    Attributes:
        scheduler: A torch ``LRScheduler`` or ``ReduceLROnPlateau`` (or one with the same ``step`` and ``state_dict``)
            that scales every parameter group by one factor, unless its entry declares ``per_group``.
        interval: ``step``: stepped after each applied optimizer step. ``epoch``: after each epoch's validation.
        monitor: Loss that ``scheduler.step`` receives, ``val_loss`` or ``train_loss``; None if it takes no argument.
        loss_weight: Optimizer step -> weight w in [0, 1] of the Poisson likelihood; the amplitude loss has the weight
            1 - w. None keeps the loss that the user chose.
    """

    scheduler: Any
    interval: Literal["step", "epoch"] = "step"
    monitor: str | None = None
    loss_weight: Callable[[int], float] | None = None


@dataclass(frozen=True, slots=True)
class SchedulerEntry(ConfigurableEntry):
    """A learning-rate scheduler; users type its name after ``--scheduler``.

    Attributes:
        build: ``(optimizer, span, options) -> Schedule``; import torch inside it.
        staged: True if the schedule has a ``loss_weight``.
        per_group: True if it may multiply the base rates of network and probe by different factors.
    """

    kind: ClassVar[str] = "scheduler"

    build: Callable[[Optimizer, Span, Any], Schedule]
    staged: bool = False
    per_group: bool = False


@dataclass(frozen=True, slots=True)
class CallbackContext:
    """The run that a callback is built for.

    Attributes:
        run_dir: Folder of the run; it exists.
        config: The immutable settings.
        span: Length of the training.
        scan: The first training scan, a ``ptycho_cli.data.Scan``.
        reconstruct: Reconstructs that scan with the current weights. Takes no argument and returns
            ``(object, coverage)`` as numpy arrays ``(y, x)``, complex64 and float32.
    """

    run_dir: Path
    config: Config
    span: Span
    scan: Any
    reconstruct: Callable[[], tuple[Any, Any]]


@dataclass(frozen=True, slots=True)
class CallbackEntry(ConfigurableEntry):
    """A training callback; users type its name after ``--callback``.

    Attributes:
        build: ``(context, options) -> lightning.pytorch.Callback``; import lightning inside it.
    """

    kind: ClassVar[str] = "callback"

    build: Callable[[CallbackContext, Any], Callback]


@dataclass(frozen=True, slots=True)
class NetworkContext:
    """The data that a network is built for.

    Attributes:
        n_pixels: Pixels along one side of a frame.
        update: The regularised update of the object, the same in every engine and network. Its ``alpha`` suits the
            first training scan. When weights are loaded, the network is built again with ``alpha`` 1: store whatever
            depends on it in a buffer or a parameter.
    """

    n_pixels: int
    update: ObjectUpdate


@dataclass(frozen=True, slots=True)
class NetworkEntry(ConfigurableEntry):
    """A network; users type its name after ``--network``.

    Attributes:
        build: ``(context, options) -> torch.nn.Module``; import torch inside it. Calling the module as
            ``network(source, physics_only=False, progress=None)`` reconstructs the canvases of a
            ``ptycho_cli.physics.frame_source.FrameSource``; see ``ptycho_cli.networks.contract.Network``.
    """

    kind: ClassVar[str] = "network"

    build: Callable[[NetworkContext, Any], nn.Module]


@dataclass(frozen=True, slots=True)
class ReaderEntry(Entry):
    """A reader of one layout of scan files.

    Attributes:
        name: Name of the layout in listings and messages, such as ``CXI``.
        summary: One sentence for listings.
        can_read: ``source -> bool``: True if the content of a ``ptycho_cli.data.readers.source.Source`` has this
            layout. The name of a file does not count, and no frames are loaded.
        read: ``source -> ptycho_cli.data.readers.raw_scan.RawScan``: frames, positions and all else as stored.
        generic: True if it goes by names that many files use; it is asked after all others.
    """

    kind: ClassVar[str] = "reader"
    functions: ClassVar[tuple[str, ...]] = ("can_read", "read")

    can_read: Callable[[Source], bool]
    read: Callable[[Source], RawScan]
    generic: bool = False


@dataclass(frozen=True, slots=True)
class CommandEntry(Entry):
    """A command, ``ptycho NAME``.

    Attributes:
        name: Lower-case letters, digits and ``-``. A command of the program itself keeps its name.
        summary: The help of a command whose function has no docstring.
        build: ``() -> function`` of typer, or ``() -> typer.Typer`` for a group of commands. Called only when a user
            types the command, so import inside it whatever the command needs.
    """

    kind: ClassVar[str] = "command"
    functions: ClassVar[tuple[str, ...]] = ("build",)

    build: Callable[[], Callable[..., Any] | Typer]


@dataclass(frozen=True, slots=True)
class WeightsEntry(Entry):
    """Weights of a network, trained for the instruments of a facility, say; users name them after ``--weights``.

    Attributes:
        name: Name that users type.
        summary: One sentence for listings.
        path: ``() -> Path`` of a file that ``ptycho weights export`` wrote, inside the plugin's package.
    """

    kind: ClassVar[str] = "weights"
    functions: ClassVar[tuple[str, ...]] = ("path",)

    path: Callable[[], Path]
