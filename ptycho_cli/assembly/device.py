"""The device that the ``execution`` settings ask for."""

from __future__ import annotations

import os

import torch

from ptycho_cli.config.schema import ExecutionSettings
from ptycho_cli.errors import ConfigError


def oversubscription(execution: ExecutionSettings) -> list[str]:
    """Warnings about more workers than cores, which slow each other down."""
    cores = os.cpu_count() or 1
    if execution.num_workers <= cores:
        return []
    return [f"execution.num_workers is {execution.num_workers}, but there are {cores} cores: the processes share them."]


def refuse_too_many_devices(execution: ExecutionSettings) -> None:
    """Refuse more processes than cores on a CPU: each more would only take time and memory.

    Two are always allowed, to try out a training on several devices.

    Raises:
        ConfigError: If there are too many, or as for ``torch_device``.
    """
    cores = os.cpu_count() or 1
    if torch_device(execution).type == "cpu" and execution.devices > max(2, cores):
        raise ConfigError(
            f"execution.devices is {execution.devices}, but this machine has {cores} CPU cores,"
            " and each device of a CPU is a process that needs a core.",
            hint=f"Set execution.devices to at most {max(2, cores)}; training.accumulate_grad_batches collects as many"
            " groups for an optimizer step.",
        )


def torch_device(execution: ExecutionSettings, local_rank: int = 0) -> torch.device:
    """The device for work outside a Lightning trainer.

    Args:
        execution: The settings.
        local_rank: Number of this process on its node, where there is one for each device.

    Raises:
        ConfigError: If torch does not find the accelerator that is named, or fewer devices than are asked for.
    """
    available = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = execution.accelerator
    if wanted == "auto":
        wanted = next(name for name in ("gpu", "mps", "cpu") if available[name])
    if not available[wanted]:
        raise ConfigError(
            f"execution.accelerator is {wanted}, but torch finds no such device here.",
            hint="Set execution.accelerator to cpu, or install a build of torch for this device.",
        )
    found = {"gpu": torch.cuda.device_count(), "mps": 1}.get(wanted, execution.devices)
    if execution.devices > found:
        raise ConfigError(
            f"execution.devices is {execution.devices}, but torch finds {found} here of the kind {wanted}.",
            hint=f"Set execution.devices to {found}, or execution.accelerator to cpu.",
        )
    if wanted == "gpu":
        return torch.device("cuda", local_rank) if local_rank else torch.device("cuda")
    return torch.device(wanted)
