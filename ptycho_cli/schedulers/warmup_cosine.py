"""``WarmupCosine``: a linear rise, then half a cosine that falls until the last step."""

from __future__ import annotations

from math import cos, pi
from typing import TYPE_CHECKING

from pydantic import Field

from ptycho_cli.config.settings_group import Options
from ptycho_cli.errors import ConfigError
from ptycho_cli.extend.closed_form import closed_form
from ptycho_cli.extend.lengths import Length
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from torch.optim import Optimizer


class WarmupCosineOptions(Options):
    """The warm-up and the cosine."""

    warmup: Length = Field(Length.parse(0), description="Length of the linear rise to the base rate.")
    start: float = Field(
        0.1, ge=0.0, le=1.0, description="Learning rate at the first step of the warm-up, relative to the base rate."
    )
    min_ratio: float = Field(
        0.1, ge=0.0, le=1.0, description="Learning rate at the last step, relative to the base rate."
    )


def build_warmup_cosine(optimizer: Optimizer, span: Span, options: WarmupCosineOptions) -> Schedule:
    """Rise from b * start at step 0 to b at step ``warmup``, then fall to b * min_ratio at the last step.

    Raises:
        ConfigError: If the warm-up is as long as the training or longer.
    """
    warmup, last = options.warmup.steps(span), span.total_steps - 1
    start, low = options.start, options.min_ratio
    if warmup > last:
        raise ConfigError(
            f"scheduler.options.warmup: {options.warmup} is {warmup} steps,"
            f" expected fewer than the {span.total_steps} steps of the training.",
            hint="Shorten the warm-up, or train for more epochs.",
        )

    def factor(step: int) -> float:
        if step < warmup:
            return start + (1.0 - start) * step / warmup
        if last == warmup:  # the only step after the warm-up
            return 1.0
        progress = min(1.0, (step - warmup) / (last - warmup))
        return low + (1.0 - low) * (1.0 + cos(pi * progress)) / 2.0

    return Schedule(closed_form(optimizer, factor))


_SUMMARY = "Rise linearly during a warm-up, then fall along a cosine until the last step."
WARMUP_COSINE = SchedulerEntry(
    name="WarmupCosine", summary=_SUMMARY, options=WarmupCosineOptions, build=build_warmup_cosine
)
