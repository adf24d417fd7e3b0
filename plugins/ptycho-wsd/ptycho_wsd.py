"""The scheduler ``WSD``: a warm-up, a constant learning rate for most of the training, and a decay at its end."""

from __future__ import annotations

from collections.abc import Iterable
from math import cos, pi, sqrt
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ptycho_cli.extend import ConfigError, Length, Options, Schedule, SchedulerEntry, Span, closed_form, hookimpl

if TYPE_CHECKING:
    from torch.optim import Optimizer

ptycho_plugin_api = 1


class WSDOptions(Options):
    """Lengths and shapes of the three phases."""

    warmup: Length = Field(Length.parse("5%"), description="Length of the linear rise to the base rate.")
    decay: Length = Field(Length.parse("20%"), description="Length of the decay at the end of the training.")
    shape: Literal["sqrt", "linear", "cosine"] = Field(
        "sqrt", description="Shape of the decay; sqrt falls fastest at its start."
    )
    min_ratio: float = Field(
        0.0, ge=0.0, le=1.0, description="Learning rate at the end of the decay, relative to the base rate."
    )


def build_wsd(optimizer: Optimizer, span: Span, options: WSDOptions) -> Schedule:
    """b * (t + 1) / W over a warm-up of W steps, b, then b * (min_ratio + (1 - min_ratio) * f(p)) over the decay.

    The progress p of the decay is 0 at its first step and would be 1 one step after the last, so no step has a
    rate of zero. f is ``1 - sqrt(p)``, ``1 - p`` or ``(1 + cos(pi p)) / 2``.

    Raises:
        ConfigError: If warm-up and decay are longer than the training.

    Source: Hu et al. (2024), arXiv:2404.06395; the square root: Hägele et al. (2024), arXiv:2405.18392.
    """
    warmup, decay, total = options.warmup.steps(span), options.decay.steps(span), span.total_steps
    if warmup + decay > total:
        raise ConfigError(
            f"scheduler.options: warmup {options.warmup} ({warmup} steps) and decay {options.decay} ({decay} steps)"
            f" are longer than the training of {total} steps.",
            hint="Shorten one of them, or train for more epochs.",
        )
    shapes = {"sqrt": lambda p: 1.0 - sqrt(p), "linear": lambda p: 1.0 - p, "cosine": lambda p: (1 + cos(pi * p)) / 2}
    shape, low = shapes[options.shape], options.min_ratio

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if step < total - decay or decay == 0:
            return 1.0
        return low + (1.0 - low) * float(shape(min(1.0, (step - (total - decay)) / decay)))

    return Schedule(closed_form(optimizer, factor))


WSD = SchedulerEntry(
    name="WSD", summary="Warm up, keep the rate constant, and decay at the end.", options=WSDOptions, build=build_wsd
)


@hookimpl
def ptycho_schedulers() -> Iterable[SchedulerEntry]:
    """Offer ``WSD``."""
    yield WSD
