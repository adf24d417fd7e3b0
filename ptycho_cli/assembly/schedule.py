"""The optimizer and the learning-rate schedule, from settings."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from ptycho_cli.errors import PluginError
from ptycho_cli.extend.attribution import call_factory
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from torch.optim import Optimizer


def build_optimizer(groups: Sequence[Mapping[str, Any]]) -> Optimizer:
    """Adam over named parameter groups, each with its base rate; AdamW where a group has weight decay.

    Groups without parameters are left out.
    """
    import torch

    used = [dict(group) for group in groups if group["params"]]
    decays = any(group.get("weight_decay", 0.0) > 0 for group in used)
    kind = torch.optim.AdamW if decays else torch.optim.Adam
    return kind(used, lr=used[0]["lr"])


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
    schedule = call_factory(partial(entry.build, optimizer, span, options), where, "Choose another with --scheduler")
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
    return schedule
