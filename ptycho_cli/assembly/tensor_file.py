"""Files of tensors with plain values about them and a checksum, in the safetensors format: no code is in them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Set
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ptycho_cli.errors import CheckpointError
from ptycho_cli.whole_file import replacing

RESTORE_HINT = "Restore the file from a copy, or train again."
_ABOUT = "ptycho_cli"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], about: Mapping[str, Any]) -> str:
    """Write tensors with plain values about them and a checksum, which is returned; the file appears whole or not."""
    tensors = {name: value.detach().cpu().contiguous() for name, value in tensors.items()}
    sha256 = digest(tensors)
    about = {**about, "sha256": sha256}
    # one entry only: the library writes several in a random order, and equal runs should have equal files
    content = save(tensors, metadata={_ABOUT: json.dumps(about, sort_keys=True)})
    with replacing(path) as temporary:
        temporary.write_bytes(content)
    return sha256


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, types, shapes and values."""
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].contiguous()
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def read_tensors(
    path: Path,
    format: str,
    *,
    expected: str,
    missing_hint: str,
    hint: str = RESTORE_HINT,
    required: Set[str] = frozenset(),
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read a file of ``write_tensors``.

    Args:
        path: The file.
        format: What its ``format`` must be.
        expected: What should be there, for messages.
        missing_hint: The way out where there is no such file.
        hint: The way out where it is damaged or of another kind.
        required: Names of tensors that it must have.

    Returns:
        The tensors by name, and the values about them.

    Raises:
        CheckpointError: If the file is missing, damaged or of another kind.
    """
    try:
        with safe_open(path, framework="pt") as file:
            about = _about(file.metadata())
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118  not a dict
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file, expected {expected}.",
            hint=missing_hint,
        ) from None
    except (SafetensorError, OSError) as problem:
        raise CheckpointError(f"{path}: damaged, or no weights ({problem}).", hint=hint) from None
    if (kind := about.get("format")) != format or not tensors.keys() >= required:
        raise CheckpointError(f"{path}: of the kind {kind!r}, expected {format!r}.", hint=hint)
    if about.get("sha256") != digest(tensors):
        raise CheckpointError(f"{path}: damaged, its values do not have the checksum in it.", hint=hint)
    return tensors, about


def _about(metadata: dict[str, str] | None) -> dict[str, Any]:
    """What the file says of itself; empty if another program wrote it."""
    try:
        about = json.loads((metadata or {}).get(_ABOUT, "{}"))
    except ValueError:
        return {}
    return about if isinstance(about, dict) else {}
