"""Check before the first step that the objects which train are those that the settings request."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.callbacks import GradientAccumulationScheduler

from ptycho_cli.config.provenance import Resolved
from ptycho_cli.config.schema import Config
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.errors import ConfigError, PluginError, TrainingError
from ptycho_cli.extend.lengths import lengths_in_steps
from ptycho_cli.extend.load import PluginRecord
from ptycho_cli.extend.specs import Span
from ptycho_cli.training.accumulation import Windows
from ptycho_cli.training.plain_state import UnsavableStateError, plain_state
from ptycho_cli.training.plugin_errors import PLAIN_STATES, callback_title, unsavable
from ptycho_cli.training.training_events import Events, TrainingLength
from ptycho_cli.training.training_module import TrainingModule

_ACCELERATORS = {"cuda": "gpu"}
_AUTO = "auto"


class DryRunDone(Exception):  # noqa: N818
    """Raised before the first step of a dry run, to leave Lightning's loops; not an error."""


class SetupCheck(Callback):
    """Report the effective values before the first step, and stop if they differ from the request without a reason.

    Args:
        resolved: The settings.
        span: The span that the schedule was built with.
        events: Receives the effective values and the start.
        reasons: Reasons, by key, for effective values that differ from the request.
        store: Called with requested and effective values.
        plugins: All installed plugins; an error names the one whose state cannot be saved.
        built_scheduler: Returns the name of the scheduler entry that was built.
        frames_per_step: Frames of an optimizer step, on average.
        dry_run: Stop before the first step.
    """

    def __init__(
        self,
        resolved: Resolved,
        span: Span,
        *,
        events: Events,
        reasons: Mapping[str, str],
        store: Callable[[dict[str, Any], dict[str, Any]], None],
        plugins: Sequence[PluginRecord],
        built_scheduler: Callable[[], str],
        frames_per_step: float,
        dry_run: bool,
    ) -> None:
        self._config, self._span, self._events, self._reasons = resolved.config, span, events, dict(reasons)
        self._store, self._frames_per_step, self._dry_run = store, frames_per_step, dry_run
        self._plugins, self._built_scheduler = plugins, built_scheduler

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Read the effective values, compare, store and report them."""
        module, scheduler = cast(TrainingModule, pl_module), self._config.scheduler
        _check_monitor(module, trainer, scheduler.name)
        _refuse_changing_accumulation(trainer)
        _check_states_are_plain(trainer, module, self._plugins)
        requested = requested_values(self._config, module.windows)
        built = self._built_scheduler()  # without its distribution, which the setting may name too
        name = scheduler.name if scheduler.name.rpartition(":")[2] == built else built
        effective = effective_values(trainer, module, name, scheduler.options, self._span)
        reasons = {**_automatic_reasons(requested, effective), **self._reasons}
        if differences := _unexplained_differences(requested, effective, reasons):
            raise _setup_error("; ".join(differences))
        if trainer.world_size > 1 and trainer.strategy.broadcast(effective) != effective:
            raise _setup_error(f"rank {trainer.global_rank} has other values than rank 0")
        self._store(requested, effective)
        self._events.effective(requested, effective, reasons)
        if self._dry_run:
            raise DryRunDone
        steps = module.windows.steps
        self._events.started(
            TrainingLength(int(trainer.max_epochs or 0), steps, module.applied_steps, self._frames_per_step)
        )


def requested_values(config: Config, windows: Windows) -> dict[str, Any]:
    """Values that the settings request, by the keys of :func:`effective_values`; None if they leave one open."""
    training, execution = config.training, config.execution
    span, world_size = windows.span(training.epochs), execution.devices * execution.num_nodes
    rates = {"network": config.optimizer.learning_rate}
    if config.physics.refine_probe and config.optimizer.probe_learning_rate > 0:
        rates["probe"] = config.optimizer.probe_learning_rate
    return {
        "accelerator": execution.accelerator,
        "devices": execution.devices,
        "num_nodes": execution.num_nodes,
        "world_size": world_size,
        "precision": execution.precision,
        "num_workers": execution.num_workers,
        "batch_size": training.batch_size,
        "accumulate_grad_batches": training.accumulate_grad_batches,
        "effective_batch": training.batch_size * training.accumulate_grad_batches * world_size,
        "gradient_clip_val": training.gradient_clip_val,
        "optimizer": "AdamW" if config.optimizer.weight_decay > 0 else "Adam",
        "learning_rates": rates,
        "scheduler": config.scheduler.name,
        "scheduler_interval": None,
        "scheduler_lengths": None,
        "monitor": config.checkpoint.monitor,
        "steps_per_epoch": span.steps_per_epoch,
        "total_steps": span.total_steps,
    }


def effective_values(
    trainer: Trainer, module: TrainingModule, scheduler: str, options: Any, span: Span
) -> dict[str, Any]:
    """Values read from the trainer, the optimizer, the loader and the schedule that were built.

    Args:
        trainer: Set up, before its first step.
        module: The module that it trains.
        scheduler: Name of the scheduler whose factory built the schedule.
        options: The options that the schedule was built with.
        span: The span that the schedule was built with.
    """
    optimizer, loader = trainer.optimizers[0], cast(GroupLoader, trainer.train_dataloader)
    registered = [config.scheduler for config in trainer.lr_scheduler_configs]
    if module.schedule is None or (registered and registered != [module.schedule.scheduler]):  # none: resumed averaging
        raise _setup_error("the trainer steps another scheduler than the one that was built")
    device = trainer.strategy.root_device.type
    steps_per_epoch = -(-int(trainer.num_training_batches) // trainer.accumulate_grad_batches)
    return {
        "accelerator": _ACCELERATORS.get(device, device),
        "devices": trainer.num_devices,
        "num_nodes": trainer.num_nodes,
        "world_size": trainer.world_size,
        "precision": trainer.precision,
        "num_workers": loader.num_workers,
        "batch_size": loader.batch_size,
        "accumulate_grad_batches": trainer.accumulate_grad_batches,
        "effective_batch": loader.batch_size * trainer.accumulate_grad_batches * trainer.world_size,
        "gradient_clip_val": trainer.gradient_clip_val,
        "optimizer": type(optimizer).__name__,
        "learning_rates": module.base_rates,
        "scheduler": scheduler,
        "scheduler_interval": module.schedule.interval,
        "scheduler_lengths": lengths_in_steps(options, span),
        "monitor": getattr(trainer.checkpoint_callback, "monitor", None),
        "steps_per_epoch": steps_per_epoch,
        "total_steps": steps_per_epoch * int(trainer.max_epochs or 0),
    }


def _setup_error(found: str) -> TrainingError:
    return TrainingError(
        f"the training was not set up as requested: {found}.",
        hint="If a callback causes this, leave it out; otherwise it is a bug in this program, please report it.",
    )


def _unexplained_differences(
    requested: Mapping[str, Any], effective: Mapping[str, Any], reasons: Mapping[str, str]
) -> list[str]:
    return [
        f"{key}: {wanted!r} was requested, {effective[key]!r} was built"
        for key, wanted in requested.items()
        if key not in reasons and not _agrees(wanted, effective[key])
    ]


def _agrees(wanted: Any, built: Any) -> bool:
    if wanted is None and not isinstance(built, float):
        return True
    if isinstance(wanted, dict):
        return all(_agrees(value, built.get(key)) for key, value in wanted.items() if key in built)
    if isinstance(wanted, float) and isinstance(built, (int, float)):
        return abs(wanted - built) <= 1e-12 * abs(wanted)
    return bool(wanted == built)


def _automatic_reasons(requested: Mapping[str, Any], effective: Mapping[str, Any]) -> dict[str, str]:
    """Reasons for values that the user left to the program."""
    if requested["accelerator"] == _AUTO:
        return {"accelerator": f"auto resolved to {effective['accelerator']}"}
    return {}


def _refuse_changing_accumulation(trainer: Trainer) -> None:
    """The span, and so the schedule, is computed for one number of batches; refuse a change before it happens."""
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    for callback in callbacks:
        if isinstance(callback, GradientAccumulationScheduler):
            raise PluginError(
                f"callback {type(callback).__name__} changes accumulate_grad_batches during the run, but the"
                " length of the schedule depends on it.",
                hint="Leave it out; set accumulate_grad_batches to one value.",
            )


def _check_monitor(module: TrainingModule, trainer: Trainer, scheduler: str) -> None:
    """Refuse a monitored value that is not computed; Lightning would miss it only after the first epoch."""
    monitor = None if module.schedule is None else module.schedule.monitor
    known = ("train_loss", "val_loss") if trainer.enable_validation else ("train_loss",)
    if monitor is not None and monitor not in known:
        hint = "Hold out some frames with data.validation_fraction, or set data.validation_paths."
        raise ConfigError(
            f"scheduler '{scheduler}' monitors {monitor!r}, but this training computes {' and '.join(known)}.",
            hint=hint if monitor == "val_loss" else None,
        )
    if monitor == "val_loss" and trainer.check_val_every_n_epoch != 1:
        raise ConfigError(
            f"scheduler '{scheduler}' monitors val_loss after every epoch, but the trainer validates every"
            f" {trainer.check_val_every_n_epoch} epochs.",
            hint="Leave out the callback that changes check_val_every_n_epoch.",
        )


def _check_states_are_plain(trainer: Trainer, module: TrainingModule, plugins: Sequence[PluginRecord]) -> None:
    """Refuse a scheduler or callback whose saved state could not be loaded without executing code."""
    assert module.schedule is not None
    states = {module.scheduler_name: module.schedule.scheduler.state_dict()}
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    states |= {callback_title(callback, plugins): callback.state_dict() for callback in callbacks}
    for owner, state in states.items():
        try:
            plain_state(state)
        except UnsavableStateError as found:
            raise PluginError(unsavable(owner, found.keys, found.kind), hint=PLAIN_STATES) from None
