"""``Default``: a constant learning rate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ptycho_cli.config.settings_group import Options
from ptycho_cli.extend.closed_form import closed_form
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

if TYPE_CHECKING:
    from torch.optim import Optimizer


class DefaultOptions(Options):
    """No options."""


def build_default(optimizer: Optimizer, span: Span, options: DefaultOptions) -> Schedule:
    """The base rate b at every step."""
    return Schedule(closed_form(optimizer, lambda step: 1.0))


DEFAULT = SchedulerEntry(
    name="Default", summary="Keep the learning rate constant.", options=DefaultOptions, build=build_default
)
