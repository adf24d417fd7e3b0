"""Commands that plugins bring, built when a user types one."""

from __future__ import annotations

from typing import Any

import typer

from ptycho_cli.cli.commands import COMMANDS
from ptycho_cli.cli.typer_command import Command
from ptycho_cli.config.catalogue import matching
from ptycho_cli.config.nearest import did_you_mean
from ptycho_cli.errors import PluginError
from ptycho_cli.extend.attribution import call_factory
from ptycho_cli.extend.host import Host, load_plugins
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.extend.specs import CommandEntry


def plugin_command(name: str) -> Any | None:
    """Build the command of a plugin; None if no plugin offers it and none was left out.

    Raises:
        PluginError: If two plugins offer it, its ``build`` fails, or it may be that of a plugin that was left out.
    """
    host = load_plugins()
    catalogue = host.catalogue()
    if not matching(catalogue.of(CommandEntry.kind), name):
        if catalogue.broken or catalogue.blocked:
            raise PluginError(f"there is no command {name!r}.", hint=_hint(name, host))
        return None
    found = host.find(CommandEntry, name)
    built = call_factory(found.entry.build, found.title, "Use another command")
    return _as_command(built, found, name)


def _hint(name: str, host: Host) -> str:
    """The nearest commands, and the plugins that were left out, whose command it may be."""
    catalogue = host.catalogue()
    blocked = [f"Blocked: {', '.join(catalogue.blocked)}."] if catalogue.blocked else []
    near = did_you_mean(name, [*COMMANDS, *(entry.name for entry in catalogue.of(CommandEntry.kind))])
    left_out = [f"{line[:1].upper()}{line[1:].rstrip('.')}." for line in catalogue.broken]
    return " ".join(filter(None, (near, *left_out, *blocked)))


def _as_command(built: Any, found: RegisteredEntry[CommandEntry], name: str) -> Any:
    """The command of typer for what ``build`` returned: a function, or a group of commands."""
    if isinstance(built, typer.Typer):
        app = built
    elif callable(built):
        app = typer.Typer(add_completion=False)
        app.command(name, cls=Command, short_help=found.entry.summary)(built)
    else:
        what = f"returned a {type(built).__name__}, expected a function or a typer.Typer"
        raise PluginError(f"{found.title}: its 'build' {what}.", hint="Report it to the author of its distribution.")
    command = call_factory(lambda: typer.main.get_command(app), found.title, "Use another command")
    command.name, command.help = name, command.help or found.entry.summary
    return command
