"""Callbacks of Lightning: weight averaging, a time limit, learning rates, device statistics, a table of the network."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from ptycho_cli.extend import CallbackContext, CallbackEntry, Options, hookimpl

if TYPE_CHECKING:
    from lightning.pytorch import Callback

ptycho_plugin_api = 1


class EMAOptions(Options):
    """Exponential moving average of the weights, after each optimizer step."""

    decay: float = Field(0.999, gt=0, lt=1, description="Part of the average that each step keeps.")
    update_every_n_steps: int = Field(1, ge=1, description="Optimizer steps between two updates of the average.")
    update_starting_at_step: int | None = Field(None, ge=0, description="First optimizer step, from 0, that counts.")


class SWAOptions(Options):
    """Mean of the weights at the ends of the last epochs, at a learning rate of its own."""

    swa_lrs: float = Field(1e-3, gt=0, description="Learning rate while weights are averaged.")
    swa_epoch_start: float = Field(0.8, ge=0, lt=1, description="Part of the epochs before the averaging.")
    annealing_epochs: int = Field(1, ge=1, description="Epochs in which the learning rate moves to swa_lrs.")
    annealing_strategy: Literal["cos", "linear"] = Field("cos", description="How the learning rate moves there.")


class TimerOptions(Options):
    """A time limit for the training."""

    duration: str = Field(
        "00:12:00:00", pattern=r"^\d{2}:\d{2}:\d{2}:\d{2}$", description="Longest time, as DD:HH:MM:SS."
    )
    interval: Literal["step", "epoch"] = Field("step", description="How often the time is checked.")


class LearningRateOptions(Options):
    """Learning rate of each parameter group."""

    logging_interval: Literal["step", "epoch"] = Field("step", description="When it is logged.")
    log_momentum: bool = Field(False, description="Log Adam's betas too.")


class DeviceOptions(Options):
    """Use of the device."""

    cpu_stats: bool = Field(False, description="Log the use of the CPU too, which needs the package psutil.")


class SummaryOptions(Options):
    """Depth of the table."""

    max_depth: int = Field(1, ge=-1, description="Levels of modules to show; -1 shows all.")


def _entry(class_name: str, summary: str, options: type[Options]) -> CallbackEntry:
    """An entry with the name of Lightning's class, whose arguments are the options."""

    def build(context: CallbackContext, chosen: Any) -> Callback:
        from lightning.pytorch import callbacks

        built: Callback = getattr(callbacks, class_name)(**chosen.model_dump())
        return built

    return CallbackEntry(name=class_name, summary=summary, options=options, build=build)


EMA = _entry("EMAWeightAveraging", "Keep an exponential moving average of the weights.", EMAOptions)
SWA = _entry("StochasticWeightAveraging", "Keep the mean of the weights of the last epochs.", SWAOptions)
TIMER = _entry("Timer", "End the training well after a time.", TimerOptions)
LEARNING_RATE = _entry("LearningRateMonitor", "Log the learning rate of each parameter group.", LearningRateOptions)
DEVICE = _entry("DeviceStatsMonitor", "Log the use of the device.", DeviceOptions)
SUMMARY = _entry("ModelSummary", "Print the modules of the network and their sizes.", SummaryOptions)


@hookimpl
def ptycho_callbacks() -> Iterable[CallbackEntry]:
    """Offer the callbacks of Lightning that help a training."""
    yield from (EMA, SWA, TIMER, LEARNING_RATE, DEVICE, SUMMARY)
