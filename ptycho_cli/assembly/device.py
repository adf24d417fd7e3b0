"""The device that the ``execution`` settings ask for."""

from __future__ import annotations

import os

import torch

from ptycho_cli.config.schema import ExecutionSettings
from ptycho_cli.errors import ConfigError


def oversubscription(execution: ExecutionSettings) -> list[str]:
    """Warnings about more processes than cores, which slow each other down."""
    cores = os.cpu_count() or 1
    processes = {"execution.num_workers": execution.num_workers}
    if torch_device(execution).type == "cpu":
        processes["execution.devices"] = execution.devices
    return [
        f"{key} is {count}, but there are {cores} cores: the processes share them."
        for key, count in processes.items()
        if count > cores
    ]


def torch_device(execution: ExecutionSettings) -> torch.device:
    """The device for work outside a Lightning trainer.

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
    return torch.device("cuda" if wanted == "gpu" else wanted)
