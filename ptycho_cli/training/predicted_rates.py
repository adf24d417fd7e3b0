"""Learning rates and loss weights of a whole training, from its scheduler alone."""

from __future__ import annotations

from typing import Any, NamedTuple

from ptycho_cli.assembly.schedule import OptimizerRates, build_schedule
from ptycho_cli.extend.learning_rates import small_optimizer
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span
from ptycho_cli.training.schedule_stepper import ScheduleStepper


class Predicted(NamedTuple):
    """A schedule, and its optimizer steps.

    Attributes:
        schedule: The schedule that was built.
        rates: Learning rates of all groups at each step.
        loss_weights: Weight of the Poisson likelihood at each step; None where the schedule sets none.
    """

    schedule: Schedule
    rates: list[list[float]]
    loss_weights: list[float | None]


def predict(
    scheduler: RegisteredEntry[SchedulerEntry], options: Any, rates: OptimizerRates, span: Span, steps: int
) -> Predicted:
    """Step a schedule as a training does, with losses that never improve.

    Args:
        scheduler: The scheduler, and the distribution that offers it.
        options: Its validated options.
        rates: Base rates.
        span: Length of the training that the schedule is built for.
        steps: Optimizer steps to make, from the first.

    Raises:
        PluginError: If the schedule cannot be built.
        TrainingError: If it fails at a step.
    """
    base_rates = [rate for rate in (rates.network, rates.probe) if rate > 0.0]
    optimizer = small_optimizer(base_rates)
    schedule = build_schedule(scheduler, options, optimizer, span)
    optimizer._opt_called = True  # type: ignore[attr-defined]  # torch warns if a scheduler steps without its optimizer
    kept = None if scheduler.entry.per_group else base_rates
    stepper = ScheduleStepper(schedule, optimizer, name=scheduler.title, base_rates=kept, steps=span.total_steps)
    found = Predicted(schedule, [], [])
    for step in range(steps):
        found.rates.append([float(group["lr"]) for group in optimizer.param_groups])
        found.loss_weights.append(stepper.loss_weight(step))
        if step + 1 < steps and (schedule.interval == "step" or (step + 1) % span.steps_per_epoch == 0):
            stepper.advance(step + 1, dict.fromkeys(("train_loss", "val_loss"), 1.0))
    return found
