"""``ReduceLROnPlateau``: lower the rate when a figure stops improving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ptycho_cli.config.schema import Options
from ptycho_cli.errors import ConfigError
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from torch.optim import Optimizer


class PlateauOptions(Options):
    """What is watched, and how the rate answers."""

    factor: float = Field(0.5, gt=0.0, lt=1.0, description="Factor on the learning rate each time.")
    patience: int = Field(
        2, ge=0, description="Epochs without improvement that are let pass before the rate is lowered."
    )
    min_lr: float = Field(
        5e-5, ge=0.0, description="Lowest learning rate of the network; other rates keep their ratio."
    )
    threshold: float = Field(
        0.0, ge=0.0, lt=1.0, description="Share by which the figure must fall below its best to count as improved."
    )
    monitor: Literal["val_loss", "train_loss"] = Field("val_loss", description="Figure that is watched.")


def build_plateau(optimizer: Optimizer, span: Span, options: PlateauOptions) -> Schedule:
    """torch's ``ReduceLROnPlateau``, stepped once per epoch of validation.

    torch takes ``min_lr`` as a floor for each group by itself, which would pull groups of different base
    rates apart. Here it is the floor of the first group, the network, and the others stop with it.

    Raises:
        ConfigError: If the rate of the network is at ``min_lr`` from the start.
    """
    from torch.optim.lr_scheduler import ReduceLROnPlateau

    base = float(optimizer.param_groups[0]["lr"])
    if options.min_lr >= base:
        raise ConfigError(
            f"scheduler.options.min_lr: {options.min_lr:g} is not below the learning rate {base:g},"
            " so the rate could never be lowered.",
            hint="Set scheduler.options.min_lr lower.",
        )
    scheduler = ReduceLROnPlateau(
        optimizer,
        factor=options.factor,
        patience=options.patience,
        threshold=options.threshold,
        min_lr=[float(group["lr"]) * options.min_lr / base for group in optimizer.param_groups],
        eps=0.0,  # torch leaves out changes smaller than eps, which would part groups of small rates from the rest
    )
    return Schedule(scheduler, interval="epoch", monitor=options.monitor)


PLATEAU = SchedulerEntry(
    name="ReduceLROnPlateau",
    summary="Multiply the learning rate by factor when the validation loss stops improving.",
    options=PlateauOptions,
    build=build_plateau,
)
