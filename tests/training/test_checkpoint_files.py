"""Checkpoints as files: what cannot be read back is refused when it is written, and names in them are not paths."""

from __future__ import annotations

import datetime
import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from torch.optim.lr_scheduler import LambdaLR

from ptycho_cli.errors import CheckpointError, TrainingError
from ptycho_cli.extend.specs import Schedule, Span
from ptycho_cli.training.checkpoint import load_checkpoint
from ptycho_cli.training.plain_state import UnsavableStateError, equal_states, plain_state


class Cosine(LambdaLR):
    """A schedule that a scientist writes: its rates are numbers of NumPy."""

    def __init__(self, optimizer: torch.optim.Optimizer, steps: int) -> None:
        super().__init__(optimizer, lambda step: 0.5 + 0.5 * np.cos(np.pi * step / steps))
        self.history: dict[Any, Any] = {}

    def step(self, *arguments: Any) -> None:
        super().step(*arguments)
        if hasattr(self, "history"):
            self.history[np.int64(self.last_epoch)] = [np.float32(0.1)]


def numpy_cosine(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    return Schedule(Cosine(optimizer, span.total_steps))


def test_a_schedule_that_computes_with_numpy_resumes_bit_for_bit(small_run: Any, tmp_path: Path, offering: Any) -> None:
    host = offering(scheduler=numpy_cosine)
    at_once = small_run(tmp_path / "at_once", epochs=4, scheduler="Mine", host=host)
    small_run(tmp_path / "run", epochs=2, scheduler="Mine", host=host)
    assert type(load_checkpoint(tmp_path / "run/checkpoints/last.ckpt")["lr_schedulers"][0]["_last_lr"][0]) is float
    resumed = small_run(resume=tmp_path / "run", epochs=4, which="config", host=host)

    again = small_run(tmp_path / "again", epochs=4, scheduler="Mine", host=host)
    assert equal_states(again.assembled.objective.state_dict(), at_once.assembled.objective.state_dict())
    assert resumed.applied_steps == 28


class Remembers(Callback):
    """A callback whose state becomes one that cannot be saved after a while."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def on_train_epoch_end(self, *_: Any) -> None:
        self.seen.append(datetime.datetime(2026, 1, 1))


def test_a_state_that_becomes_unsavable_is_refused_at_the_first_save(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    with pytest.raises(
        TrainingError, match=r"callback Remembers: state_dict\(\)\['seen'\]\[0\], a datetime, cannot be saved"
    ) as caught:
        small_run(tmp_path / "run", epochs=2, callbacks={"mine": {}}, host=offering(callback=Remembers()))

    assert "numbers, text, lists, dicts and tensors" in str(caught.value.hint)
    assert not list((tmp_path / "run" / "checkpoints").iterdir())


def test_names_in_a_checkpoint_do_not_lead_to_other_files(small_run: Any, tmp_path: Path) -> None:
    """Otherwise an edited checkpoint could delete any file of the user."""
    small_run(tmp_path / "run", epochs=1)
    victims = [tmp_path / "victim.ckpt", tmp_path / "epoch-0009.ckpt", tmp_path / "run" / "checkpoints" / "notes.txt"]
    for victim in victims:
        victim.write_text("mine")
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    state = load_checkpoint(last)
    (key,) = [key for key in state["callbacks"] if key.startswith("Checkpoints")]
    names = ["../../victim.ckpt", "../../epoch-0009.ckpt", str(victims[0]), "notes.txt"]
    state["callbacks"][key]["best"] = [[99.0, name] for name in names]
    torch.save(state, last)

    small_run(resume=tmp_path / "run", epochs=3)

    assert all(victim.read_text() == "mine" for victim in victims)


def test_a_flipped_byte_is_noticed_or_changes_nothing(small_run: Any, tmp_path: Path) -> None:
    small_run(tmp_path / "run", epochs=1)
    path = tmp_path / "run" / "checkpoints" / "last.ckpt"
    content, state = path.read_bytes(), load_checkpoint(path)
    rng, noticed = np.random.default_rng(0), 0
    for place in rng.integers(0, len(content), 100):
        changed = bytearray(content)
        changed[place] ^= 1 << int(rng.integers(8))
        path.write_bytes(changed)
        try:
            assert equal_states(load_checkpoint(path), state), f"byte {place} of {len(content)}"
        except CheckpointError:
            noticed += 1
    assert noticed > 10


@pytest.mark.parametrize(
    ("state", "plain"),
    [
        ({"a": np.float64(0.5), "b": [np.int32(3), np.bool_(True)]}, {"a": 0.5, "b": [3, True]}),
        ((np.float32(0.5), {np.int64(2): None}), (0.5, {2: None})),
        (OrderedDict(x=np.str_("text")), OrderedDict(x="text")),
    ],
)
def test_numbers_of_numpy_become_python_s(state: Any, plain: Any) -> None:
    found = plain_state(state)
    assert equal_states(found, plain)
    buffer = io.BytesIO()
    torch.save(found, buffer)
    assert equal_states(torch.load(io.BytesIO(buffer.getvalue()), weights_only=True), plain)


@pytest.mark.parametrize("value", [Path("here"), np.arange(3), datetime.date(2026, 1, 1), np.datetime64("2026-01-01")])
def test_other_objects_are_named_with_their_place(value: Any) -> None:
    with pytest.raises(UnsavableStateError, match=rf"\['a'\]\[1\], a {type(value).__name__}"):
        plain_state({"a": [1, value]})
    state = {"a": [1, torch.Size([2])]}
    assert plain_state(state) is state
