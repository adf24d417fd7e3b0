"""Third-party callbacks and schedulers that fail during a run: the error names them, and the run can be resumed."""

from __future__ import annotations

import asyncio
import contextlib
import csv
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from ptycho_cli.errors import PluginError, TrainingError
from ptycho_cli.extend.specs import Schedule, Span

FROM = r"\(ptycho-test 1\.0\)"


def failing_in(hook: str, at: int = 1) -> Callback:
    """A callback that raises at its ``at``-th call of one hook."""
    callback, calls = Callback(), []

    def fail(*arguments: Any, **options: Any) -> Any:
        calls.append(hook)
        if len(calls) == at:
            raise ValueError("no such colour map")

    setattr(callback, hook, fail)
    return callback


def weights(run: Any) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = run.assembled.objective.state_dict()
    return state


@pytest.mark.parametrize(
    ("hook", "at", "saved"),
    [
        ("on_train_batch_end", 5, 6),  # in the middle of a window of 3: the window is finished first
        ("on_before_backward", 8, 9),
        ("on_train_epoch_start", 2, 10),
        ("on_train_epoch_end", 1, 7),
        ("on_validation_end", 1, 7),
        ("on_train_epoch_end", 3, 21),
    ],
)
def test_a_failing_callback_is_named_and_the_run_resumes_without_it_bit_for_bit(
    small_run: Any, tmp_path: Path, offering: Any, hook: str, at: int, saved: int
) -> None:
    """``saved`` counts batches; seven make an epoch, three a window."""
    at_once = small_run(tmp_path / "at_once", epochs=3, accumulate_grad_batches=3)
    host = offering(callback=failing_in(hook, at))
    with pytest.raises(TrainingError, match=rf"callback 'mine' {FROM} failed in {hook}: ValueError: no such") as caught:
        small_run(tmp_path / "run", epochs=3, accumulate_grad_batches=3, callbacks={"mine": {}}, host=host)

    assert caught.value.exit_code == 3
    step = saved // 7 * 3 + -(-(saved % 7) // 3)
    assert f"Saved after optimizer step {step}; ptycho train --resume" in (caught.value.hint or "")
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    resumed = small_run(resume=tmp_path / "run", **{"callbacks.mine": False})
    assert all(torch.equal(weights(resumed)[name], expected) for name, expected in weights(at_once).items())
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "at_once" / "metrics.csv").read_text()


@pytest.mark.parametrize("hook", ["setup", "on_fit_start", "on_train_start", "state_dict"])
def test_a_callback_that_fails_before_the_first_step_is_refused_and_leaves_no_folder(
    small_run: Any, tmp_path: Path, offering: Any, hook: str
) -> None:
    with pytest.raises(PluginError, match=rf"callback 'mine' {FROM} failed in {hook}: ValueError"):
        small_run(tmp_path / "run", callbacks={"mine": {}}, host=offering(callback=failing_in(hook)))

    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("hook", "at"), [("state_dict", 2), ("on_train_end", 1), ("on_save_checkpoint", 1)])
def test_a_callback_whose_state_cannot_be_saved_ends_the_run_at_once(
    small_run: Any, tmp_path: Path, offering: Any, hook: str, at: int
) -> None:
    with pytest.raises(TrainingError, match=rf"callback 'mine' {FROM} failed in {hook}: ValueError") as caught:
        small_run(tmp_path / "run", callbacks={"mine": {}}, host=offering(callback=failing_in(hook, at)))

    assert ("Saved after optimizer step 14" in (caught.value.hint or "")) == (hook == "on_train_end")


def test_a_callback_that_changes_the_accumulation_is_refused_before_the_first_step(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    host = offering(callback=GradientAccumulationScheduler({1: 2}))
    with pytest.raises(PluginError, match="GradientAccumulationScheduler changes accumulate_grad_batches"):
        small_run(tmp_path / "run", callbacks={"mine": {}}, host=host)

    assert not (tmp_path / "run").exists()


def invalid_at(step: int, value: Any) -> Any:
    """A factory of schedules whose factor at one step is ``value``, or raises it."""

    def factor(now: int) -> float:
        if now == step and isinstance(value, Exception):
            raise value
        return float(value) if now == step else 0.9**now

    return lambda optimizer, span: Schedule(LambdaLR(optimizer, factor))


@pytest.mark.parametrize("step", [4, 7, 12])
@pytest.mark.parametrize(
    ("value", "message"),
    [
        (KeyError("table"), r"failed in step: KeyError: 'table'"),
        (float("nan"), r"set the learning rates \[nan, nan\], expected finite numbers"),
        (-1.0, r"set the learning rates \[-0.002, -0.0003\], expected finite numbers"),
    ],
)
def test_a_failing_scheduler_is_named_and_the_run_resumes_where_it_stopped(
    small_run: Any, tmp_path: Path, offering: Any, value: Any, message: str, step: int
) -> None:
    """After a repair the run equals one that never failed. Seven steps make an epoch."""
    mended = offering(lambda optimizer, span: Schedule(LambdaLR(optimizer, lambda now: 0.9**now)))
    at_once = small_run(tmp_path / "at_once", scheduler="Mine", host=mended)
    with pytest.raises(
        TrainingError, match=rf"after optimizer step {step}: scheduler 'Mine' {FROM} {message}"
    ) as caught:
        small_run(tmp_path / "run", scheduler="Mine", host=offering(invalid_at(step, value)))
    assert caught.value.exit_code == 3
    assert f"Saved after optimizer step {step}" in (caught.value.hint or "")

    again = small_run(resume=tmp_path / "run", host=mended)

    assert all(torch.equal(weights(again)[name], expected) for name, expected in weights(at_once).items())
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "at_once" / "metrics.csv").read_text()


def test_a_scheduler_that_fails_again_can_be_replaced(small_run: Any, tmp_path: Path, offering: Any) -> None:
    broken = offering(invalid_at(4, KeyError("table")))
    with pytest.raises(TrainingError):
        small_run(tmp_path / "run", scheduler="Mine", host=broken)
    with pytest.raises(TrainingError, match=r"after optimizer step 4: .* failed in step: KeyError"):
        small_run(resume=tmp_path / "run", host=broken)

    small_run(resume=tmp_path / "run", which="config", scheduler="Default", host=broken)

    with (tmp_path / "run" / "metrics.csv").open(newline="") as file:
        rates = [float(row["learning_rate"]) for row in csv.DictReader(file)]
    assert rates == pytest.approx([0.002 * 0.9**now for now in range(4)] + [0.002] * 10)


def test_a_failing_third_party_plateau_is_stepped_again_with_the_same_loss_on_resume(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    seen: list[list[float]] = []
    failing: list[bool] = []  # not an attribute: torch saves those

    class Plateau(ReduceLROnPlateau):
        def step(self, metrics: Any, epoch: Any = None) -> None:
            seen[-1].append(metrics)
            if failing and len(seen[-1]) == 2:
                raise OSError("disk")
            super().step(metrics)

    def hosted(fails: bool) -> Any:
        def build(optimizer: Any, span: Span) -> Schedule:
            seen.append([])
            failing[:] = [True] * fails
            scheduler = Plateau(optimizer, patience=0, factor=0.5, threshold=1e9, threshold_mode="abs")
            return Schedule(scheduler, interval="epoch", monitor="val_loss")

        return offering(build)

    at_once = small_run(tmp_path / "at_once", epochs=3, scheduler="Mine", host=hosted(False))
    with pytest.raises(TrainingError, match=r"after optimizer step 14: .*: OSError: disk"):
        small_run(tmp_path / "run", epochs=3, scheduler="Mine", host=hosted(True))
    resumed = small_run(resume=tmp_path / "run", epochs=3, host=hosted(False))

    assert [loss for run in seen[1:] for loss in run] == [*seen[0][:2], *seen[0][1:]]
    assert all(torch.equal(weights(resumed)[name], expected) for name, expected in weights(at_once).items())


@pytest.mark.parametrize("weight", [1.5, float("nan"), ZeroDivisionError("no")])
def test_an_invalid_loss_weight_is_named_and_the_step_before_it_is_saved(
    small_run: Any, tmp_path: Path, offering: Any, weight: Any
) -> None:
    def loss_weight(step: int) -> float:
        if step == 5 and isinstance(weight, Exception):
            raise weight
        return float(weight) if step == 5 else step / 14

    def build(optimizer: Any, span: Span) -> Schedule:
        return Schedule(LambdaLR(optimizer, lambda step: 1.0), loss_weight=loss_weight)

    with pytest.raises(
        TrainingError, match=rf"before optimizer step 6: scheduler 'Mine' {FROM} (failed in|set the) loss.weight"
    ) as caught:
        small_run(tmp_path / "run", scheduler="Mine", host=offering(build, staged=True))

    assert "Saved after optimizer step 5" in (caught.value.hint or "")


def test_invalid_first_rates_are_refused(small_run: Any, tmp_path: Path, offering: Any) -> None:
    with pytest.raises(PluginError, match=rf"before optimizer step 1: scheduler 'Mine' {FROM} set the learning rates"):
        small_run(tmp_path / "run", scheduler="Mine", host=offering(invalid_at(0, float("nan"))))

    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda s: Schedule(s, interval="batch"), "has interval 'batch', expected step or epoch"),  # type: ignore[arg-type]
        (lambda s: Schedule(s, loss_weight=lambda step: 0.5), "its entry does not say that it is staged"),
    ],
)
def test_a_schedule_that_contradicts_its_entry_is_refused(
    small_run: Any, tmp_path: Path, offering: Any, schedule: Any, message: str
) -> None:
    """A loss weight that the entry does not declare would escape the check against ``--loss amplitude``."""
    build = lambda optimizer, span: schedule(LambdaLR(optimizer, lambda step: 1.0))  # noqa: E731
    with pytest.raises(PluginError, match=message):
        small_run(tmp_path / "run", scheduler="Mine", host=offering(build))


def endless(*arguments: Any, **options: Any) -> None:
    while True:
        with contextlib.suppress(Exception):
            time.sleep(60)


def leave(*arguments: Any, **options: Any) -> None:
    os._exit(5)


def cancel(*arguments: Any, **options: Any) -> None:
    raise asyncio.CancelledError


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        (endless, r"it did not end within 1 s"),
        (leave, r"it called os\._exit\(5\)"),
        (cancel, "CancelledError"),
    ],
)
def test_a_hook_that_never_returns_or_ends_the_process_is_named_and_the_run_is_saved(
    small_run: Any, tmp_path: Path, offering: Any, monkeypatch: pytest.MonkeyPatch, fault: Any, message: str
) -> None:
    callback = Callback()
    callback.on_train_epoch_end = fault  # type: ignore[method-assign]
    monkeypatch.setenv("PTYCHO_PLUGIN_TIME_LIMIT", "1")
    with pytest.raises(
        TrainingError, match=rf"callback 'mine' {FROM} failed in on_train_epoch_end: {message}"
    ) as caught:
        small_run(tmp_path / "run", callbacks={"mine": {}}, host=offering(callback=callback))
    assert "Saved after optimizer step 7" in (caught.value.hint or "")

    def factor(step: int) -> float:
        return 1.0 if step < 3 else fault()

    schedule = offering(lambda optimizer, span: Schedule(LambdaLR(optimizer, factor)))
    with pytest.raises(TrainingError, match=rf"step 3: scheduler 'Mine' {FROM} failed in step: {message}") as caught:
        small_run(tmp_path / "other", scheduler="Mine", host=schedule)
    assert "Saved after optimizer step 3" in (caught.value.hint or "")
