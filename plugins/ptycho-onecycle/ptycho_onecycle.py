"""The schedulers ``OneCycle`` and ``CosineRestarts``."""

from __future__ import annotations

from collections.abc import Iterable
from math import cos, pi
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ptycho_cli.extend import (
    ConfigError,
    Length,
    Options,
    PositiveLength,
    Schedule,
    SchedulerEntry,
    Span,
    closed_form,
    hookimpl,
)

if TYPE_CHECKING:
    from torch.optim import Optimizer

ptycho_plugin_api = 1


class OneCycleOptions(Options):
    """The shape of the cycle; its peak is the base learning rate."""

    rise: PositiveLength = Field(Length.parse("30%"), description="Length of the rise to the base rate.")
    div_factor: float = Field(25.0, ge=1.0, description="Base rate divided by the rate of the first step.")
    final_div_factor: float = Field(
        1e4, ge=1.0, description="Rate of the first step divided by the rate of the last step."
    )
    anneal: Literal["cos", "linear"] = Field("cos", description="Shape of the rise and of the fall.")


def build_one_cycle(optimizer: Optimizer, span: Span, options: OneCycleOptions) -> Schedule:
    """Rise from b / div_factor to b, then fall to b / (div_factor * final_div_factor) at the last step.

    The peak is at step ``rise - 1``, as in torch's ``OneCycleLR`` with ``cycle_momentum=False``. If the
    rise is one step, the training starts at the peak.

    Raises:
        ConfigError: If the rise is as long as the training or longer.

    Source: Smith and Topin (2017), arXiv:1708.07120.
    """
    peak, last = options.rise.steps(span) - 1, span.total_steps - 1
    if peak >= last:
        raise ConfigError(
            f"scheduler.options.rise: {options.rise} is {peak + 1} steps,"
            f" expected fewer than the {span.total_steps} steps of the training.",
            hint="Shorten the rise, or train for more epochs.",
        )
    first = 1.0 / options.div_factor
    final = first / options.final_div_factor

    def between(begin: float, end: float, progress: float) -> float:
        if options.anneal == "linear":
            return begin + (end - begin) * progress
        return end + (begin - end) * (1.0 + cos(pi * progress)) / 2.0

    def factor(step: int) -> float:
        if step < peak:
            return between(first, 1.0, step / peak)
        return between(1.0, final, min(1.0, (step - max(0, peak)) / (last - max(0, peak))))

    return Schedule(closed_form(optimizer, factor))


class CosineRestartsOptions(Options):
    """The cycles of SGDR (stochastic gradient descent with warm restarts)."""

    period: PositiveLength = Field(Length.parse("25%"), description="Length of the first cycle.")
    growth: int = Field(1, ge=1, description="Length of a cycle divided by the length of the previous one.")
    min_ratio: float = Field(
        0.0, ge=0.0, le=1.0, description="Learning rate at the end of a cycle, relative to the base rate."
    )


def build_cosine_restarts(optimizer: Optimizer, span: Span, options: CosineRestartsOptions) -> Schedule:
    """Half a cosine from b to b * min_ratio in each cycle; each cycle starts at b again.

    Source: Loshchilov and Hutter (2017), arXiv:1608.03983.
    """
    period = max(1, options.period.steps(span))
    growth, low = options.growth, options.min_ratio

    def factor(step: int) -> float:
        length, within = period, step
        if growth == 1:
            within %= length
        while within >= length:
            within -= length
            length *= growth
        return low + (1.0 - low) * (1.0 + cos(pi * within / length)) / 2.0

    return Schedule(closed_form(optimizer, factor))


ONE_CYCLE = SchedulerEntry(
    name="OneCycle",
    summary="Rise to the base rate, then fall again.",
    options=OneCycleOptions,
    build=build_one_cycle,
)
COSINE_RESTARTS = SchedulerEntry(
    name="CosineRestarts", summary="Restart a cosine decay.", options=CosineRestartsOptions, build=build_cosine_restarts
)


@hookimpl
def ptycho_schedulers() -> Iterable[SchedulerEntry]:
    """Offer both schedulers."""
    return (ONE_CYCLE, COSINE_RESTARTS)
