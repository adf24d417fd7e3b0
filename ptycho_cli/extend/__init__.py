"""Everything that a plugin author imports."""

from ptycho_cli.config.schema import Options
from ptycho_cli.extend.specs import (
    API_VERSION,
    CallbackContext,
    CallbackEntry,
    Schedule,
    SchedulerEntry,
    Span,
    hookimpl,
)

__all__ = [
    "API_VERSION",
    "CallbackContext",
    "CallbackEntry",
    "Options",
    "Schedule",
    "SchedulerEntry",
    "Span",
    "hookimpl",
]
