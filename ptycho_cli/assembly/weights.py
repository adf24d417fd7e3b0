"""The file of a run's weights: tensors and their names, and no code."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ptycho_cli.assembly.auto_values import object_update
from ptycho_cli.assembly.build import build_network
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.tensor_file import RESTORE_HINT, read_tensors, write_tensors
from ptycho_cli.config.schema import Config
from ptycho_cli.errors import CheckpointError
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry

FORMAT = "ptycho-cli weights 2"
_REQUIRED = {"probe_pairs", "photons", "intensities", "background"}


def save_weights(objective: nn.Module, path: Path, *, made_by: str) -> None:
    """Write network, probe and what was found of the training scans; the file appears whole or not at all.

    Args:
        objective: The trained objective.
        path: The file.
        made_by: Distribution and version that offer the network.
    """
    write_tensors(path, objective.state_dict(), {"format": FORMAT, "made_by": made_by})


def _sort_key(name: str) -> tuple[int, str]:
    """Key that sorts ``positions_2`` before ``positions_10``."""
    return len(name), name


def _unusable(tensors: Mapping[str, Tensor]) -> str | None:
    """The reason why no reconstruction can be made with these weights; None if one can."""
    probe, photons = tensors["probe_pairs"], tensors["photons"]
    if not probe.is_floating_point() or probe.ndim != 4 or probe.shape[-1] != 2 or probe.shape[1] != probe.shape[2]:
        return f"'probe_pairs' is {tuple(probe.shape)} {probe.dtype}, expected (mode, y, x, 2) of real numbers"
    # of several scans, intensities are NaN after the last frame of a shorter one
    numbers = {**tensors, "intensities": tensors["intensities"].nan_to_num(nan=1.0, posinf=math.inf, neginf=-math.inf)}
    bad = [name for name, value in numbers.items() if not bool(torch.isfinite(value).all())]
    if bad:
        return f"{bad[0]!r} has values that are not finite"
    if not bool(probe.any()) or photons.ndim != 1 or not bool((photons > 0).all()):
        return "the probe or its number of photons is zero"
    return None


def load_weights(path: Path, config: Config, entry: NetworkEntry) -> Objective:
    """Rebuild the objective that ``save_weights`` wrote.

    Args:
        path: The file.
        config: Settings of the run, with the ``model.options`` to build the network with.
        entry: The network that ``model.name`` names.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds weights of another network.
    """
    tensors, about = read_tensors(
        path, FORMAT, required=_REQUIRED, expected="the weights of a finished run",
        missing_hint="Finish the run first, with ptycho train --resume.",
    )  # fmt: skip
    if (reason := _unusable(tensors)) is not None:
        raise CheckpointError(f"{path}: {reason}.", hint=RESTORE_HINT)
    probe = torch.view_as_complex(tensors["probe_pairs"])
    # the network has stored what depends on alpha
    context = NetworkContext(probe.shape[-1], object_update(config.physics, alpha=1.0))
    positions = [tensors[name] for name in sorted(tensors, key=_sort_key) if name.startswith("positions_")]
    objective = Objective(
        build_network(entry, config.model.options, context), probe, tensors["photons"],
        positions=positions, intensities=tensors["intensities"], background=tensors["background"],
    )  # fmt: skip
    try:
        objective.to(tensors["photons"].dtype).load_state_dict(tensors)
    except RuntimeError as problem:
        reason = str(problem).partition("\n")[2].partition("\n")[0].strip().rstrip(".") or str(problem)
        raise CheckpointError(
            f"{path}: does not fit the network {entry.name} with the options of its run.json ({reason}).",
            hint=f"The network was made by {about.get('made_by')}: install that version, or restore the file.",
        ) from None
    return objective
