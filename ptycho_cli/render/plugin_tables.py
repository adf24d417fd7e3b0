"""Tables of plugins and of what they offer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TextIO

from ptycho_cli.config.values import option_expects, show
from ptycho_cli.render.console import print_folded, results_console

if TYPE_CHECKING:
    from pydantic import BaseModel
    from rich.table import Table

    from ptycho_cli.config.catalogue import EntryInfo
    from ptycho_cli.extend.load import PluginRecord


def _table(*titles: str) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, header_style="bold")
    for title in titles:
        table.add_column(title, overflow="fold")
    return table


def print_offers(offers: Sequence[EntryInfo], title: str, file: TextIO | None = None) -> None:
    """Print one row for each scheduler, callback or network: name, options, purpose and distribution."""
    table = _table(title, "options", "what it does", "from")
    for entry in offers:
        table.add_row(entry.name, _defaults(entry.options), entry.summary, f"{entry.distribution} {entry.version}")
    results_console(file).print(table)


def _defaults(model: type[BaseModel]) -> str:
    parts = []
    for name, info in model.model_fields.items():
        parts.append(name if info.is_required() else f"{name}={show(info.get_default(call_default_factory=True))}")
    return "\n".join(parts)


def print_options(
    options: BaseModel, typed: Iterable[str], steps: Mapping[str, int | list[int]], file: TextIO | None = None
) -> None:
    """Print one row for each option: value, resolved length, allowed values and meaning; typed ones are marked.

    Args:
        options: The options in force.
        typed: Names of those that the user set.
        steps: Lengths in optimizer steps, by option.
        file: Destination; standard output by default.
    """
    given = set(typed)
    table = _table("option", "value", "allowed", "meaning")
    for name, info in type(options).model_fields.items():
        value = show(getattr(options, name))
        if name in steps and value != (resolved := show(steps[name])):
            value += f" ({resolved} steps)"
        table.add_row(name + (" *" if name in given else ""), value, option_expects(info), info.description or "")
    if type(options).model_fields:
        results_console(file).print(table)
        if given:
            results_console(file).print("* set on the command line")


def options_as_json(model: type[BaseModel]) -> list[dict[str, Any]]:
    """Name, default, allowed values and meaning of every option, as plain values for JSON."""
    from ptycho_cli.config.values import jsonable

    return [
        {
            "name": name,
            "required": info.is_required(),
            "default": None if info.is_required() else jsonable(info.get_default(call_default_factory=True)),
            "allowed": option_expects(info),
            "description": info.description,
        }
        for name, info in model.model_fields.items()
    ]


def print_plugins(plugins: Sequence[PluginRecord], file: TextIO | None = None) -> None:
    """Print one row for each plugin: distribution, entry point, status and what it offers; then reasons of failures."""
    table = _table("plugin", "entry point", "status", "offers")
    for record in plugins:
        offers = "\n".join(f"{kind}: {', '.join(names)}" for kind, names in record.names().items() if names)
        table.add_row(f"{record.distribution} {record.version}", record.entry_point, record.status, offers)
    console = results_console(file)
    console.print(table)
    for record in plugins:
        if record.status == "failed":
            print_folded(console, record.line, style="red")
