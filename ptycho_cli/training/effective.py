"""The effective values: read back from the objects that train, and compared with what was asked for."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any, cast

import torch
from lightning.pytorch import Callback, Trainer

from ptycho_cli.config.schema import Config
from ptycho_cli.data.loader import GroupLoader
from ptycho_cli.errors import PluginError, TrainingError
from ptycho_cli.extend.attribution import plugin_of_module
from ptycho_cli.extend.lengths import lengths_in_steps
from ptycho_cli.extend.load import PluginRecord
from ptycho_cli.extend.specs import Span
from ptycho_cli.training.accumulation import Windows
from ptycho_cli.training.module import TrainingModule

_ACCELERATORS = {"cuda": "gpu"}
AUTO = "auto"


def requested_values(config: Config, windows: Windows) -> dict[str, Any]:
    """What the settings ask for, by the keys of :func:`effective_values`; None where they leave it open."""
    training, execution = config.training, config.execution
    span, world = windows.span(training.epochs), execution.devices * execution.num_nodes
    rates = {"network": config.optimizer.learning_rate}
    if config.physics.refine_probe and config.optimizer.probe_learning_rate > 0:
        rates["probe"] = config.optimizer.probe_learning_rate
    return {
        "accelerator": execution.accelerator,
        "devices": execution.devices,
        "num_nodes": execution.num_nodes,
        "world_size": world,
        "precision": execution.precision,
        "num_workers": execution.num_workers,
        "batch_size": training.batch_size,
        "accumulate_grad_batches": training.accumulate_grad_batches,
        "effective_batch": training.batch_size * training.accumulate_grad_batches * world,
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
    """What was built, read from the trainer, the optimizer, the loader and the schedule.

    Args:
        trainer: Set up, before its first step.
        module: The module that it trains.
        scheduler: Name of the scheduler whose factory built the schedule.
        options: The options that the schedule was built with.
        span: The span that the schedule was built with.
    """
    optimizer, loader = trainer.optimizers[0], cast(GroupLoader, trainer.train_dataloader)
    registered = trainer.lr_scheduler_configs[0]
    if module.schedule is None or registered.scheduler is not module.schedule.scheduler:
        raise set_up_otherwise("the trainer steps another scheduler than the one that was built")
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
        "scheduler_interval": registered.interval,
        "scheduler_lengths": lengths_in_steps(options, span),
        "monitor": _monitor(trainer),
        "steps_per_epoch": steps_per_epoch,
        "total_steps": steps_per_epoch * int(trainer.max_epochs or 0),
    }


def set_up_otherwise(found: str) -> TrainingError:
    """What to stop with before the first step; no setting explains it."""
    return TrainingError(
        f"the training was set up otherwise than asked for: {found}.",
        hint="If a callback does this, leave it out; else it is a fault of this program, please report it.",
    )


def unexplained(requested: Mapping[str, Any], effective: Mapping[str, Any], why: Mapping[str, str]) -> list[str]:
    """Keys whose effective value is neither the requested one nor explained."""
    return [
        f"{key}: {wanted!r} was requested, {effective[key]!r} was built"
        for key, wanted in requested.items()
        if key not in why and not _agrees(wanted, effective[key])
    ]


def reasons(requested: Mapping[str, Any], effective: Mapping[str, Any]) -> dict[str, str]:
    """Why values may differ that the user left to the program."""
    if requested["accelerator"] == AUTO:
        return {"accelerator": f"auto resolved to {effective['accelerator']}"}
    return {}


def check_states_are_plain(trainer: Trainer, scheduler: str, plugins: Sequence[PluginRecord]) -> None:
    """Refuse a scheduler or callback whose state could not be read back without executing code.

    Found now, before hours of training whose checkpoints nobody could load.
    """
    states = {scheduler: trainer.lr_scheduler_configs[0].scheduler.state_dict()}
    callbacks: list[Callback] = trainer.callbacks  # type: ignore[attr-defined]
    states |= {_title(callback, plugins): callback.state_dict() for callback in callbacks}
    for owner, state in states.items():
        try:
            written = io.BytesIO()
            torch.save(state, written)
            torch.load(io.BytesIO(written.getvalue()), weights_only=True)
        except Exception as error:
            found = _first_odd(state, "state_dict()") or "its state"
            raise PluginError(
                f"{owner}: {found} cannot be saved in a checkpoint, which is read without running code.",
                hint="A state may hold numbers, text, lists, dicts and tensors only.",
            ) from error


def _title(callback: Callback, plugins: Sequence[PluginRecord]) -> str:
    record = plugin_of_module(type(callback).__module__, plugins)
    origin = "" if record is None else f" ({record.distribution} {record.version})"
    return f"callback {type(callback).__name__}{origin}"


def _first_odd(state: Any, place: str) -> str | None:
    """The first part of a state that is neither a container nor plain: its place and type."""
    if isinstance(state, (dict, list, tuple)):
        parts = state.items() if isinstance(state, dict) else enumerate(state)
        return next((found for key, part in parts if (found := _first_odd(part, f"{place}[{key!r}]"))), None)
    plain = state is None or isinstance(state, (bool, int, float, complex, str, bytes, torch.Tensor))
    return None if plain else f"{place}, a {type(state).__name__},"


def _agrees(wanted: Any, built: Any) -> bool:
    if wanted is None and not isinstance(built, float):
        return True
    if isinstance(wanted, dict):
        return all(_agrees(value, built.get(key)) for key, value in wanted.items() if key in built)
    if isinstance(wanted, float) and isinstance(built, (int, float)):
        return abs(wanted - built) <= 1e-12 * abs(wanted)
    return bool(wanted == built)


def _monitor(trainer: Trainer) -> str | None:
    return getattr(trainer.checkpoint_callback, "monitor", None)
