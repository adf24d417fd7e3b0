"""``ptycho plugins``: list the installed plugins, and check them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from ptycho_cli.cli.commands import COMMANDS
from ptycho_cli.cli.common_options import AsJson, NoPlugin, load_plugins_without
from ptycho_cli.cli.output import print_json
from ptycho_cli.cli.typer_command import CommandGroup
from ptycho_cli.errors import PluginError
from ptycho_cli.installed_plugins import COMMAND_GROUP, declared_commands
from ptycho_cli.render.console import print_text

if TYPE_CHECKING:
    from ptycho_cli.extend.host import Host
    from ptycho_cli.extend.load import PluginRecord

app = CommandGroup()


@app.command("list")
def list_plugins(as_json: AsJson = False, no_plugin: NoPlugin = None) -> None:
    """List the installed plugins: what each offers, and if it was loaded."""
    host = load_plugins_without(no_plugin)
    if as_json:
        print_json([record.as_json() for record in host.plugins])
        return
    from ptycho_cli.render.plugin_tables import print_plugins

    print_plugins(host.plugins)


@app.command("check")
def check_plugins(as_json: AsJson = False, no_plugin: NoPlugin = None) -> None:
    """Find plugins that fail, that slow down every command, or that offer the same names.

    Exit code 2 if anything is found.
    """
    host = load_plugins_without(no_plugin)
    found = {record: _problems(record, host) for record in host.plugins[1:]}
    if as_json:
        print_json(
            {
                "plugins": [{**record.as_json(), "problems": problems} for record, problems in found.items()],
                "ok": not any(found.values()),
            }
        )
    else:
        _print_problems(found)
    if any(found.values()):
        raise typer.Exit(PluginError.exit_code)


def _problems(record: PluginRecord, host: Host) -> list[str]:
    """Problems of one plugin, one line each."""
    if record.status == "blocked":
        return []
    if record.status == "failed":
        return [f"{record.error}.{f' {record.hint}' if record.hint else ''}"]
    return [*_slow_imports(record), *_undeclared(record), *_clashes(record, host)]


def _slow_imports(record: PluginRecord) -> list[str]:
    """Problems with slow imports, found in a separate process: here another module may have imported them."""
    from ptycho_cli.extend.import_check import import_cost

    return import_cost(record.value.partition(":")[0].strip()).problems()


def _undeclared(record: PluginRecord) -> list[str]:
    """Commands that the metadata does not name, so that ``ptycho --help`` cannot list them."""
    declared = {item.name for item in declared_commands() if item.distribution == record.distribution}
    way_out = f"Declare it in the group {COMMAND_GROUP} of its entry points."
    return [
        f"`ptycho --help` does not list its command {name}. {way_out}"
        for kind, name in record.offered
        if kind == "command" and name not in declared
    ]


def _clashes(record: PluginRecord, host: Host) -> list[str]:
    catalogue = host.catalogue()
    lines = []
    for kind, name in record.offered:
        if kind == "command" and name in COMMANDS:
            lines.append(f"ptycho has a command {name} of its own. Users must type {record.distribution}:{name}.")
        # nobody types the name of a reader, which is chosen by the content of a file
        way_out = "Leave one of them out." if kind == "reader" else f"Users must type {record.distribution}:{name}."
        for other in catalogue.of(kind):
            if other.name.casefold() == name.casefold() and other.distribution != record.distribution:
                lines.append(f"{other.origin} offers the {kind} {other.name} too. {way_out}")
    return lines


def _print_problems(found: dict[PluginRecord, list[str]]) -> None:
    if not found:
        print_text("Only the built-in plugin is installed.")
    for record, problems in found.items():
        if not problems:
            print_text(f"{record.title}: {'blocked, not checked' if record.status == 'blocked' else 'ok'}")
        for line in problems:
            print_text(f"{record.title}: {line}")
