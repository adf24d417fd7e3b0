"""What a checkpoint has that must be known before its training is set up again."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ptycho_cli.errors import CheckpointError
from ptycho_cli.training.checkpoint import REPAIR, load_checkpoint


def calibration_parts(path: Path) -> dict[str, Any]:
    """What ``assembly.build.build`` takes from a checkpoint, by the names of its arguments.

    Raises:
        CheckpointError: If the checkpoint is damaged.
    """
    checkpoint = load_checkpoint(path)
    state, optimizers = checkpoint["state_dict"], checkpoint["optimizer_states"]
    probe = state.get("objective.probe_pairs")
    if not isinstance(probe, torch.Tensor) or probe.ndim != 4:
        raise CheckpointError(f"{path}: damaged (no probe in it).", hint=REPAIR)
    groups = [group.get("name") for optimizer in optimizers for group in optimizer["param_groups"]]
    return {
        "checkpoint_modes": len(probe),
        "checkpoint_trains_probe": "probe" in groups,
        "positions": _refined_positions(state),
    }


def _refined_positions(state: Mapping[str, torch.Tensor]) -> list[torch.Tensor]:
    """Refined positions (y, x) in pixels of each training scan; empty if they were not refined."""
    found: list[torch.Tensor] = []
    while (name := f"objective.positions_{len(found)}") in state:
        found.append(state[name])
    return found


def network_state(path: Path) -> dict[str, torch.Tensor]:
    """State of the network in a checkpoint."""
    prefix = "objective.network."
    state = load_checkpoint(path)["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
