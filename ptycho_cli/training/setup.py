"""The moment between set-up and the first step: read back what was built, and compare."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from ptycho_cli.config.schema import Config
from ptycho_cli.errors import ConfigError, PluginError
from ptycho_cli.extend.load import PluginRecord
from ptycho_cli.extend.specs import Span
from ptycho_cli.training.effective import (
    check_states_are_plain,
    effective_values,
    reasons,
    requested_values,
    set_up_otherwise,
    unexplained,
)
from ptycho_cli.training.events import Events, Outline
from ptycho_cli.training.module import TrainingModule


class SetUpOnly(Exception):  # noqa: N818
    """Raised before the first step of a dry run; not an error, but the way out of Lightning's loops."""


class CheckSetUp(Callback):
    """Makes the effective values known before the first step, and stops where they are not what was asked for.

    Args:
        config: The settings.
        span: The span that the schedule was built with.
        events: Told of the effective values and of the start.
        why: Reasons, by key, for effective values that differ from the request.
        keep: Given requested and effective values, to be stored.
        plugins: All that were found; one whose state cannot be saved is named.
        built_by: Gives the name of the entry whose factory built the schedule.
        frames_per_step: Frames of an optimizer step, on average.
        dry_run: Stop here.
    """

    def __init__(
        self,
        config: Config,
        span: Span,
        *,
        events: Events,
        why: Mapping[str, str],
        keep: Callable[[dict[str, Any], dict[str, Any]], None],
        plugins: Sequence[PluginRecord],
        built_by: Callable[[], str],
        frames_per_step: float,
        dry_run: bool,
    ) -> None:
        self._config, self._span, self._events, self._why = config, span, events, dict(why)
        self._keep, self._frames_per_step, self._dry_run = keep, frames_per_step, dry_run
        self._plugins, self._built_by = plugins, built_by

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read back, compare, store, tell."""
        module, scheduler = cast(TrainingModule, pl_module), self._config.scheduler
        _check_monitor(module, trainer, scheduler.name)
        _refuse_changing_accumulation(trainer)
        check_states_are_plain(trainer, module.scheduler_name, self._plugins)
        requested = requested_values(self._config, module.windows)
        entry = self._built_by()  # its name is bare, a setting may name the distribution too
        name = scheduler.name if scheduler.name.rpartition(":")[2] == entry else entry
        effective = effective_values(trainer, module, name, scheduler.options, self._span)
        why = {**reasons(requested, effective), **self._why}
        if differing := unexplained(requested, effective, why):
            raise set_up_otherwise("; ".join(differing))
        if trainer.world_size > 1 and trainer.strategy.broadcast(effective) != effective:
            raise set_up_otherwise(f"rank {trainer.global_rank} has other values than rank 0")
        self._keep(requested, effective)
        self._events.effective(requested, effective, why)
        if self._dry_run:
            raise SetUpOnly
        steps = module.windows.steps
        self._events.started(Outline(int(trainer.max_epochs or 0), steps, module.applied_steps, self._frames_per_step))


def _refuse_changing_accumulation(trainer: Trainer) -> None:
    """The span, and with it the schedule, is computed for one N; say so before it changes, epochs later."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        if isinstance(callback, GradientAccumulationScheduler):
            raise PluginError(
                f"callback {type(callback).__name__} changes accumulate_grad_batches during the run, on which the"
                " length of the schedule depends.",
                hint="Leave it out; set one value with --accumulate-grad-batches.",
            )


def _check_monitor(module: TrainingModule, trainer: Trainer, scheduler: str) -> None:
    """A figure that nobody computes would be missed after the first epoch; say so before it."""
    monitor = None if module.schedule is None else module.schedule.monitor
    known = ("train_loss", "val_loss") if trainer.enable_validation else ("train_loss",)
    if monitor is not None and monitor not in known:
        raise ConfigError(
            f"scheduler '{scheduler}' monitors {monitor!r}, but this training computes {' and '.join(known)}.",
            hint="Hold out some frames with data.validation_fraction, or give --val-data."
            if monitor == "val_loss"
            else None,
        )
    if monitor == "val_loss" and trainer.check_val_every_n_epoch != 1:
        raise ConfigError(
            f"scheduler '{scheduler}' watches val_loss after every epoch, but the trainer validates every"
            f" {trainer.check_val_every_n_epoch} epochs.",
            hint="Leave out the callback that changes check_val_every_n_epoch.",
        )
