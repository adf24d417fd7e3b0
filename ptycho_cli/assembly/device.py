"""The device that the ``execution`` settings ask for."""

from __future__ import annotations

import torch

from ptycho_cli.config.schema import ExecutionSettings
from ptycho_cli.errors import ConfigError


def torch_device(execution: ExecutionSettings) -> torch.device:
    """The device for work outside a Lightning trainer.

    Raises:
        ConfigError: If an accelerator is asked for by name and is not there.
    """
    there = {"gpu": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    wanted = execution.accelerator
    if wanted == "auto":
        wanted = next(name for name in ("gpu", "mps", "cpu") if there[name])
    if not there[wanted]:
        raise ConfigError(
            f"execution.accelerator is {wanted}, but torch finds no such device here.",
            hint="Use --accelerator cpu, or install a torch that knows the device.",
        )
    return torch.device("cuda" if wanted == "gpu" else wanted)
