"""Step a schedule, which may come from a plugin, check its rates after every step, and name it in errors.

A schedule of T steps is asked for these alone, so a table with T rates suffices: after the last optimizer step it is
not stepped. If a resumed run has more steps, that step is made up for.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from ptycho_cli.errors import PluginError, TrainingError
from ptycho_cli.extend.specs import Schedule
from ptycho_cli.plugin_code import one_line, plugin_code

_HINT = "To resume with another scheduler, add --resume-schedule config --scheduler Default. Report it to its author."


class ScheduleStepper:
    """A schedule and the optimizer whose learning rates it sets.

    Args:
        schedule: What the scheduler's factory returned.
        optimizer: Its groups have the rates of the first step.
        name: Name and origin of the scheduler, for messages.
        base_rates: Base rate of each group, in their order. The schedule must multiply them by one factor; None allows
            a factor for each group.
        steps: Optimizer steps that the schedule was made for; afterwards rates and loss weight stay constant.
        locate: Gives the line of a plugin that an error comes from, or an empty text.

    Raises:
        PluginError: If the first rates are negative or not finite, or if groups have different factors.
    """

    def __init__(
        self,
        schedule: Schedule,
        optimizer: Optimizer,
        *,
        name: str,
        base_rates: Sequence[float] | None = None,
        steps: float = math.inf,
        locate: Callable[[BaseException], str] = lambda error: "",
    ) -> None:
        self.schedule, self._optimizer, self._name, self._steps = schedule, optimizer, name, steps
        self._base_rates, self._locate = base_rates, locate
        try:
            self._check_rates("before optimizer step 1")
        except TrainingError as error:  # nothing is trained yet, so it is wrong input
            raise PluginError(error.message, hint="Choose another scheduler.") from None

    def advance(self, step: int, losses: Mapping[str, float]) -> None:
        """Step the schedule once, unless it has no rate for the next optimizer step.

        Args:
            step: Optimizer steps applied so far, counted over the whole run.
            losses: Values that a schedule may monitor.

        Raises:
            TrainingError: If the schedule raises, or sets a rate that is negative or not finite, or scales groups by
                different factors; schedule and rates are then restored.
        """
        if self.ends_at(step):
            return
        monitor, scheduler = self.schedule.monitor, self.schedule.scheduler
        with plugin_code():
            before = copy.deepcopy(scheduler.state_dict())
        rates = [group["lr"] for group in self._optimizer.param_groups]
        try:
            with plugin_code():
                scheduler.step(*(() if monitor is None else (losses[monitor],)))
            self._check_rates(f"after optimizer step {step}", [float(rate) for rate in rates])
        except Exception as error:
            scheduler.load_state_dict(before)
            for group, rate in zip(self._optimizer.param_groups, rates, strict=True):
                group["lr"] = rate
            if isinstance(error, TrainingError):
                raise
            raise TrainingError(
                f"after optimizer step {step}: {self._name} failed in step{self._locate(error)}: {one_line(error)}.",
                hint=_HINT,
            ) from error

    def ends_at(self, step: int) -> bool:
        """True if the schedule has no rate for what follows optimizer step ``step``; what follows a loss never ends."""
        return step >= self._steps and self.schedule.monitor is None

    def repeat(self, step: int, losses: Mapping[str, float]) -> None:
        """Make up for a step that an earlier process left out, because the schedule failed or was at its end."""
        self._without_optimizer()
        self.advance(step, losses)

    def catch_up(self, steps: int, steps_per_epoch: int) -> None:
        """Bring a new schedule to the step that a run has reached; one that monitors a loss starts again."""
        if self.schedule.monitor is None:
            self._without_optimizer()
            every = 1 if self.schedule.interval == "step" else steps_per_epoch
            for step in range(every, steps + 1, every):
                self.advance(step, {})

    def _without_optimizer(self) -> None:
        """Keep torch from warning that a scheduler steps before its optimizer, which is intended here."""
        self._optimizer._opt_called = True  # type: ignore[attr-defined]

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
        reached = int(min(step, self._steps - 1))
        when = f"before optimizer step {reached + 1}"
        try:
            with plugin_code():
                weight = float(self.schedule.loss_weight(reached))
        except Exception as error:
            raise TrainingError(
                f"{when}: {self._name} failed in loss_weight{self._locate(error)}: {one_line(error)}.", hint=_HINT
            ) from error
        if not 0.0 <= weight <= 1.0:
            raise TrainingError(f"{when}: {self._name} set the loss weight {weight}, expected 0 to 1.", hint=_HINT)
        return weight

    def _check_rates(self, when: str, before: Sequence[float] | None = None) -> None:
        """Refuse rates that a step set; not for their factors if a callback had changed these ``before``."""
        rates = [float(group["lr"]) for group in self._optimizer.param_groups]
        if not all(0.0 <= rate < math.inf for rate in rates):
            raise TrainingError(
                f"{when}: {self._name} set the learning rates {rates}, expected finite numbers, at least 0.", hint=_HINT
            )
        if not self._one_factor(before):
            return  # a callback changed the rates
        if not self._one_factor(rates):
            raise TrainingError(
                f"{when}: {self._name} multiplies the base rates of {self._groups()} by "
                f"{' and '.join(f'{factor:.6g}' for factor in self._factors(rates))}, expected one factor, since its "
                "entry does not declare per_group.",
                hint=_HINT,
            )

    def _one_factor(self, rates: Sequence[float] | None) -> bool:
        factors = self._factors(rates)
        return all(math.isclose(factor, factors[0], rel_tol=1e-6, abs_tol=1e-9) for factor in factors)

    def _factors(self, rates: Sequence[float] | None) -> list[float]:
        """Rates relative to the base rates; empty if each group may have a factor of its own."""
        pairs = zip(rates or (), self._base_rates or (), strict=False)
        return [rate / base for rate, base in pairs if base > 0.0]

    def _groups(self) -> str:
        return " and ".join(str(group.get("name", "a group")) for group in self._optimizer.param_groups)
