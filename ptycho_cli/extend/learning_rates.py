"""Learning rates of a scheduler over a whole training, computed by stepping it without training a network."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from torch.optim import Optimizer

GROUPS = ("network", "probe", "positions")
BASE_RATES = (2e-3, 5e-4)


class RunningSchedule(NamedTuple):
    """A schedule together with the optimizer whose learning rates it sets."""

    optimizer: Optimizer
    schedule: Schedule


def span_of(batches: int, epochs: int, accumulate: int) -> Span:
    """The span of a training with ``batches`` batches per epoch, as the program computes it."""
    per_epoch = math.ceil(batches / accumulate)
    return Span(total_steps=per_epoch * epochs, steps_per_epoch=per_epoch, epochs=epochs)


def small_optimizer(rates: Sequence[float]) -> Optimizer:
    """Adam with one group, of one weight, for each base rate, named as in a training."""
    import torch

    named = zip(GROUPS, rates, strict=False)
    groups = [{"name": name, "params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for name, rate in named]
    return torch.optim.Adam(groups, lr=rates[0])


def start_schedule(
    entry: SchedulerEntry, span: Span, options: Mapping[str, Any], rates: Sequence[float] = BASE_RATES
) -> RunningSchedule:
    """Build a scheduler on a small optimizer with one group for each base rate."""
    optimizer = small_optimizer(rates)
    return RunningSchedule(optimizer, entry.build(optimizer, span, entry.options.model_validate(dict(options))))


def run_steps(
    running: RunningSchedule, span: Span, steps: range, loss: Callable[[int], float] = lambda epoch: 1.0
) -> list[list[float]]:
    """Step a schedule as training does, and return the rates of all groups that each optimizer step uses.

    As in training, a schedule is not stepped after the last optimizer step, unless it monitors a loss.

    Args:
        running: The schedule, at the first of ``steps``.
        span: Length of the training.
        steps: Consecutive optimizer steps.
        loss: Epoch -> loss that a scheduler with a monitor receives; by default it never improves.
    """
    optimizer, schedule = running
    rates = []
    for step in steps:
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()  # changes nothing, because there are no gradients
        if step + 1 == span.total_steps and schedule.monitor is None:
            break
        if schedule.interval == "step":
            schedule.scheduler.step()
        elif (step + 1) % span.steps_per_epoch == 0:
            arguments = () if schedule.monitor is None else (loss(span.epoch_of(step)),)
            schedule.scheduler.step(*arguments)
    return rates


def curve(
    entry: SchedulerEntry, span: Span, options: Mapping[str, Any], rates: Sequence[float] = BASE_RATES
) -> list[list[float]]:
    """The rates of all groups at every optimizer step of a whole training."""
    return run_steps(start_schedule(entry, span, options, rates), span, range(span.total_steps))
