"""The help of every command: at any width no word is broken and no flag is cut."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import typer

from ptycho_cli.cli.app import app, main
from ptycho_cli.cli.commands import COMMANDS, load_command

BOX = str.maketrans(dict.fromkeys("│╭╮╰╯─", " "))
FRAME = "* [required] Usage: [OPTIONS] COMMAND [ARGS]... Arguments Options Commands Show this message and exit."


def every_command() -> Iterator[tuple[str, ...]]:
    yield ()
    for name in COMMANDS:
        yield (name,)
        yield from ((name, part) for part in getattr(load_command(name), "commands", {}))


def command_of(path: tuple[str, ...]) -> Any:
    command = load_command(path[0]) if path else typer.main.get_command(app)
    return command.commands[path[1]] if len(path) > 1 else command


def parts_of(parameter: Any) -> list[str]:
    """Flags and metavar, none of which may be broken."""
    if parameter.param_type_name == "argument":
        return [parameter.metavar]
    return [*parameter.opts, *parameter.secondary_opts, *([parameter.metavar] if parameter.metavar else [])]


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("path", list(every_command()), ids=" ".join)
def test_help_breaks_no_word_and_cuts_no_flag(
    path: tuple[str, ...], columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    command = command_of(path)
    parameters = command.get_params(typer.Context(command, **command.context_settings))
    shown = [item for item in parameters if not getattr(item, "hidden", False)]
    usage = [form.format(item.metavar) for item in shown for form in ("{}", "[{}]", "[{}]...", "{}...")]
    titles = [getattr(item, "rich_help_panel", None) or "" for item in shown]
    listed = [f"{name} {each.help}" for name, each in getattr(command, "commands", {}).items()]
    known = " ".join([FRAME, "ptycho", *path, command.help, *usage, *titles, *listed])
    known += " ".join(["", *(f"{item.help} {' '.join(parts_of(item))}" for item in shown)])

    assert main([*path, "--help"]) == 0

    out = capsys.readouterr().out
    words = out.translate(BOX).split()
    assert set(words) <= set(known.split())
    for parameter in shown:
        assert set(parts_of(parameter)) <= set(words), parameter.name
    assert max(map(len, out.splitlines())) <= columns
