"""The optimizer step is the only clock: schedules, plateaus, loss weights and metrics in real fits."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import GradientAccumulationScheduler
from lightning.pytorch.plugins.precision import MixedPrecision
from torch.optim.lr_scheduler import LambdaLR, ReduceLROnPlateau

from ptycho_cli.data.batch import Batch
from ptycho_cli.errors import TrainingError
from ptycho_cli.extend.specs import Schedule, Span
from ptycho_cli.training.checkpoint import Checkpoints
from ptycho_cli.training.stop_request import StopRequest

BASE = 1e-2  # of the network in SmallObjective; the probe's is a tenth


def halving(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    return Schedule(LambdaLR(optimizer, lambda step: 0.5**step))


def plateau(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    """Never sees an improvement, so it divides the rate by ten at each of its steps."""
    scheduler = ReduceLROnPlateau(optimizer, factor=0.1, patience=0, threshold=1e9, threshold_mode="abs")
    return Schedule(scheduler, interval="epoch", monitor="val_loss")


@pytest.mark.parametrize(("batch_size", "accumulate"), [(1, 1), (1, 4), (2, 3)])
def test_a_schedule_advances_once_for_each_optimizer_step(fit: Any, batch_size: int, accumulate: int) -> None:
    """Also across the short last window of an epoch."""
    run = fit(batch_size=batch_size, accumulate=accumulate, schedule=halving)(epochs=2)

    assert run.module.applied_steps == 2 * run.windows.steps
    assert run.rates == [BASE * 0.5**step for step in range(run.module.applied_steps)]


def test_all_parameter_groups_are_scaled_by_one_factor(fit: Any) -> None:
    run = fit(accumulate=2, schedule=halving)(epochs=1)

    assert [rates[1] / rates[0] for rates in run.probe.rates] == pytest.approx([0.1] * len(run.rates))


def test_a_step_that_the_scaler_skips_is_not_counted(fit: Any, tmp_path: Path) -> None:
    """The gradient of the third window overflows: no step, no row, and the schedule does not advance."""
    path = tmp_path / "metrics.csv"
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0**8, growth_interval=1000)
    precision = MixedPrecision("16-mixed", device="cpu", scaler=scaler)

    saving = Checkpoints(tmp_path, top_k=1, monitor="val_loss", mode="min", stop=StopRequest())
    callbacks = [Overflow(at=2), saving]
    run = fit(schedule=halving, plugins=[precision], callbacks=callbacks, metrics=path, n_groups=6)(epochs=1)

    assert run.trainer.global_step == 6  # Lightning counts the skipped step
    assert run.module.applied_steps == 5  # this program does not
    assert run.rates == [BASE * 0.5**step for step in range(5)]
    assert [int(row["step"]) for row in read(path)] == [1, 2, 3, 4, 5]
    saved = torch.load(tmp_path / "last.ckpt", weights_only=True)
    assert (saved["ptycho"]["applied_steps"], saved["lr_schedulers"][0]["last_epoch"]) == (5, 5)


class Overflow(Callback):
    """Make the gradient of one batch infinite."""

    def __init__(self, at: int) -> None:
        self.at, self.batch = at, 0

    def on_after_backward(self, trainer: Any, pl_module: Any) -> None:
        if self.batch == self.at:
            pl_module.objective.canvas.grad.fill_(float("inf"))
        self.batch += 1


def test_a_plateau_is_stepped_once_per_epoch_and_not_in_the_sanity_check(fit: Any) -> None:
    run = fit(accumulate=2, schedule=plateau, num_sanity_val_steps=2)(epochs=3)

    per_epoch = run.windows.steps
    # the first value is the best, and no later one improves on it
    assert run.rates == pytest.approx([BASE] * 2 * per_epoch + [BASE * 0.1] * per_epoch)
    assert run.module.schedule.scheduler.last_epoch == 3


def test_a_plateau_is_stepped_once_though_validation_runs_twice_an_epoch(fit: Any) -> None:
    run = fit(n_groups=6, schedule=plateau, val_check_interval=0.5)(epochs=3)

    assert run.module.schedule.scheduler.last_epoch == 3


def test_a_plateau_has_been_stepped_when_the_checkpoint_of_its_epoch_is_written(fit: Any, tmp_path: Path) -> None:
    saving = Checkpoints(tmp_path, top_k=-1, monitor="val_loss", mode="min", stop=StopRequest())
    fit(schedule=plateau, callbacks=[saving])(epochs=3)

    saved = [torch.load(tmp_path / f"epoch-{epoch:04d}.ckpt", weights_only=True) for epoch in range(3)]
    assert [checkpoint["lr_schedulers"][0]["last_epoch"] for checkpoint in saved] == [1, 2, 3]
    rates = [checkpoint["optimizer_states"][0]["param_groups"][0]["lr"] for checkpoint in saved]
    assert rates == pytest.approx([BASE, 0.1 * BASE, 0.01 * BASE])


def test_the_loss_weight_is_constant_inside_a_window(fit: Any) -> None:
    """It depends on the applied steps, so all batches of a window have one weight; validation has none."""

    def ramp(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
        return Schedule(LambdaLR(optimizer, lambda step: 1.0), loss_weight=lambda step: step / span.total_steps)

    run = fit(accumulate=3, schedule=ramp)(epochs=2)

    windows_of_an_epoch = [0, 0, 0, 1, 1, 1, 2]
    expected = [(step + 3 * epoch) / 6 for epoch in range(2) for step in windows_of_an_epoch]
    assert run.objective.weights_seen == pytest.approx(expected)


def test_a_loss_that_is_not_finite_stops_before_it_reaches_the_weights(fit: Any) -> None:
    def breaks_in_the_third_window(canvas: tuple[int, int]) -> Any:
        objective = fit.small_objective(canvas)
        forward = objective.forward

        def broken(batch: Batch, loss_weight: float | None) -> torch.Tensor:
            losses: torch.Tensor = forward(batch, loss_weight)
            return losses * float("nan") if len(objective.weights_seen) == 5 else losses

        objective.forward = broken
        return objective

    run = fit(accumulate=2, objective=breaks_in_the_third_window)

    with pytest.raises(TrainingError, match=r"optimizer step 3 of 4: the loss is nan") as caught:
        run(epochs=1)

    assert caught.value.exit_code == 3
    assert run.module.applied_steps == 2
    assert all(weights.isfinite().all() for weights in run.weights.values())


def test_a_validation_loss_that_is_not_finite_stops_before_a_checkpoint_of_it_is_written(
    fit: Any, tmp_path: Path
) -> None:
    """Weights that fail only on held-out frames must not replace the last good checkpoint."""

    def breaks_in_the_second_validation(canvas: tuple[int, int]) -> Any:
        objective = fit.small_objective(canvas)
        frame_losses = objective.frame_losses

        def broken(batch: Batch, loss_weight: float | None = None) -> tuple[torch.Tensor, torch.Tensor]:
            losses, present = frame_losses(batch, loss_weight)
            late = not objective.training and len(objective.weights_seen) > 7
            return (losses.masked_fill(present > 0, torch.inf) if late else losses), present

        objective.frame_losses = broken
        return objective

    saving = Checkpoints(tmp_path, top_k=1, monitor="val_loss", mode="min", stop=StopRequest())
    with pytest.raises(TrainingError, match="after optimizer step 14: the validation loss is inf, expected a finite"):
        fit(objective=breaks_in_the_second_validation, callbacks=[saving])(epochs=3)

    assert torch.load(tmp_path / "last.ckpt", weights_only=True)["ptycho"]["applied_steps"] == 7


@pytest.mark.parametrize("changes", [{"batch_size": 3}, {"accumulate": 4}, {"num_workers": 1}])
def test_groups_and_their_order_depend_on_seed_and_epoch_alone(fit: Any, changes: dict[str, Any]) -> None:
    def order(**options: Any) -> list[list[int]]:
        seen: list[list[int]] = []

        def noting(canvas: tuple[int, int]) -> Any:
            objective = fit.small_objective(canvas)
            forward = objective.forward

            def note(batch: Batch, loss_weight: float | None) -> torch.Tensor:
                if objective.training:
                    seen.extend(batch.frames.tolist())
                losses: torch.Tensor = forward(batch, loss_weight)
                return losses

            objective.forward = note
            return objective

        run = fit(objective=noting, **options)(epochs=2)
        if options.get("num_workers"):
            run.loader._loader._iterator._shutdown_workers()
        return seen

    plain = order()
    assert len(plain) == 14
    assert order(**changes) == plain
    assert order(seed=1) != plain
    assert plain[:7] != plain[7:]


def test_a_change_of_accumulation_during_the_run_stops_it(fit: Any) -> None:
    """Span and schedule are computed for one number of batches."""
    with pytest.raises(TrainingError, match=r"accumulate_grad_batches is 2, but .* was set up for 1"):
        fit(callbacks=[GradientAccumulationScheduler({1: 2})])(epochs=2)


def test_metrics_hold_the_rate_used_by_every_step_and_the_losses(fit: Any, tmp_path: Path) -> None:
    path = tmp_path / "metrics.csv"
    run = fit(accumulate=3, schedule=halving, metrics=path)(epochs=2)

    rows = read(path)
    assert path.read_text().splitlines()[0] == "step,epoch,learning_rate,train_loss,val_loss"
    assert [int(row["step"]) for row in rows] == [1, 2, 3, 4, 5, 6]
    assert [int(row["epoch"]) for row in rows] == [0, 0, 0, 1, 1, 1]
    assert [float(row["learning_rate"]) for row in rows] == run.rates
    assert [bool(row["val_loss"]) for row in rows] == [False, False, True] * 2
    assert float(rows[-1]["val_loss"]) == run.module.losses["val_loss"]
    # windows of 3, 3 and 1 groups: the epoch's mean is over groups
    losses = [float(row["train_loss"]) for row in rows[3:]]
    assert run.module.losses["train_loss"] == pytest.approx((3 * losses[0] + 3 * losses[1] + losses[2]) / 7)


def test_one_entry_is_logged_for_each_optimizer_step(fit: Any, tmp_path: Path) -> None:
    run = fit(accumulate=4, schedule=halving, metrics=tmp_path / "metrics.csv")(epochs=1)

    assert len(read(tmp_path / "metrics.csv")) == len(run.rates) == 2


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
