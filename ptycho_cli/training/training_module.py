"""The LightningModule: losses of accumulation windows, applied optimizer steps, and the end of an epoch.

The count of *applied* optimizer steps is the only clock. ``trainer.global_step`` and Lightning's own stepping of
schedulers also advance when an AMP scaler skips the step.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import LightningModule
from torch import Tensor
from torch.nn import Parameter
from torch.optim import Optimizer

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.data.batch import Batch
from ptycho_cli.errors import SharedTrainingError, TrainingError
from ptycho_cli.extend.specs import Schedule
from ptycho_cli.training.accumulation import RunningMean, Windows
from ptycho_cli.training.distributed import sum_over_ranks
from ptycho_cli.training.metrics_log import MetricsLog
from ptycho_cli.training.schedule_stepper import ScheduleStepper
from ptycho_cli.training.stop_request import StopRequest
from ptycho_cli.training.training_events import Events, NoEvents

OWN_LOSSES = ("train_loss", "val_loss")
STATE_KEY = "ptycho"  # the part of a checkpoint that this module writes

# Attributes that belong to the process that trains, and not to a copy of the module.
_OF_THE_RUN = ("_make_optimizer", "_make_schedule", "_locate", "_stepper", "schedule")

MakeOptimizer = Callable[[dict[str, list[Parameter]]], Optimizer]
MakeSchedule = Callable[[Optimizer], Schedule]


class TrainingModule(LightningModule):
    """Train an objective with one optimizer and one schedule.

    Args:
        objective: Gives the loss of each group, which does not depend on the other groups of the batch: only so
            does accumulating N batches give the update of one batch N times as large.
        windows: Division of an epoch's batches into optimizer steps.
        make_optimizer: Builds the optimizer for the objective's parameters, given by the name of their group.
        make_schedule: Builds the schedule of the optimizer's learning rates.
        restart_schedule: On resume, continue with the new schedule at the step that was reached, in place of the
            schedule and base rates in the checkpoint.
        schedule_steps: Steps that the schedule was made for; afterwards its last rate and loss weight stay.
        per_group: True if the schedule may scale parameter groups by different factors.
        scheduler_name: Name of the scheduler in messages.
        locate: Gives the line of a plugin that an error comes from, as `` at mine.py:8``, or an empty text.
        events: Receives every applied optimizer step and every epoch.
        stop: Receives a request to end the run, at the end of the window, if the schedule fails.

    Attributes:
        applied_steps: Optimizer steps since the first start of the run, including those before a resume.
        losses: Latest ``train_loss`` and ``val_loss``, means over an epoch.
        base_rates: Learning rate of each group before the schedule changed it; some schedulers overwrite
            ``initial_lr``.
        learning_rates: Rates of the first group in the first and the latest step of this process.
        loss_weights: Loss weights of the same two steps; empty if the schedule has none.
        frame_losses: Losses of the held-out frames of this rank in the latest validation, in parts.
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
        per_group: bool = False,
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
        self.losses: dict[str, float] = {}
        self.learning_rates: tuple[float, ...] = ()
        self.loss_weights: tuple[float, ...] = ()
        self.base_rates: dict[str, float] = {}
        self.frame_losses: list[Tensor] = []
        self.logging_for: str | None = None  # the callback whose hook is running
        self.changed_by: str | None = None  # the callback that set the weights at the end of the training
        self._make_optimizer, self._make_schedule = make_optimizer, make_schedule
        self._restart_schedule, self._events = restart_schedule, events or NoEvents()
        self._schedule_steps = math.inf if schedule_steps is None else schedule_steps
        self._per_group = per_group
        self._stop, self._locate = stop or StopRequest(), locate
        self._stepper: ScheduleStepper | None = None
        self._applied = False  # True if the optimizer stepped since the schedule was last stepped
        self._behind = False  # True if the schedule was not stepped after the latest step: it failed, or ends there
        self._loss_weight: float | None = None  # of the open window, or of the next one
        self._total: Tensor | float = 0.0  # loss summed over this rank's groups of the window
        self._groups = 0  # in the window, over all ranks
        self._loss = float("nan")  # mean over these groups
        self._epoch, self._validation = RunningMean(), RunningMean()
        self._restored: dict[str, Any] | None = None

    def configure_optimizers(self) -> Any:
        """Build optimizer and schedule; called by Lightning, on resume after the weights are restored."""
        optimizer = self._make_optimizer(self.objective.trained_parameters())
        optimizer.register_step_post_hook(self._count_applied_step)
        self.base_rates = {group["name"]: float(group["lr"]) for group in optimizer.param_groups}
        self.schedule = schedule = self._make_schedule(optimizer)
        self._stepper = stepper = ScheduleStepper(
            schedule,
            optimizer,
            name=self.scheduler_name,
            base_rates=None if self._per_group else tuple(self.base_rates.values()),
            steps=self._schedule_steps,
            locate=self._locate,
        )
        if self._restored is not None and self._restart_schedule:
            stepper.catch_up(self.applied_steps, self.windows.steps)
            self._behind = False
            stepper.replace_in(self._restored)
        self._restored = None
        return {
            "optimizer": optimizer,
            "lr_scheduler": {
                "scheduler": schedule.scheduler,
                "interval": schedule.interval,
                # Lightning counts frequencies in batches, and from the start of each epoch, so it is always 1
                "frequency": 1,
                "monitor": schedule.monitor,
                # Lightning would do so after the epoch's checkpoint; on_train_epoch_end does it before
                "reduce_on_plateau": False,
            },
        }

    def on_train_start(self) -> None:
        """Make up for a step of the schedule that an earlier process left out, and get the first loss weight."""
        assert self._stepper is not None
        if self._behind:
            self._stepper.repeat(self.applied_steps, self.losses)
            self._behind = False
        self._loss_weight = self._stepper.loss_weight(self.applied_steps)

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        """Return a loss whose accumulated gradient is that of the mean over all groups of the window."""
        if self.windows.opens(batch_idx):
            self._check_accumulation()
            self._total, self._groups = 0.0, self.windows.groups_in_window(batch_idx)
        total = self._losses(batch, self._loss_weight).sum()
        self._total = self._total + total.detach()
        return total * self.windows.weight(batch_idx)

    def on_before_optimizer_step(self, optimizer: Optimizer) -> None:
        """Stop if the loss is not finite, before it changes the weights."""
        self._loss = sum_over_ranks(self.trainer, float(self._total))[0] / self._groups  # waits for the device
        if not math.isfinite(self._loss):
            raise SharedTrainingError(
                f"{self.where}: the loss is {self._loss}, expected a finite number.",
                hint="Lower learning_rate or set gradient_clip_val. This step did not change the weights.",
            )

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Step a scheduler with interval ``step``, if an optimizer step was applied; called after every window."""
        assert self.schedule is not None
        if scheduler is not self.schedule.scheduler:  # a callback put its own in place, such as weight averaging
            super().lr_scheduler_step(scheduler, metric)
            return
        if self.schedule.interval == "step" and self._applied:
            self._step_schedule()
        self._applied = False

    @property
    def _is_scheduled(self) -> bool:
        """False once a callback put a scheduler of its own in the place of the schedule."""
        found = [config.scheduler for config in self.trainer.lr_scheduler_configs]
        return self.schedule is not None and found == [self.schedule.scheduler]

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the running training, so that callbacks can copy the module, and others pickle it."""
        return {**super().__getstate__(), **dict.fromkeys(_OF_THE_RUN), "_events": NoEvents(), "_stop": StopRequest()}

    @property
    def where(self) -> str:
        """The current step, for messages."""
        total = self.windows.steps * (self.trainer.max_epochs or 0)
        return f"optimizer step {self.applied_steps + 1} of {total}"

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        """Add a batch to the epoch's validation loss, which uses no loss weight.

        Every scored frame has the same weight, however many a group has.
        """
        losses, present = self.objective.frame_losses(batch)
        self._validation.add(losses.detach().sum(), int(batch.scored.sum()))
        self.frame_losses.append(losses.detach()[present > 0].cpu())

    def on_validation_epoch_start(self) -> None:
        """Forget the losses of the epoch before."""
        self.frame_losses = []

    def on_validation_epoch_end(self) -> None:
        """Compute the validation loss and log it for callbacks."""
        if not self.trainer.sanity_checking:
            self.losses["val_loss"] = loss = self._validation.value(self.trainer)
            if not math.isfinite(loss):
                raise SharedTrainingError(
                    f"after optimizer step {self.applied_steps}: the validation loss is {loss}, expected a finite one.",
                    hint="Lower learning_rate or set gradient_clip_val. No checkpoint of this epoch is written.",
                )
            super().log("val_loss", loss, logger=False, sync_dist=True)
        self._validation.clear()

    def on_train_epoch_end(self) -> None:
        """Compute the epoch's means and step an epoch-wise schedule; checkpoints are written after this."""
        self.losses["train_loss"] = self._epoch.value()  # its losses are sums over all ranks already
        self._epoch.clear()
        super().log("train_loss", self.losses["train_loss"], logger=False, sync_dist=True)
        assert self.schedule is not None
        if self._stop.inside_epoch:  # a run that is resumed goes on in this epoch
            return
        if self.schedule.interval == "epoch" and self._is_scheduled:
            self._step_schedule()
        if "val_loss" in self.losses and self.applied_steps:
            self._log_step({"val_loss": self.losses["val_loss"]})
        self._events.epoch(self.current_epoch, dict(self.losses))

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Add counts, sums and the state of the random numbers; plain numbers and tensors only."""
        checkpoint[STATE_KEY] = {
            "applied_steps": self.applied_steps,
            "behind": self._behind,
            "losses": dict(self.losses),
            "epoch_mean": self._epoch.state(),
            "random_state": torch.get_rng_state(),
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Restore the counts; called before the optimizer is built."""
        state = checkpoint[STATE_KEY]
        self.applied_steps = int(state["applied_steps"])
        self._behind = bool(state["behind"])
        self.losses = dict(state["losses"])
        self._epoch.load(state["epoch_mean"])
        torch.set_rng_state(state["random_state"])
        self._restored = checkpoint

    def log(self, name: str, *arguments: Any, **options: Any) -> None:
        """Log a value of a callback; Lightning gives callbacks this method as ``self.log``.

        Raises:
            ValueError: If it has the name of a loss of the training, which others rely on.
        """
        if name in OWN_LOSSES:
            raise ValueError(f"{name} is the training's own; log it under another name")
        if isinstance(self.logger, MetricsLog) and self.logging_for is not None:
            self.logger.logged_by[name] = self.logging_for
        super().log(name, *arguments, **options)

    def _log_step(self, values: dict[str, float]) -> None:
        """Add to the row of the latest optimizer step."""
        if isinstance(self.logger, MetricsLog):
            self.logger.log_step(self.applied_steps, values)

    def transfer_batch_to_device(self, batch: Batch, device: torch.device, dataloader_idx: int) -> Batch:
        """Move a batch by its own methods, since Lightning cannot move a frozen dataclass; its counts become real."""
        return batch.to(device).with_real_counts()

    def _check_accumulation(self) -> None:
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
        """Count and log a step; called after ``optimizer.step``, which an AMP scaler omits for a skipped step."""
        rate, loss = float(optimizer.param_groups[0]["lr"]), self._loss
        self.applied_steps += 1
        self._applied = True
        self.learning_rates = (*self.learning_rates[:1], rate)
        self._epoch.add(loss * self._groups, self._groups)
        row = {"epoch": self.current_epoch, "learning_rate": rate, "train_loss": loss}
        if self._loss_weight is not None:
            row["loss_weight"] = self._loss_weight
            self.loss_weights = (*self.loss_weights[:1], self._loss_weight)
        self._log_step(row)
        self._events.step(self.applied_steps, self.current_epoch, rate, loss)
        self._update_loss_weight()

    def _update_loss_weight(self) -> None:
        """Get the loss weight of the next step, so that all batches of a window have the same one."""
        assert self._stepper is not None
        if self.applied_steps < self.windows.steps * (self.trainer.max_epochs or 0):
            try:
                self._loss_weight = self._stepper.loss_weight(self.applied_steps)
            except TrainingError as error:
                self._stop.request(error)

    def _step_schedule(self) -> None:
        """Step the schedule; if it fails, request a stop, so that the run is saved and ends after the window."""
        assert self._stepper is not None
        self._behind = self._stepper.ends_at(self.applied_steps)
        try:
            self._stepper.advance(self.applied_steps, self.losses)
        except TrainingError as error:
            self._behind = True
            self._stop.request(error)
