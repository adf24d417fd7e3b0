"""``Exponential``: multiply the learning rate by gamma at equal intervals."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ptycho_cli.config.settings_group import Options
from ptycho_cli.extend.closed_form import closed_form
from ptycho_cli.extend.lengths import Length, PositiveLength
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from torch.optim import Optimizer


class ExponentialOptions(Options):
    """Factor and interval of the decay."""

    gamma: float = Field(0.95, gt=0.0, le=1.0, description="Factor by which the learning rate is multiplied.")
    every: PositiveLength = Field(
        Length.parse("1ep"), description="Interval between two multiplications; 1 multiplies at every optimizer step."
    )


def build_exponential(optimizer: Optimizer, span: Span, options: ExponentialOptions) -> Schedule:
    """``b * gamma ** floor(t / every)`` at optimizer step t, with ``every`` at least one step."""
    every = max(1, options.every.steps(span))
    gamma = options.gamma
    return Schedule(closed_form(optimizer, lambda step: float(gamma ** (step // every))))


EXPONENTIAL = SchedulerEntry(
    name="Exponential",
    summary="Multiply the learning rate by gamma every epoch.",
    options=ExponentialOptions,
    build=build_exponential,
)
