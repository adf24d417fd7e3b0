"""Following a schedule, which may be a stranger's: stepped with care, looked at after every step, blamed by name."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable

from torch.optim import Optimizer

from ptycho_cli.errors import PluginError, TrainingError
from ptycho_cli.extend.specs import Schedule
from ptycho_cli.extend.validate import one_line


class Follower:
    """A schedule and the optimizer that it sets the rates of.

    Args:
        schedule: What the factory returned.
        optimizer: Its groups have the rates of the first step.
        name: Name and origin of the scheduler, for messages.
        steps: Optimizer steps that the schedule was made for; after them the rates and the loss weight stay.
        locate: Gives the line of a plugin that an error comes from, or nothing.

    Raises:
        PluginError: If the first rates are no rates.
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
        except TrainingError as error:  # nothing was trained yet
            raise PluginError(error.message, hint="Choose another with --scheduler.") from None

    def advance(self, step: int, figures: dict[str, float]) -> None:
        """Step the schedule once, ``step`` optimizer steps after the start of the training.

        Raises:
            TrainingError: If it raises, or leaves a rate that is none; the schedule is then as it was before.
        """
        if step > self._steps and self.schedule.interval == "step":
            return
        monitor, scheduler = self.schedule.monitor, self.schedule.scheduler
        before = copy.deepcopy(scheduler.state_dict())
        rates = [group["lr"] for group in self._optimizer.param_groups]
        try:
            scheduler.step(*(() if monitor is None else (figures[monitor],)))
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
        """Bring a fresh schedule to the step that was reached; one that follows a figure starts anew."""
        if self.schedule.monitor is None:
            # torch warns of a scheduler that steps before its optimizer, which is what must happen here
            self.schedule.scheduler.optimizer._opt_called = True
            for step in range(1, steps + 1):
                self.advance(step, {})

    def loss_weight(self, step: int) -> float | None:
        """Weight of the Poisson likelihood in optimizer step ``step``, from 0; None where the schedule has no say.

        Raises:
            TrainingError: If the schedule raises, or gives no number in [0, 1].
        """
        if self.schedule.loss_weight is None:
            return None
        reached = int(min(step, self._steps))
        try:
            weight = float(self.schedule.loss_weight(reached))
        except (Exception, SystemExit) as error:
            raise TrainingError(
                f"before optimizer step {reached + 1}: {self._name} failed in loss_weight{self._locate(error)}:"
                f" {one_line(error)}.",
                hint=_HINT,
            ) from error
        if not 0.0 <= weight <= 1.0:
            raise TrainingError(
                f"before optimizer step {reached + 1}: {self._name} set the loss weight {weight}, expected 0 to 1.",
                hint=_HINT,
            )
        return weight

    def _check_rates(self, when: str) -> None:
        rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        if not all(0.0 <= rate < math.inf for rate in rates):
            raise TrainingError(
                f"{when}: {self._name} set the learning rates {rates}, expected finite numbers, at least 0.", hint=_HINT
            )


_HINT = "To go on with another scheduler, add --resume-schedule config --scheduler Default. Report it to its author."
