"""What a checkpoint has that must be known before its training is set up again."""

from __future__ import annotations

from pathlib import Path

import torch

from ptycho_cli.errors import CheckpointError
from ptycho_cli.training.checkpoint import REPAIR, load_checkpoint


def refined_positions(path: Path) -> list[torch.Tensor]:
    """Refined positions (y, x) in pixels of each training scan in a checkpoint; empty if they were not refined."""
    state = load_checkpoint(path)["state_dict"]
    found: list[torch.Tensor] = []
    while (name := f"objective.positions_{len(found)}") in state:
        found.append(state[name])
    return found


def probe_modes(path: Path) -> int:
    """Number of probe modes in a checkpoint, which may exceed that in the scan file."""
    probe = load_checkpoint(path)["state_dict"].get("objective.probe_pairs")
    if not isinstance(probe, torch.Tensor) or probe.ndim != 4:
        raise CheckpointError(f"{path}: damaged (no probe in it).", hint=REPAIR)
    return len(probe)


def trains_probe(path: Path) -> bool:
    """Whether the training of a checkpoint trains the probe with the network."""
    states = load_checkpoint(path)["optimizer_states"]
    return any(group.get("name") == "probe" for state in states for group in state["param_groups"])


def network_state(path: Path) -> dict[str, torch.Tensor]:
    """State of the network in a checkpoint."""
    prefix = "objective.network."
    state = load_checkpoint(path)["state_dict"]
    return {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
