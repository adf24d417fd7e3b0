"""Everything that a plugin author imports."""

from ptycho_cli.config.settings_group import Options
from ptycho_cli.errors import ConfigError, DataError
from ptycho_cli.extend.closed_form import closed_form
from ptycho_cli.extend.lengths import Length, PositiveLength
from ptycho_cli.extend.specs import (
    API_VERSION,
    CallbackContext,
    CallbackEntry,
    CommandEntry,
    NetworkContext,
    NetworkEntry,
    ReaderEntry,
    Schedule,
    SchedulerEntry,
    Span,
    WeightsEntry,
    hookimpl,
)

__all__ = [
    "API_VERSION",
    "CallbackContext",
    "CallbackEntry",
    "CommandEntry",
    "ConfigError",
    "DataError",
    "Length",
    "NetworkContext",
    "NetworkEntry",
    "Options",
    "PositiveLength",
    "ReaderEntry",
    "Schedule",
    "SchedulerEntry",
    "Span",
    "WeightsEntry",
    "closed_form",
    "hookimpl",
]
