"""Training at once equals training, stopping anywhere and resuming, bit for bit."""

from __future__ import annotations

import os
import signal
import warnings
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span
from ptycho_cli.training import checkpoint as checkpoint_module
from ptycho_cli.training.checkpoint import LAST, SCHEDULE_KEY, Checkpoints, EarlyStop
from ptycho_cli.training.stop_request import StoppedError, StopRequest

EPOCHS = 3


BUILT_INS = load_plugins(environment={"PTYCHO_NO_PLUGINS": "1"})


def multi_stage(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    """With accumulation 1: 8 steps with the amplitude loss, then 6 between the two losses."""
    entry = BUILT_INS.find(SchedulerEntry, "MultiStage").entry
    return entry.build(optimizer, span, entry.options())


def decaying(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    return Schedule(LambdaLR(optimizer, lambda step: 0.9**step), loss_weight=lambda step: step / span.total_steps)


def plateau(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    scheduler = ReduceLROnPlateau(optimizer, factor=0.5, patience=0, threshold=1e9, threshold_mode="abs")
    return Schedule(scheduler, interval="epoch", monitor="val_loss")


class StopAfter(Callback):
    """Requests a stop after a number of batches, like the user's Ctrl-C."""

    def __init__(self, batches: int, stop: StopRequest) -> None:
        self.left, self.stop = batches, stop

    def on_train_batch_start(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            self.stop.request()


def checkpoints(folder: Path, stop: StopRequest | None = None) -> Checkpoints:
    return Checkpoints(folder, top_k=1, monitor="val_loss", mode="min", stop=stop or StopRequest())


@pytest.mark.parametrize("schedule", [decaying, plateau, multi_stage])
@pytest.mark.parametrize("accumulate", [1, 4])
@pytest.mark.parametrize("stop_at", [1, 4, 7, 8, 11, 17])
def test_a_run_stopped_anywhere_and_resumed_equals_one_at_once(
    fit: Any, tmp_path: Path, schedule: Any, accumulate: int, stop_at: int
) -> None:
    """7 batches an epoch: stop inside an epoch, inside a window, at the end of an epoch."""
    options = {"accumulate": accumulate, "schedule": schedule}
    at_once = fit(**options, metrics=tmp_path / "at_once.csv")(epochs=EPOCHS)

    stop, metrics = StopRequest(), tmp_path / "resumed.csv"
    first = fit(**options, metrics=metrics, callbacks=[StopAfter(stop_at, stop), checkpoints(tmp_path, stop)])
    with pytest.raises(StoppedError):
        first(epochs=EPOCHS)
    done = first.module.applied_steps
    assert done < at_once.module.applied_steps
    resumed = fit(**options, metrics=metrics, keep_steps=done, callbacks=[checkpoints(tmp_path)])
    resumed(epochs=EPOCHS, resume=tmp_path / LAST)

    assert first.rates + resumed.rates == at_once.rates
    for name, expected in at_once.weights.items():
        assert torch.equal(resumed.weights[name], expected), name
    assert resumed.module.losses == at_once.module.losses
    assert metrics.read_text() == (tmp_path / "at_once.csv").read_text()


def test_workers_that_fetch_ahead_do_not_change_where_a_resumed_run_continues(fit: Any, tmp_path: Path) -> None:
    """Stop in the first of an epoch's two windows, while the worker is some batches ahead."""
    options = {"accumulate": 4, "schedule": multi_stage}
    at_once, stop = fit(**options)(epochs=2), StopRequest()
    first = fit(**options, num_workers=1, callbacks=[StopAfter(9, stop), checkpoints(tmp_path, stop)])
    with pytest.raises(StoppedError):
        first(epochs=2)
    assert first.module.applied_steps == 3
    resumed = fit(**options, num_workers=1)(epochs=2, resume=tmp_path / LAST)
    for run in (first, resumed):
        run.loader._loader._iterator._shutdown_workers()  # else a later test waits for them

    assert torch.equal(resumed.weights["canvas"], at_once.weights["canvas"])


def test_a_resumed_run_removes_the_rows_after_its_checkpoint(fit: Any, tmp_path: Path) -> None:
    """The run is killed in the second epoch; its last checkpoint is from the end of the first."""
    at_once = fit(metrics=tmp_path / "at_once.csv")(epochs=2)
    metrics = tmp_path / "metrics.csv"
    with pytest.raises(MemoryError):
        fit(metrics=metrics, callbacks=[KilledAfter(10), checkpoints(tmp_path)])(epochs=2)
    assert len(metrics.read_text().splitlines()) > 1 + 7
    metrics.write_text(metrics.read_text() + "11,1,0.0")  # a row that was cut short

    resumed = fit(metrics=metrics, keep_steps=7)(epochs=2, resume=tmp_path / LAST)

    assert metrics.read_text() == (tmp_path / "at_once.csv").read_text()
    assert torch.equal(resumed.weights["canvas"], at_once.weights["canvas"])


class KilledAfter(Callback):
    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_train_batch_end(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            raise MemoryError


@pytest.mark.parametrize("kill_at", [3, 9, 17])
def test_a_killed_run_resumes_from_its_last_checkpoint_inside_an_epoch(
    fit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kill_at: int
) -> None:
    """SIGKILL in a separate process, in the middle of a window; windows are 4 and 3 batches."""
    monkeypatch.setattr(checkpoint_module, "SAVE_EVERY_S", 0.0)  # save after every window
    options: dict[str, Any] = {"accumulate": 4, "schedule": multi_stage}
    at_once = fit(**options, metrics=tmp_path / "at_once.csv")(epochs=EPOCHS)
    metrics = tmp_path / "metrics.csv"

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # about forks in a process with threads, harmless here
        child = os.fork()
    if child == 0:
        fit(**options, metrics=metrics, callbacks=[Killed(kill_at), checkpoints(tmp_path)])(epochs=EPOCHS)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL

    # the checkpoint after the last finished window; none before the end of the first
    saved = tmp_path / LAST if kill_at > 4 else None
    done = 0 if saved is None else int(torch.load(saved, weights_only=True)["ptycho"]["applied_steps"])
    assert done == {3: 0, 9: 2, 17: 4}[kill_at]
    resumed = fit(**options, metrics=metrics, keep_steps=done)(epochs=EPOCHS, resume=saved)

    assert resumed.rates == at_once.rates[done:]
    assert all(torch.equal(resumed.weights[name], expected) for name, expected in at_once.weights.items())
    assert metrics.read_text() == (tmp_path / "at_once.csv").read_text()


class Killed(Callback):
    def __init__(self, batches: int) -> None:
        self.left = batches

    def on_train_batch_end(self, *_: Any) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)


def test_more_epochs_continue_the_run(fit: Any, tmp_path: Path) -> None:
    """With a schedule that does not depend on the length, 1 + 2 epochs equal 3 epochs."""
    at_once = fit(schedule=plateau)(epochs=3)

    fit(schedule=plateau, callbacks=[checkpoints(tmp_path)])(epochs=1)
    longer = fit(schedule=plateau)(epochs=3, resume=tmp_path / LAST)

    assert torch.equal(longer.weights["canvas"], at_once.weights["canvas"])


def test_a_restarted_schedule_follows_its_closed_form_from_the_step_that_was_reached(fit: Any, tmp_path: Path) -> None:
    """New base rates and a new schedule take effect, though Lightning restores the old ones."""
    fit(schedule=decaying, callbacks=[checkpoints(tmp_path)])(epochs=1)

    def other(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
        return Schedule(LambdaLR(optimizer, lambda step: 1 - step / span.total_steps))

    restarted = fit(schedule=other, restart_schedule=True)(epochs=2, resume=tmp_path / LAST)

    assert restarted.rates == pytest.approx([1e-2 * (1 - step / 14) for step in range(7, 14)])


def test_checkpoints_load_without_executing_anything(fit: Any, tmp_path: Path) -> None:
    fit(callbacks=[EarlyStop(monitor="val_loss", mode="min", patience=5, stop=StopRequest()), checkpoints(tmp_path)])(
        epochs=1
    )

    saved = torch.load(tmp_path / LAST, weights_only=True)

    assert saved["ptycho"]["applied_steps"] == 7


def test_the_best_epochs_are_kept_and_the_last_one_beside_them(fit: Any, tmp_path: Path) -> None:
    class Scripted(Callback):
        scores = (3.0, 1.0, 2.0, 5.0)

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            pl_module.losses["val_loss"] = self.scores[trainer.current_epoch]

    saving = Checkpoints(tmp_path, top_k=2, monitor="val_loss", mode="min", stop=StopRequest())
    fit(callbacks=[Scripted(), saving])(epochs=4)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["epoch-0001.ckpt", "epoch-0002.ckpt", LAST]
    assert saving.best[0] == (1.0, "epoch-0001.ckpt")
    assert torch.load(tmp_path / LAST, weights_only=True)["ptycho"]["applied_steps"] == 28


@pytest.mark.parametrize(("noise", "kept"), [(0.1, None), (0.001, "epoch-0000")])
def test_the_last_epoch_is_kept_unless_frames_tell_it_from_the_best(
    noise: float, kept: str | None, fit: Any, tmp_path: Path
) -> None:
    """Also by a resumed run with nothing left to train."""

    class Scripted(Callback):
        means = (1.0, 1.02, 1.01)  # of frames that lie two noises apart

        def on_validation_end(self, trainer: Any, pl_module: Any) -> None:
            mean, sign = self.means[trainer.current_epoch], (-1) ** trainer.current_epoch
            pl_module.frame_losses = [torch.tensor([mean - sign * noise]), torch.tensor([mean + sign * noise])]
            pl_module.losses["val_loss"] = mean

    def saving() -> Checkpoints:
        lengths = {"epochs": 2, "steps_per_epoch": 7, "total_steps": 14}
        schedule = {"settings": {}, "distribution": "", "version": "", "class": "", **lengths}
        extra = {SCHEDULE_KEY: schedule}
        return Checkpoints(tmp_path, top_k=1, monitor="val_loss", mode="min", stop=StopRequest(), extra=extra)

    found, again = saving(), saving()
    fit(callbacks=[Scripted(), found])(epochs=2)
    fit(callbacks=[Scripted(), again])(epochs=2, resume=tmp_path / LAST)

    for one in (found, again):
        weights = one.best_weights()
        assert (None if weights is None else weights[0]) == kept


def test_early_stopping_uses_the_patience_of_the_settings_also_when_resumed(fit: Any, tmp_path: Path) -> None:
    def stopping(patience: int) -> list[Callback]:
        return [
            EarlyStop(monitor="worse", mode="min", patience=patience, stop=StopRequest()),
            Worsening(),
            checkpoints(tmp_path),
        ]

    class Worsening(Callback):
        def on_validation_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            self.log("worse", float(trainer.current_epoch), logger=False)

    stopped = fit(callbacks=stopping(2))(epochs=9)
    again = fit(callbacks=stopping(2))(epochs=9, resume=tmp_path / LAST)
    further = fit(callbacks=stopping(4))(epochs=9, resume=tmp_path / LAST)

    assert stopped.module.applied_steps == 3 * 7
    assert again.rates == []
    assert further.module.applied_steps == 5 * 7
