"""What a checkpoint may hold: plain values and tensors, so that reading it executes no code."""

from __future__ import annotations

import io
from collections import OrderedDict
from collections.abc import Iterable
from operator import is_
from typing import Any

import numpy as np
import torch

_PLAIN = (bool, int, float, complex, str, bytes, type(None))

Keys = tuple[Any, ...]
"""Keys and indices that lead to a part of a state."""


class UnsavableStateError(Exception):
    """A part of a state that a checkpoint could not give back.

    Attributes:
        keys: Where it is.
        kind: Name of its type.
    """

    def __init__(self, keys: Keys, kind: str) -> None:
        super().__init__(f"{place(keys)}, a {kind}")
        self.keys, self.kind = keys, kind


def place(keys: Iterable[Any]) -> str:
    """Keys as Python writes them, such as ``['base_lrs'][0]``."""
    return "".join(f"[{key!r}]" for key in keys)


def plain_state(state: Any, keys: Keys = ()) -> Any:
    """The state with numbers of NumPy as Python's own; the same object where nothing changes.

    Args:
        state: Nested dicts, lists and tuples of values.
        keys: Where it is, for the error.

    Raises:
        UnsavableStateError: If a part is neither a plain value nor a tensor, nor anything else that
            ``torch.load(weights_only=True)`` reads.
    """
    if type(state) in _PLAIN or isinstance(state, torch.Tensor):
        return state
    if isinstance(state, np.generic) and type(state.item()) in _PLAIN:
        return state.item()
    if type(state) in (dict, OrderedDict):
        parts = {plain_state(key, keys): plain_state(value, (*keys, key)) for key, value in state.items()}
        unchanged = all(map(is_, state, parts)) and all(map(is_, state.values(), parts.values()))
        return state if unchanged else type(state)(parts)
    if type(state) in (list, tuple):
        items = [plain_state(value, (*keys, index)) for index, value in enumerate(state)]
        return state if all(map(is_, state, items)) else type(state)(items)
    if not _can_be_loaded(state):
        raise UnsavableStateError(keys, type(state).__name__)
    return state


def written(state: Any) -> bytes:
    """The bytes of a checkpoint, after reading them once and comparing.

    Args:
        state: As ``plain_state`` returns it.

    Raises:
        RuntimeError: If they do not give the state back.
    """
    buffer = io.BytesIO()
    torch.save(state, buffer)
    buffer.seek(0)
    if not equal_states(torch.load(buffer, map_location="cpu", weights_only=True), state):
        raise RuntimeError("a checkpoint that was written does not give back its values")
    return buffer.getvalue()


def equal_states(one: Any, other: Any) -> bool:
    """True if two states have the same values, bit for bit; NaN equals NaN, and the device of tensors is ignored."""
    if isinstance(one, torch.Tensor) or isinstance(other, torch.Tensor):
        return isinstance(one, torch.Tensor) and isinstance(other, torch.Tensor) and _equal_tensors(one, other)
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return list(one) == list(other) and all(map(equal_states, one.values(), other.values()))
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(equal_states, one, other))
    return bool(one == other or (one != one and other != other))


def _equal_tensors(one: torch.Tensor, other: torch.Tensor) -> bool:
    if one.dtype != other.dtype or one.shape != other.shape:
        return False
    bits = [tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8) for tensor in (one, other)]
    return torch.equal(*bits)


def _can_be_loaded(value: Any) -> bool:
    """True for what ``torch.load(weights_only=True)`` reads besides the types above, such as ``torch.Size``."""
    buffer = io.BytesIO()
    try:
        torch.save(value, buffer)
        torch.load(io.BytesIO(buffer.getvalue()), weights_only=True)
    except Exception:
        return False
    return True
