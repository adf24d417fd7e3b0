"""Ctrl-C: the first saves and ends the run, the second quits at once, and the previous handler is restored."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback

from ptycho_cli.errors import InterruptedRunError
from ptycho_cli.training.training_events import NoEvents


class PressesCtrlC(NoEvents):
    """Send this process a signal at an optimizer step."""

    def __init__(self, at_step: int, times: int = 1, sent: int = signal.SIGINT) -> None:
        self.at_step, self.times, self.sent, self.announced = at_step, times, sent, 0

    def step(self, step: int, epoch: int, learning_rate: float, loss: float) -> None:
        if step == self.at_step:
            for _ in range(self.times):
                os.kill(os.getpid(), self.sent)

    def stopping(self) -> None:
        self.announced += 1


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_saves_after_the_window_and_names_the_command_to_resume(
    small_run: Any, tmp_path: Path, sent: signal.Signals
) -> None:
    """So does SIGTERM, with which a cluster ends a job."""
    at_once = small_run(tmp_path / "at_once", epochs=3)
    events, before = PressesCtrlC(at_step=10, sent=sent), signal.getsignal(sent)

    with pytest.raises(InterruptedRunError, match="stopped after optimizer step 10 of 21; saved in") as caught:
        small_run(tmp_path / "run", epochs=3, events=events)

    assert (caught.value.exit_code, events.announced) == (130, 1)
    assert caught.value.hint == f"Resume it with: ptycho train --resume {tmp_path / 'run'}"
    assert signal.getsignal(sent) is before
    resumed = small_run(resume=tmp_path / "run", epochs=3)
    for name, weights in at_once.assembled.objective.state_dict().items():
        assert torch.equal(resumed.assembled.objective.state_dict()[name], weights)


def test_a_second_ctrl_c_quits_at_once_and_saves_nothing_more(small_run: Any, tmp_path: Path) -> None:
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(InterruptedRunError, match="quit at once; step 7 is saved in") as caught:
        small_run(tmp_path / "run", epochs=3, events=PressesCtrlC(at_step=10, times=2))

    assert caught.value.exit_code == 130
    assert signal.getsignal(signal.SIGINT) is before
    saved = torch.load(tmp_path / "run" / "checkpoints" / "last.ckpt", weights_only=True)
    assert saved["ptycho"]["applied_steps"] == 7


def test_a_second_ctrl_c_before_the_first_checkpoint_saves_nothing(small_run: Any, tmp_path: Path) -> None:
    with pytest.raises(InterruptedRunError, match="before the first checkpoint; nothing is saved") as caught:
        small_run(tmp_path / "run", epochs=3, events=PressesCtrlC(at_step=3, times=2))

    assert caught.value.hint == f"Start it again with: ptycho train --resume {tmp_path / 'run'}"


def test_ctrl_c_in_the_last_step_lets_the_run_end_normally(small_run: Any, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", epochs=2, events=PressesCtrlC(at_step=14))

    assert run.applied_steps == 14
    assert (tmp_path / "run" / "weights.safetensors").exists()


class Asks(Callback):
    """Set ``Trainer.should_stop``, as Lightning's Timer and EarlyStopping do, in a hook of its choice."""

    def __init__(self, hook: str, at: int) -> None:
        self.calls, self.at = 0, at
        setattr(self, hook, self.ask)

    def ask(self, trainer: Any, *_: Any) -> None:
        self.calls += 1
        trainer.should_stop = trainer.should_stop or self.calls == self.at


@pytest.mark.parametrize(
    ("hook", "at", "steps"),
    [
        ("on_train_batch_end", 2, 1),  # seven batches make an epoch, three a window
        ("on_train_batch_start", 5, 2),
        ("on_before_optimizer_step", 5, 5),
        ("on_train_batch_end", 7, 3),
        ("on_validation_end", 1, 3),
        ("on_train_epoch_end", 2, 6),
        ("on_train_epoch_start", 2, 4),
    ],
)
def test_a_callback_that_asks_to_stop_ends_the_run_well_after_the_window(
    small_run: Any, tmp_path: Path, offering: Any, hook: str, at: int, steps: int
) -> None:
    """No optimizer step is lost: resumed without it, the run is that which was never stopped."""
    settings = {"epochs": 3, "accumulate_grad_batches": 3}
    at_once = small_run(tmp_path / "at_once", **settings)
    notes: list[str] = []
    events = NoEvents()
    events.note = notes.append  # type: ignore[method-assign]
    host = offering(callback=Asks(hook, at))

    run = small_run(tmp_path / "run", callbacks={"mine": {}}, host=host, events=events, **settings)

    assert run.applied_steps == steps
    assert notes == [f"Ended after optimizer step {steps} of 9: callback 'mine' (ptycho-test 1.0) asked for it."]
    assert run.record["ended_by"] == "callback 'mine' (ptycho-test 1.0) asked for it"
    assert (tmp_path / "run" / "weights.safetensors").exists()
    resumed = small_run(resume=tmp_path / "run", **{"callbacks.mine": False})
    assert resumed.record["ended_by"] is None
    for name, weights in at_once.assembled.objective.state_dict().items():
        assert torch.equal(resumed.assembled.objective.state_dict()[name], weights)
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "at_once" / "metrics.csv").read_text()
