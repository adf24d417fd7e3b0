"""The rates that a scheduler sets over a training, found by stepping it without training anything."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from torch.optim import Optimizer

BASE_RATES = (2e-3, 5e-4)


class Drive(NamedTuple):
    """A scheduler under way: the optimizer whose rates it sets, and what the factory returned."""

    optimizer: Optimizer
    schedule: Schedule


def span_of(batches: int, epochs: int, accumulate: int) -> Span:
    """The span of a training with so many batches an epoch, as the program computes it."""
    per_epoch = math.ceil(batches / accumulate)
    return Span(total_steps=per_epoch * epochs, steps_per_epoch=per_epoch, epochs=epochs)


def small_optimizer(rates: Sequence[float]) -> Optimizer:
    """Adam with one group, of one weight, for each base rate."""
    import torch

    groups = [{"params": [torch.nn.Parameter(torch.ones(1))], "lr": rate} for rate in rates]
    return torch.optim.Adam(groups, lr=rates[0])


def start(entry: SchedulerEntry, span: Span, options: Mapping[str, Any], rates: Sequence[float] = BASE_RATES) -> Drive:
    """Build a scheduler on a small optimizer with one group for each base rate."""
    optimizer = small_optimizer(rates)
    return Drive(optimizer, entry.build(optimizer, span, entry.options.model_validate(dict(options))))


def walk(
    drive: Drive, span: Span, steps: range, figure: Callable[[int], float] = lambda epoch: 1.0
) -> list[list[float]]:
    """The rates of all groups that each optimizer step in ``steps`` uses, as training steps the scheduler.

    ``figure`` is what a scheduler with a monitor is told after each epoch; by default it never improves.
    """
    optimizer, schedule = drive
    rates = []
    for step in steps:
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()  # without gradients it changes nothing
        if schedule.interval == "step":
            schedule.scheduler.step()
        elif (step + 1) % span.steps_per_epoch == 0:
            arguments = () if schedule.monitor is None else (figure(span.epoch_of(step)),)
            schedule.scheduler.step(*arguments)
    return rates


def curve(
    entry: SchedulerEntry, span: Span, options: Mapping[str, Any], rates: Sequence[float] = BASE_RATES
) -> list[list[float]]:
    """The rates of all groups at every optimizer step of a whole training."""
    return walk(start(entry, span, options, rates), span, range(span.total_steps))
