"""The optimizer and the learning-rate schedule, from settings."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from ptycho_cli.errors import PluginError
from ptycho_cli.extend.attribution import call_factory
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.nn import Parameter
    from torch.optim import Optimizer

    from ptycho_cli.config.schema import OptimizerSettings

_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True)
class OptimizerRates:
    """Base learning rates, which the schedule multiplies, and weight decay.

    Attributes:
        network: Base learning rate of the network.
        probe: Base learning rate of the probe; 0 keeps the probe as it is.
        weight_decay: Decoupled weight decay of the network.
    """

    network: float
    probe: float = 0.0
    weight_decay: float = 0.0


def optimizer_rates(optimizer: OptimizerSettings, *, refine_probe: bool | Literal["auto"]) -> OptimizerRates:
    """Rates of the ``optimizer`` settings; that of the probe is 0 if ``physics.refine_probe`` is off."""
    probe_rate = optimizer.probe_learning_rate if refine_probe else 0.0
    return OptimizerRates(optimizer.learning_rate, probe_rate, optimizer.weight_decay)


def build_optimizer(parameters: Mapping[str, Sequence[Parameter]], rates: OptimizerRates) -> Optimizer:
    """Build Adam over named parameter groups, or AdamW where there is weight decay.

    Args:
        parameters: Parameters by the name of their group, ``network`` or ``probe``; an empty group is left out.
        rates: Base learning rates and weight decay.
    """
    import torch

    settings: dict[str, dict[str, float]] = {
        "network": {"lr": rates.network, "weight_decay": rates.weight_decay},
        "probe": {"lr": rates.probe, "weight_decay": 0.0},
    }
    used = [name for name, group in parameters.items() if group]
    groups = [{"name": name, "params": list(parameters[name]), **settings[name]} for name in used]
    kind = torch.optim.AdamW if any(settings[name]["weight_decay"] > 0 for name in used) else torch.optim.Adam
    return kind(groups, lr=settings[used[0]]["lr"])


def build_schedule(
    scheduler: RegisteredEntry[SchedulerEntry], options: Any, optimizer: Optimizer, span: Span
) -> Schedule:
    """Build a scheduler through its plugin's factory.

    Args:
        scheduler: The chosen scheduler, and the distribution that offers it.
        options: Its validated options.
        optimizer: Its groups hold the base rates.
        span: Length of the training.

    Raises:
        PluginError: If the factory fails, or returns what cannot be used.
    """
    entry, where = scheduler.entry, scheduler.title
    schedule = call_factory(partial(entry.build, optimizer, span, options), where, "Choose another with scheduler.name")
    if not isinstance(schedule, Schedule):
        raise PluginError(f"{where} returned {type(schedule).__name__}, expected a Schedule.")
    missing = [name for name in ("step", "state_dict", "load_state_dict") if not hasattr(schedule.scheduler, name)]
    if missing:
        raise PluginError(f"{where}: its scheduler has no {', '.join(missing)}; expected a torch LRScheduler.")
    if schedule.interval not in ("step", "epoch"):
        raise PluginError(f"{where} has interval {schedule.interval!r}, expected step or epoch.")
    if (schedule.loss_weight is not None) != entry.staged:
        found = "it has a loss weight" if schedule.loss_weight is not None else "it has no loss weight"
        says = "its entry says that it is staged" if entry.staged else "its entry does not say that it is staged"
        raise PluginError(f"{where}: {found}, but {says}.")
    if schedule.interval == "step" and schedule.monitor is not None:
        raise PluginError(f"{where} monitors {schedule.monitor} at every optimizer step; expected interval epoch.")
    _check_step_takes_the_loss(schedule, where)
    return schedule


def _check_step_takes_the_loss(schedule: Schedule, where: str) -> None:
    """Refuse a plateau without a monitor, and a monitor whose loss ``step`` would take for the number of an epoch."""
    try:
        parameters = list(inspect.signature(schedule.scheduler.step).parameters.values())
    except (TypeError, ValueError):  # a function without a signature
        return
    needs = next((item.name for item in parameters if item.default is item.empty and item.kind in _POSITIONAL), None)
    if schedule.monitor is None and needs is not None:
        raise PluginError(
            f"{where}: the step of its {type(schedule.scheduler).__name__} needs {needs!r}, but it monitors nothing.",
            hint='Its author must return Schedule(..., interval="epoch", monitor="val_loss").',
        )
    if schedule.monitor is not None and (not parameters or parameters[0].name == "epoch"):
        raise PluginError(
            f"{where} monitors {schedule.monitor}, but the step of its {type(schedule.scheduler).__name__} takes no"
            " loss.",
            hint="Its author must leave out the monitor, or return a scheduler such as ReduceLROnPlateau.",
        )
