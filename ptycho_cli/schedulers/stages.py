"""``MultiStage`` and ``Adaptive``: three stages that change the loss and the learning rate together.

Stage 1 uses the normalised amplitude loss, stage 3 the Poisson likelihood. In stage 2 the weight of
the likelihood rises from 0 to 1.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import cos, pi
from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from ptycho_cli.config.settings_group import Options
from ptycho_cli.errors import ConfigError
from ptycho_cli.extend.closed_form import closed_form
from ptycho_cli.extend.lengths import Length
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from torch.optim import Optimizer

Ramp = Literal["linear", "cosine", "quadratic"]


@dataclass(frozen=True, slots=True)
class StagePlan:
    """The stages in optimizer steps, and the loss weight in each.

    Attributes:
        first: Optimizer steps of stage 1.
        second: Optimizer steps of stage 2.
        ramp: Shape of the loss weight in stage 2.
    """

    first: int
    second: int
    ramp: Ramp

    def progress(self, step: int) -> float:
        """Progress through stage 2 at step ``step``: 0 up to its first step, 1 from the first step of stage 3."""
        if step < self.first:
            return 0.0
        if step >= self.first + self.second:
            return 1.0
        return (step - self.first) / self.second

    def loss_weight(self, step: int) -> float:
        """Weight w in [0, 1] of the Poisson likelihood at optimizer step ``step``."""
        progress = self.progress(step)
        if self.ramp == "linear":
            return progress
        return progress**2 if self.ramp == "quadratic" else (1.0 - cos(pi * progress)) / 2.0


class StageOptions(Options):
    """The three stages."""

    stage_1: Length = Field(Length.parse("40%"), description="Length of stage 1, which uses the amplitude loss.")
    stage_2: Length = Field(
        Length.parse("30%"), description="Length of stage 2, from the amplitude loss to the Poisson likelihood."
    )
    ramp: Ramp = Field("cosine", description="Shape of the Poisson likelihood's weight w during stage 2.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        """Percentages can be checked before the length of the training is known."""
        if self.stage_1.unit == self.stage_2.unit == "%" and self.stage_1.amount + self.stage_2.amount > 100:
            raise ValueError(f"stage_1 {self.stage_1} and stage_2 {self.stage_2} are more than the whole training")
        return self

    def plan(self, span: Span) -> StagePlan:
        """The plan in optimizer steps.

        Raises:
            ConfigError: If stages 1 and 2 are longer than the training.
        """
        first, second = self.stage_1.steps(span), self.stage_2.steps(span)
        if first + second > span.total_steps + 1:  # rounding two halves can add one step
            raise ConfigError(
                f"scheduler.options: stage_1 {self.stage_1} ({first} steps) and stage_2 {self.stage_2} ({second} steps)"
                f" are longer than the training of {span.total_steps} steps.",
                hint="Shorten a stage, or train for more epochs.",
            )
        return StagePlan(first, second, self.ramp)


class MultiStageOptions(StageOptions):
    """The stages, and the learning rate of stage 3."""

    factor: float = Field(0.1, gt=0.0, le=1.0, description="Learning rate of stage 3, relative to the base rate.")


class AdaptiveOptions(StageOptions):
    """The stages, and the learning rates of stages 2 and 3."""

    start: float = Field(
        0.5, gt=0.0, le=1.0, description="Learning rate at the start of stage 2, relative to the base rate."
    )
    end: float = Field(0.1, gt=0.0, le=1.0, description="Learning rate of stage 3, relative to the base rate.")


def build_multi_stage(optimizer: Optimizer, span: Span, options: MultiStageOptions) -> Schedule:
    """Base rate b in stage 1, a cosine from b to b * factor in stage 2, b * factor in stage 3."""
    plan, last = options.plan(span), options.factor

    def factor(step: int) -> float:
        return last + (1.0 - last) * (1.0 + cos(pi * plan.progress(step))) / 2.0

    return Schedule(closed_form(optimizer, factor), loss_weight=plan.loss_weight)


def build_adaptive(optimizer: Optimizer, span: Span, options: AdaptiveOptions) -> Schedule:
    """Base rate b in stage 1; then b * (start - (start - end) * w), with the loss weight w."""
    plan, start, end = options.plan(span), options.start, options.end

    def factor(step: int) -> float:
        return 1.0 if step < plan.first else start - (start - end) * plan.loss_weight(step)

    return Schedule(closed_form(optimizer, factor), loss_weight=plan.loss_weight)


MULTI_STAGE = SchedulerEntry(
    name="MultiStage",
    summary="Change from the amplitude loss to the Poisson likelihood while the rate falls along a cosine.",
    options=MultiStageOptions,
    build=build_multi_stage,
    staged=True,
)
ADAPTIVE = SchedulerEntry(
    name="Adaptive",
    summary="Change from the amplitude loss to the Poisson likelihood"
    " while the rate follows the weight of the likelihood.",
    options=AdaptiveOptions,
    build=build_adaptive,
    staged=True,
)
