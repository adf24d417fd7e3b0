"""The LightningModule: losses of windows, applied optimizer steps, and what happens at the end of an epoch.

The optimizer step is the only clock. It counts *applied* steps: ``trainer.global_step`` and
Lightning's own stepping of schedulers also advance where an AMP scaler skipped the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor, nn
from torch.optim import Optimizer

from ptycho_cli.data.batch import Batch
from ptycho_cli.errors import PluginError, TrainingError
from ptycho_cli.extend.specs import Schedule
from ptycho_cli.training.accumulation import Windows
from ptycho_cli.training.events import Events, Silence
from ptycho_cli.training.figures import RunningMean
from ptycho_cli.training.objective import ParameterGroup

STATE_KEY = "ptycho"  # our part of a checkpoint

MakeOptimizer = Callable[[list[ParameterGroup]], Optimizer]
MakeSchedule = Callable[[Optimizer], Schedule]


class TrainingModule(LightningModule):
    """Trains an objective under one schedule.

    Args:
        objective: Gives the loss of each group; see :class:`~ptycho_cli.training.objective.Objective`.
        windows: How the batches of an epoch fall into optimizer steps.
        make_optimizer: Optimizer over the objective's parameter groups.
        make_schedule: Schedule that scales the optimizer's groups.
        restart_schedule: On resume, follow the new schedule from the step that was reached, in place of the
            schedule and base rates that the checkpoint holds.
        schedule_steps: Steps that the schedule was made for; after them it keeps its last rate and loss weight.
        scheduler_name: What to call the scheduler in messages.
        events: Told of every applied optimizer step and of every epoch.

    Attributes:
        applied_steps: Optimizer steps applied since the very start, also over resumes.
        figures: Latest ``train_loss`` and ``val_loss``, means over an epoch.
        base_rates: Learning rate of each group as the schedule found it; some schedulers write over ``initial_lr``.
        rates: Learning rates of the first group that the first and the latest step of this process used.
    """

    def __init__(
        self,
        objective: nn.Module,
        *,
        windows: Windows,
        make_optimizer: MakeOptimizer,
        make_schedule: MakeSchedule,
        restart_schedule: bool = False,
        schedule_steps: int | None = None,
        scheduler_name: str = "the scheduler",
        events: Events | None = None,
    ) -> None:
        super().__init__()
        self.objective = objective
        self.windows, self.scheduler_name = windows, scheduler_name
        self.schedule: Schedule | None = None
        self.applied_steps = 0
        self.figures: dict[str, float] = {}
        self.rates: tuple[float, ...] = ()
        self.base_rates: dict[str, float] = {}
        self._make_optimizer, self._make_schedule = make_optimizer, make_schedule
        self._restart_schedule, self._events = restart_schedule, events or Silence()
        self._schedule_steps = math.inf if schedule_steps is None else schedule_steps
        self._followed_steps = 0  # applied steps that the scheduler has been told of
        self._loss_weight: float | None = None
        self._loss = float("nan")  # mean over the groups of the latest window
        self._window, self._epoch, self._validation = RunningMean(), RunningMean(), RunningMean()
        self._restored: dict[str, Any] | None = None

    def configure_optimizers(self) -> Any:
        """Build optimizer and schedule; called by Lightning, on resume after the weights are restored."""
        optimizer = self._make_optimizer(self.objective.parameter_groups())  # type: ignore[operator]
        optimizer.register_step_post_hook(self._count_applied_step)
        self.base_rates = {group["name"]: float(group["lr"]) for group in optimizer.param_groups}
        self.schedule = schedule = self._make_schedule(optimizer)
        if self._restored is not None and self._restart_schedule:
            _follow_from_the_start(schedule, self.applied_steps, self.windows.steps)
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

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Loss whose accumulated gradient is that of the mean over all groups of the window."""
        if self.windows.opens(batch_idx):
            self._refuse_another_accumulation()
            self._loss_weight = self._weigh()  # constant within a window, because no step is applied inside it
            self._window.clear()
        losses = self._losses(batch, self._loss_weight)
        self._window.add(losses.detach().sum(), losses.shape[0])
        return losses.mean() * self.windows.factor(batch_idx, losses.shape[0])

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Refuse to let a loss or a learning rate that is no such thing reach the weights."""
        rates = [float(group["lr"]) for group in optimizer.param_groups]
        if not all(0.0 <= rate < math.inf for rate in rates):
            raise TrainingError(
                f"{self.where}: {self.scheduler_name} set the learning rates {rates}, "
                "expected finite numbers, at least 0.",
                hint="Choose another with --scheduler, or report it to its author.",
            )
        self._loss = self._window.value()  # waits for the device, once a step
        if not math.isfinite(self._loss):
            raise TrainingError(
                f"{self.where}: the loss is {self._loss}, expected a finite number.",
                hint="Lower --learning-rate or set --gradient-clip-val. The weights were not touched by this step.",
            )

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a step-wise scheduler, only after an applied optimizer step; Lightning calls this after every window."""
        assert self.schedule is not None
        if self.schedule.interval == "step" and self.applied_steps > self._followed_steps:
            if self.applied_steps <= self._schedule_steps:
                self.step_schedule()
            self._followed_steps = self.applied_steps

    def step_schedule(self, *figure: float) -> None:
        """Step the schedule; a frame of its own, so that an error on its way out is blamed on the scheduler."""
        assert self.schedule is not None
        self.schedule.scheduler.step(*figure)

    @property
    def where(self) -> str:
        """The step under way, for messages."""
        return f"optimizer step {self.applied_steps + 1}, epoch {self.current_epoch}"

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the epoch's validation loss: the loss that the settings chose, whatever the stage.

        Every scored frame weighs the same, however many a group has.
        """
        losses, frames = self._losses(batch, None).detach(), batch.scored.sum(dim=1)
        self._validation.add((losses * frames).sum(), int(batch.scored.sum()))

    def on_validation_epoch_end(self) -> None:
        """Make the validation loss known to callbacks."""
        if not self.trainer.sanity_checking:
            self.figures["val_loss"] = self._validation.value(self.trainer)
            self.log("val_loss", self.figures["val_loss"], logger=False, sync_dist=True)
        self._validation.clear()

    def on_train_epoch_end(self) -> None:
        """Close the epoch: means, plateau, last row of the metrics; checkpoints are written after this."""
        self.figures["train_loss"] = self._epoch.value(self.trainer)
        self._epoch.clear()
        self.log("train_loss", self.figures["train_loss"], logger=False, sync_dist=True)
        assert self.schedule is not None
        if self.schedule.interval == "epoch":
            monitor = self.schedule.monitor
            arguments = () if monitor is None else (self.figures[monitor],)
            self.step_schedule(*arguments)
        if self.logger is not None and "val_loss" in self.figures and self.applied_steps:
            self.logger.log_metrics({"val_loss": self.figures["val_loss"]}, step=self.applied_steps)
        self._events.epoch(self.current_epoch, dict(self.figures))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add our counts, sums and the state of the random numbers; plain numbers and tensors only."""
        checkpoint[STATE_KEY] = {
            "applied_steps": self.applied_steps,
            "followed_steps": self._followed_steps,
            "figures": dict(self.figures),
            "epoch_mean": self._epoch.state(),
            "random_state": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Take up the counts where they were; runs before the optimizer is built."""
        state = checkpoint[STATE_KEY]
        self.applied_steps = int(state["applied_steps"])
        self._followed_steps = int(state["followed_steps"])
        self.figures = dict(state["figures"])
        self._epoch.load(state["epoch_mean"])
        torch.set_rng_state(state["random_state"])
        self._restored = checkpoint

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch; a frozen dataclass is moved by its own method, not by Lightning."""
        return batch.to(device)

    def _refuse_another_accumulation(self) -> None:
        if self.trainer.accumulate_grad_batches != self.windows.accumulate:
            raise PluginError(
                f"epoch {self.current_epoch}: accumulate_grad_batches is {self.trainer.accumulate_grad_batches}, but "
                f"the training was set up for {self.windows.accumulate}.",
                hint="Leave out the callback that changes it during a run; the schedule's length depends on it.",
            )

    def _weigh(self) -> float | None:
        """Weight of the Poisson likelihood in this window; None where the schedule leaves the loss alone."""
        weigh = self.schedule.loss_weight if self.schedule is not None else None
        if weigh is None:
            return None
        weight = weigh(int(min(self.applied_steps, self._schedule_steps)))
        if not 0.0 <= weight <= 1.0:
            raise TrainingError(f"{self.where}: {self.scheduler_name} set the loss weight {weight}, expected 0 to 1.")
        return weight

    def _losses(self, batch: Batch, loss_weight: float | None) -> Tensor:
        losses: Tensor = self.objective(batch, loss_weight)
        if losses.shape != batch.counts.shape[:1]:
            raise RuntimeError(f"the objective returned {tuple(losses.shape)}, expected one loss for each group")
        return losses

    def _count_applied_step(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        """Runs after ``optimizer.step`` itself, which an AMP scaler does not call for a skipped step."""
        rate, loss = float(optimizer.param_groups[0]["lr"]), self._loss
        self.applied_steps += 1
        self.rates = (*self.rates[:1], rate)
        self._epoch.add(loss * self._window.count, self._window.count)
        if self.logger is not None:
            row = {"epoch": self.current_epoch, "learning_rate": rate, "train_loss": loss}
            self.logger.log_metrics(row, step=self.applied_steps)
        self._events.step(self.applied_steps, self.current_epoch, rate, loss)


def _follow_from_the_start(schedule: Schedule, steps: int, steps_per_epoch: int) -> None:
    """Bring a fresh schedule to the step that was reached; one that follows a figure starts anew."""
    if schedule.monitor is not None:
        return
    # torch warns of a scheduler that steps before its optimizer, which is what must happen here
    schedule.scheduler.optimizer._opt_called = True
    for _ in range(steps if schedule.interval == "step" else steps // steps_per_epoch):
        schedule.scheduler.step()


def _keep(optimizer: Optimizer, schedule: Schedule, checkpoint: dict[str, Any]) -> None:
    """Let the rates, decays and schedule of the settings stand where the checkpoint's would replace them."""
    for mine, saved in zip(optimizer.param_groups, checkpoint["optimizer_states"][0]["param_groups"], strict=True):
        saved.update({key: value for key, value in mine.items() if key != "params"})
    checkpoint["lr_schedulers"] = [schedule.scheduler.state_dict()]
