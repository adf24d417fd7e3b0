"""``ReduceLROnPlateau``: lower the learning rate when a loss stops improving."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ptycho_cli.config.settings_group import Options
from ptycho_cli.errors import ConfigError
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from torch.optim import Optimizer


class PlateauOptions(Options):
    """The loss to monitor, and the change of the learning rate."""

    factor: float = Field(0.5, gt=0.0, lt=1.0, description="Factor by which the learning rate is multiplied.")
    patience: int = Field(
        2, ge=0, description="Epochs without improvement that are tolerated; the rate is lowered after one more."
    )
    min_lr: float = Field(
        5e-5, ge=0.0, description="Lowest learning rate of the network; the other rates keep their ratio to it."
    )
    threshold: float = Field(
        0.0, ge=0.0, lt=1.0, description="Relative decrease of the lowest loss that counts as an improvement."
    )
    monitor: Literal["val_loss", "train_loss"] = Field("val_loss", description="Loss to monitor.")


def build_plateau(optimizer: Optimizer, span: Span, options: PlateauOptions) -> Schedule:
    """torch's ``ReduceLROnPlateau``, stepped once per epoch, after validation.

    torch applies one ``min_lr`` to every group, which would change the ratio of groups with different base
    rates. Here ``min_lr`` is the minimum of the first group, the network, and the minima of the others are
    scaled like their base rates.

    Raises:
        ConfigError: If ``min_lr`` is not below the base rate of the network.
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
        eps=0.0,  # torch ignores changes below eps, which would change the ratio of groups with small rates
    )
    return Schedule(scheduler, interval="epoch", monitor=options.monitor)


PLATEAU = SchedulerEntry(
    name="ReduceLROnPlateau",
    summary="Multiply the learning rate by factor when the validation loss stops improving.",
    options=PlateauOptions,
    build=build_plateau,
)
