"""The file of a run's weights: tensors and their names, and no code."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn

from ptycho_cli.assembly.auto_values import object_update
from ptycho_cli.assembly.build import build_network
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.config.schema import Config
from ptycho_cli.errors import CheckpointError
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry
from ptycho_cli.whole_file import replacing

FORMAT = "ptycho-cli weights 2"
_ABOUT = "ptycho_cli"
_REQUIRED = {"probe_pairs", "photons", "intensities", "background"}
_RESTORE_HINT = "Restore the file from a copy, or train again."


def save_weights(objective: nn.Module, path: Path, *, made_by: str) -> None:
    """Write network, probe and what was found of the training scans; the file appears whole or not at all.

    Args:
        objective: The trained objective.
        path: The file.
        made_by: Distribution and version that offer the network.
    """
    tensors = {name: value.detach().cpu().contiguous() for name, value in objective.state_dict().items()}
    about = {"format": FORMAT, "made_by": made_by, "sha256": _digest(tensors)}
    # one entry only: the library writes several in a random order, and equal runs should have equal files
    content = save(tensors, metadata={_ABOUT: json.dumps(about, sort_keys=True)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _sort_key(name: str) -> tuple[int, str]:
    """Key that sorts ``positions_2`` before ``positions_10``."""
    return len(name), name


def load_weights(path: Path, config: Config, entry: NetworkEntry) -> Objective:
    """Rebuild the objective that ``save_weights`` wrote.

    Args:
        path: The file.
        config: Settings of the run, with the ``model.options`` to build the network with.
        entry: The network that ``model.name`` names.

    Raises:
        CheckpointError: If the file is missing or damaged, or holds weights of another network.
    """
    tensors, made_by = _read_tensors(path)
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
            hint=f"The network was made by {made_by}: install that version, or restore the file from a copy.",
        ) from None
    return objective


def _read_tensors(path: Path) -> tuple[dict[str, Tensor], str | None]:
    """Tensors of the file by name, and the distribution and version that offered the network."""
    try:
        with safe_open(path, framework="pt") as file:
            about = _about(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file, expected the weights of a finished run.",
            hint="Finish the run first, with ptycho train --resume.",
        ) from None
    except (SafetensorError, OSError) as problem:
        raise CheckpointError(f"{path}: damaged, or no weights ({problem}).", hint=_RESTORE_HINT) from None
    if (kind := about.get("format")) != FORMAT or not tensors.keys() >= _REQUIRED:
        raise CheckpointError(f"{path}: of the kind {kind!r}, expected {FORMAT!r}.", hint=_RESTORE_HINT)
    if about.get("sha256") != _digest(tensors):
        raise CheckpointError(f"{path}: damaged, its values do not have the checksum in it.", hint=_RESTORE_HINT)
    return tensors, about.get("made_by")


def _about(metadata: dict[str, str] | None) -> dict[str, str]:
    """What the file says of itself; empty if another program wrote it."""
    try:
        about = json.loads((metadata or {}).get(_ABOUT, "{}"))
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}
