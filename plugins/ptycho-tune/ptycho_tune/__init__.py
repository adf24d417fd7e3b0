"""The command ``ptycho tune``: search for the settings under which a training explains held-out frames best."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from ptycho_cli.extend import CommandEntry, hookimpl

ptycho_plugin_api = 1


def build_tune() -> Callable[..., Any]:
    """The function of the command; Optuna is loaded when it runs."""
    from ptycho_tune.command import command

    return command


TUNE = CommandEntry("tune", "Search for the settings of a training that explain held-out frames best.", build_tune)


@hookimpl
def ptycho_commands() -> Iterable[CommandEntry]:
    """Offer ``tune``."""
    yield TUNE
