"""Step a schedule, which may come from a plugin, check its rates after every step, and name it in errors."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

from torch.optim import Optimizer

from ptycho_cli.errors import PluginError, TrainingError
from ptycho_cli.extend.specs import Schedule
from ptycho_cli.extend.validate import one_line

_HINT = "To resume with another scheduler, add --resume-schedule config --scheduler Default. Report it to its author."


class ScheduleStepper:
    """A schedule and the optimizer whose learning rates it sets.

    Args:
        schedule: What the scheduler's factory returned.
        optimizer: Its groups have the rates of the first step.
        name: Name and origin of the scheduler, for messages.
        steps: Optimizer steps that the schedule was made for; afterwards rates and loss weight stay constant.
        locate: Gives the line of a plugin that an error comes from, or an empty text.

    Raises:
        PluginError: If the first rates are negative or not finite.
    """

    def __init__(
        self,
        schedule: Schedule,
        optimizer: Optimizer,
        *,
        name: str,
        steps: float = math.inf,
        locate: Callable[[BaseException], str] = lambda error: "",
    ) -> None:
        self.schedule, self._optimizer, self._name, self._steps = schedule, optimizer, name, steps
        self._locate = locate
        try:
            self._check_rates("before optimizer step 1")
        except TrainingError as error:  # nothing is trained yet, so it is wrong input
            raise PluginError(error.message, hint="Choose another scheduler.") from None

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Step the schedule once.

        Args:
            step: Optimizer steps applied so far, counted over the whole run.
            losses: Values that a schedule may monitor.

        Raises:
            TrainingError: If the schedule raises, or sets a rate that is negative or not finite; schedule and rates
                are then restored.
        """
        if step > self._steps and self.schedule.interval == "step":
            return
        monitor, scheduler = self.schedule.monitor, self.schedule.scheduler
        before = copy.deepcopy(scheduler.state_dict())
        rates = [group["lr"] for group in self._optimizer.param_groups]
        try:
            scheduler.step(*(() if monitor is None else (losses[monitor],)))
            self._check_rates(f"after optimizer step {step}")
        except (Exception, SystemExit) as error:
            scheduler.load_state_dict(before)
            for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            if isinstance(error, TrainingError):
                raise
            raise TrainingError(
                f"after optimizer step {step}: {self._name} failed in step{self._locate(error)}: {one_line(error)}.",
                hint=_HINT,
            ) from error

    def catch_up(self, steps: int) -> None:
        """Bring a new schedule to the step that a run has reached; one that monitors a loss starts again."""
        if self.schedule.monitor is None:
            # torch warns if a scheduler steps before its optimizer, which is intended here
            self.schedule.scheduler.optimizer._opt_called = True
            for step in range(1, steps + 1):
                self.advance(step, {})

    def replace_in(self, checkpoint: dict[str, Any]) -> None:
        """Write this schedule, its rates and its weight decays over those of a checkpoint that Lightning will load."""
        saved_groups = checkpoint["optimizer_states"][0]["param_groups"]
        for group, saved in zip(self._optimizer.param_groups, saved_groups, strict=True):
            saved.update({key: value for key, value in group.items() if key != "params"})
        checkpoint["lr_schedulers"] = [self.schedule.scheduler.state_dict()]

    def loss_weight(self, step: int) -> float | None:
        """Weight of the Poisson likelihood in an optimizer step, counted from 0; None if the schedule sets none.

        Raises:
            TrainingError: If the schedule raises, or gives a value outside [0, 1].
        """
        if self.schedule.loss_weight is None:
            return None
        reached = int(min(step, self._steps))
        when = f"before optimizer step {reached + 1}"
        try:
            weight = float(self.schedule.loss_weight(reached))
        except (Exception, SystemExit) as error:
            raise TrainingError(
                f"{when}: {self._name} failed in loss_weight{self._locate(error)}: {one_line(error)}.", hint=_HINT
            ) from error
        if not 0.0 <= weight <= 1.0:
            raise TrainingError(f"{when}: {self._name} set the loss weight {weight}, expected 0 to 1.", hint=_HINT)
        return weight

    def _check_rates(self, when: str) -> None:
        rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        if not all(0.0 <= rate < math.inf for rate in rates):
            raise TrainingError(
                f"{when}: {self._name} set the learning rates {rates}, expected finite numbers, at least 0.", hint=_HINT
            )
