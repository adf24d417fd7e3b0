"""The LightningModule: losses of windows, applied optimizer steps, and what happens at the end of an epoch.

The optimizer step is the only clock. It counts *applied* steps: ``trainer.global_step`` and
Lightning's own stepping of schedulers also advance where an AMP scaler skipped the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule, Trainer
from torch import Tensor
from torch.optim import Optimizer

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.data.batch import Batch
from ptycho_cli.errors import SharedTrainingError, TrainingError
from ptycho_cli.extend.specs import Schedule
from ptycho_cli.training.accumulation import Windows
from ptycho_cli.training.distributed import sum_over_ranks
from ptycho_cli.training.events import Events, Silence
from ptycho_cli.training.schedule_stepper import Follower
from ptycho_cli.training.stop import StopRequest

STATE_KEY = "ptycho"  # our part of a checkpoint

MakeOptimizer = Callable[[list[dict[str, object]]], Optimizer]
MakeSchedule = Callable[[Optimizer], Schedule]


class TrainingModule(LightningModule):
    """Trains an objective under one schedule.

    Args:
        objective: Gives the loss of each group, which does not depend on the other groups of the batch: only so
            does accumulating N batches give the update of one batch N times as large.
        windows: How the batches of an epoch fall into optimizer steps.
        make_optimizer: Optimizer over the objective's parameter groups.
        make_schedule: Schedule that scales the optimizer's groups.
        restart_schedule: On resume, follow the new schedule from the step that was reached, in place of the
            schedule and base rates that the checkpoint holds.
        schedule_steps: Steps that the schedule was made for; after them it keeps its last rate and loss weight.
        scheduler_name: What to call the scheduler in messages.
        locate: Gives the line of a plugin that an error comes from, as `` at mine.py:8``, or nothing.
        events: Told of every applied optimizer step and of every epoch.
        stop: Asked to end the run, at the end of the window, where the schedule fails.

    Attributes:
        applied_steps: Optimizer steps applied since the very start, also over resumes.
        figures: Latest ``train_loss`` and ``val_loss``, means over an epoch.
        base_rates: Learning rate of each group as the schedule found it; some schedulers write over ``initial_lr``.
        rates: Learning rates of the first group that the first and the latest step of this process used.
        loss_weights: Loss weights of the same two steps; empty where the schedule has none.
    """

    def __init__(
        self,
        objective: Objective,
        *,
        windows: Windows,
        make_optimizer: MakeOptimizer,
        make_schedule: MakeSchedule,
        restart_schedule: bool = False,
        schedule_steps: int | None = None,
        scheduler_name: str = "the scheduler",
        locate: Callable[[BaseException], str] = lambda error: "",
        events: Events | None = None,
        stop: StopRequest | None = None,
    ) -> None:
        super().__init__()
        self.objective = objective
        self.windows, self.scheduler_name = windows, scheduler_name
        self.schedule: Schedule | None = None
        self.applied_steps = 0
        self.figures: dict[str, float] = {}
        self.rates: tuple[float, ...] = ()
        self.loss_weights: tuple[float, ...] = ()
        self.base_rates: dict[str, float] = {}
        self._make_optimizer, self._make_schedule = make_optimizer, make_schedule
        self._restart_schedule, self._events = restart_schedule, events or Silence()
        self._schedule_steps = math.inf if schedule_steps is None else schedule_steps
        self._stop, self._locate = stop or StopRequest(), locate
        self._follower: Follower | None = None
        self._applied = False  # whether the optimizer stepped since the schedule was last asked
        self._behind = False  # whether the schedule failed to follow the latest step
        self._loss_weight: float | None = None  # of the window that is open, or comes next
        self._total: Tensor | float = 0.0  # loss summed over this rank's groups of the window
        self._groups = 0  # in the window, over all ranks
        self._loss = float("nan")  # mean over them
        self._epoch, self._validation = RunningMean(), RunningMean()
        self._restored: dict[str, Any] | None = None

    def configure_optimizers(self) -> Any:
        """Build optimizer and schedule; called by Lightning, on resume after the weights are restored."""
        optimizer = self._make_optimizer(self.objective.parameter_groups())
        optimizer.register_step_post_hook(self._count_applied_step)
        self.base_rates = {group["name"]: float(group["lr"]) for group in optimizer.param_groups}
        self.schedule = schedule = self._make_schedule(optimizer)
        steps = self._schedule_steps
        self._follower = follower = Follower(
            schedule, optimizer, name=self.scheduler_name, steps=steps, locate=self._locate
        )
        if self._restored is not None and self._restart_schedule:
            by_step = schedule.interval == "step"
            follower.catch_up(self.applied_steps if by_step else self.applied_steps // self.windows.steps)
            self._behind = False
            _keep(optimizer, schedule, self._restored)
        self._restored = None
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": schedule.scheduler,
                "interval": schedule.interval,
                # Lightning counts frequencies in batches and anew in every epoch, so it is always 1
                "frequency": 1,
                "monitor": schedule.monitor,
                # Lightning would step a plateau scheduler after the epoch's checkpoint; we do it before
                "reduce_on_plateau": False,
            },
        }

    def on_train_start(self) -> None:
        """Follow a step that an earlier run could not, and find the first loss weight."""
        assert self._follower is not None
        if self._behind:
            self._follower.advance(self.applied_steps, self.figures)
            self._behind = False
        self._loss_weight = self._follower.loss_weight(self.applied_steps)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss whose accumulated gradient is that of the mean over all groups of the window."""
        if self.windows.opens(batch_idx):
            self._refuse_another_accumulation()
            self._total, self._groups = 0.0, self.windows.groups_in_window(batch_idx)
        total = self._losses(batch, self._loss_weight).sum()
        self._total = self._total + total.detach()
        return total * self.windows.weight(batch_idx)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Refuse to let a loss that is not finite reach the weights."""
        self._loss = sum_over_ranks(self.trainer, float(self._total))[0] / self._groups  # waits for the device
        if not math.isfinite(self._loss):
            raise SharedTrainingError(
                f"{self.where}: the loss is {self._loss}, expected a finite number.",
                hint="Lower --learning-rate or set --gradient-clip-val. The weights were not touched by this step.",
            )

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a step-wise scheduler, only after an applied optimizer step; Lightning calls this after every window."""
        assert self.schedule is not None
        if self.schedule.interval == "step" and self._applied:
            self._follow()
        self._applied = False

    @property
    def where(self) -> str:
        """The step under way, for messages."""
        total = self.windows.steps * (self.trainer.max_epochs or 0)
        return f"optimizer step {self.applied_steps + 1} of {total}"

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the epoch's validation loss: the loss that the settings chose, whatever the stage.

        Every scored frame weighs the same, however many a group has.
        """
        losses, frames = self._losses(batch, None).detach(), batch.scored.sum(dim=1)
        self._validation.add((losses * frames).sum(), int(batch.scored.sum()))

    def on_validation_epoch_end(self) -> None:
        """Make the validation loss known to callbacks."""
        if not self.trainer.sanity_checking:
            self.figures["val_loss"] = loss = self._validation.value(self.trainer)
            if not math.isfinite(loss):
                raise SharedTrainingError(
                    f"after optimizer step {self.applied_steps}: the validation loss is {loss}, expected a finite one.",
                    hint="Lower --learning-rate or set --gradient-clip-val. No checkpoint of this epoch is written.",
                )
            self.log("val_loss", loss, logger=False, sync_dist=True)
        self._validation.clear()

    def on_train_epoch_end(self) -> None:
        """Close the epoch: means, plateau, last row of the metrics; checkpoints are written after this."""
        self.figures["train_loss"] = self._epoch.value()  # of losses that are those of all ranks
        self._epoch.clear()
        self.log("train_loss", self.figures["train_loss"], logger=False, sync_dist=True)
        assert self.schedule is not None
        if self.schedule.interval == "epoch":
            self._follow()
        if self.logger is not None and "val_loss" in self.figures and self.applied_steps:
            self.logger.log_metrics({"val_loss": self.figures["val_loss"]}, step=self.applied_steps)
        self._events.epoch(self.current_epoch, dict(self.figures))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add our counts, sums and the state of the random numbers; plain numbers and tensors only."""
        checkpoint[STATE_KEY] = {
            "applied_steps": self.applied_steps,
            "behind": self._behind,
            "figures": dict(self.figures),
            "epoch_mean": self._epoch.state(),
            "random_state": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the counts where they were; runs before the optimizer is built."""
        state = checkpoint[STATE_KEY]
        self.applied_steps = int(state["applied_steps"])
        self._behind = bool(state["behind"])
        self.figures = dict(state["figures"])
        self._epoch.load(state["epoch_mean"])
        torch.set_rng_state(state["random_state"])
        self._restored = checkpoint

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; a frozen dataclass is moved by its own method, not by Lightning."""
        return batch.to(device)

    def _refuse_another_accumulation(self) -> None:
        if self.trainer.accumulate_grad_batches != self.windows.accumulate:
            raise SharedTrainingError(
                f"{self.where}: accumulate_grad_batches is {self.trainer.accumulate_grad_batches}, but "
                f"the training was set up for {self.windows.accumulate}.",
                hint="Leave out the callback that changes it during a run; the schedule's length depends on it.",
            )

    def _losses(self, batch: Batch, loss_weight: float | None) -> Tensor:
        losses: Tensor = self.objective(batch, loss_weight)
        if losses.shape != batch.counts.shape[:1]:
            raise RuntimeError(f"the objective returned {tuple(losses.shape)}, expected one loss for each group")
        return losses

    def _count_applied_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Runs after ``optimizer.step`` itself, which an AMP scaler does not call for a skipped step."""
        rate, loss = float(optimizer.param_groups[0]["lr"]), self._loss
        self.applied_steps += 1
        self._applied = True
        self.rates = (*self.rates[:1], rate)
        self._epoch.add(loss * self._groups, self._groups)
        row = {"epoch": self.current_epoch, "learning_rate": rate, "train_loss": loss}
        if self._loss_weight is not None:
            row["loss_weight"] = self._loss_weight
            self.loss_weights = (*self.loss_weights[:1], self._loss_weight)
        if self.logger is not None:
            self.logger.log_metrics(row, step=self.applied_steps)
        self._events.step(self.applied_steps, self.current_epoch, rate, loss)
        self._weigh_next()

    def _weigh_next(self) -> None:
        """The loss weight follows the applied steps, so all batches of a window get one weight."""
        assert self._follower is not None
        if self.applied_steps < self.windows.steps * (self.trainer.max_epochs or 0):
            try:
                self._loss_weight = self._follower.loss_weight(self.applied_steps)
            except TrainingError as error:
                self._stop.request(error)

    def _follow(self) -> None:
        """Step the schedule; where it fails, the run is saved at the end of the window, then ends."""
        assert self._follower is not None
        try:
            self._follower.advance(self.applied_steps, self.figures)
        except TrainingError as error:
            self._behind = True
            self._stop.request(error)


def _keep(optimizer: Optimizer, schedule: Schedule, checkpoint: dict[str, Any]) -> None:
    """Let the rates, decays and schedule of the settings stand where the checkpoint's would replace them."""
    for mine, saved in zip(optimizer.param_groups, checkpoint["optimizer_states"][0]["param_groups"], strict=True):
        saved.update({key: value for key, value in mine.items() if key != "params"})
    checkpoint["lr_schedulers"] = [schedule.scheduler.state_dict()]


class RunningMean:
    """A weighted mean whose sum stays on the device until it is read, since reading waits for the device."""

    def __init__(self) -> None:
        self.count = 0
        self._sum: Tensor | float = 0.0

    def clear(self) -> None:
        """Start anew."""
        self.count, self._sum = 0, 0.0

    def add(self, total: Tensor | float, count: int) -> None:
        """Add a sum over ``count`` things."""
        self._sum = self._sum + total
        self.count += count

    def value(self, trainer: Trainer | None = None) -> float:
        """The mean so far, over all ranks if a trainer is given; NaN if nothing was added."""
        total, count = float(self._sum), float(self.count)
        if trainer is not None:
            total, count = sum_over_ranks(trainer, total, count)
        return total / count if count else float("nan")

    def state(self) -> dict[str, float]:
        """Plain numbers for a checkpoint."""
        return {"sum": float(self._sum), "count": self.count}

    def load(self, state: dict[str, float]) -> None:
        """Take up a saved mean."""
        self._sum, self.count = float(state["sum"]), int(state["count"])
