"""Typer's commands, with a parser that numbers arguments and a help without Python types.

The parser is typer's own. It runs once, and records the number of each argument beside its value, so that the
table of settings can say ``--scheduler (argument 3)``.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import typer
from typer._click.core import iter_params_for_processing  # typer offers no public parser
from typer._click.parser import _OptionParser
from typer.core import TyperArgument, TyperCommand, TyperGroup

if TYPE_CHECKING:
    from ptycho_cli.config.command_line import Typed

_INSTANT = ("ptycho inspect-config", "ptycho config")  # commands that compute nothing
_METAVARS = {int: "INTEGER", float: "NUMBER", Path: "FILE"}
_FOUND, _ARGUMENTS = "ptycho_cli.found", "ptycho_cli.arguments"  # keys of ctx.meta


_Function = TypeVar("_Function", bound=Callable[..., Any])


class _Word(str):
    """A word of the command line; ``number`` counts the words after ``ptycho``, from 1."""

    number: int


class _Parser(_OptionParser):
    """Typer's parser; ``found`` holds parameter, spelling, value and number of all that it read, arguments last."""

    def __init__(self, ctx: Any) -> None:
        super().__init__(ctx)
        self.found: list[tuple[Any, str, str | bool, int]] = []

    def _process_opts(self, arg: Any, state: Any) -> None:
        super()._process_opts(arg, state)
        option = state.order[-1]
        value = state.opts[option.name]
        spelling = arg.partition("=")[0] if arg.startswith("--") else arg[:2]
        self.found.append((option, spelling, value[-1] if option.multiple else value, arg.number))

    def _process_args_for_args(self, state: Any) -> None:
        super()._process_args_for_args(state)
        for argument in self._args:
            value = state.opts[str(argument.dest)]
            words = value or () if argument.nargs == -1 else () if value is None else (value,)
            self.found += [(argument.obj, str(argument.obj.metavar), word, word.number) for word in words]


def typed_settings(ctx: typer.Context) -> tuple[Typed, ...]:
    """The settings among a command's arguments; empty when a command is called from Python."""
    from ptycho_cli.config.command_line import Typed

    return tuple(
        Typed(spelling, value if isinstance(value, bool) else str(value), number)
        for parameter, spelling, value, number in ctx.meta.get(_FOUND, ())
        if not (parameter.expose_value or parameter.is_eager)
    )


def all_arguments(ctx: typer.Context) -> tuple[str, ...]:
    """The words after ``ptycho``: the command's name and its arguments."""
    arguments: tuple[str, ...] = ctx.meta[_ARGUMENTS]
    return arguments


class _PlainHelp:
    """Lets help flow to the terminal's width, and describes parameters without Python's types."""

    help: str | None

    def __init__(self, *args: Any, **attributes: Any) -> None:
        given = attributes.pop("context_settings", None) or {}
        attributes["context_settings"] = {"help_option_names": ["-h", "--help"], **given}
        super().__init__(*args, **attributes)
        paragraphs = (self.help or "").split("\n\n")
        self.help = "\n\n".join(" ".join(paragraph.split()) for paragraph in paragraphs)

    def get_params(self, ctx: Any) -> list[Any]:
        """All parameters, ``--help`` included, each with a plain description."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc]
        for parameter in parameters:
            _describe_plainly(parameter)
        return parameters


def _describe_plainly(parameter: Any) -> None:
    """Give a parameter a metavar such as ``INTEGER`` or ``a|b``, and write its default into its help, once."""
    if isinstance(parameter, TyperArgument):
        name = parameter.display_name_raw if parameter.required else f"[{parameter.display_name_raw}]"
        usage = name if parameter.nargs == 1 else f"{name}..."
        parameter._usage_display_name = lambda: usage  # type: ignore[method-assign]
        parameter.display_type_rich = lambda ctx: None  # type: ignore[method-assign]
        return
    kind = parameter.type_descriptor
    if parameter.is_flag:
        parameter.metavar = ""
    elif parameter.metavar is None:
        parameter.metavar = "|".join(kind.choices) if kind.choices else _METAVARS.get(kind.annotation, "TEXT")
    if parameter.show_default and parameter.default is not None and not parameter.is_flag:
        default = f"{parameter.default:g}" if isinstance(parameter.default, float) else parameter.default
        parameter.help = f"{parameter.help} (default {default})"
    parameter.show_default = False
    parameter._get_number_range_help_str = lambda: None


class Command(_PlainHelp, TyperCommand):
    """A command; its parameters that are settings are not passed on to its function (``expose_value=False``)."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse as typer does, but convert only what was typed and is no setting.

        Typer builds a validator for each parameter it converts, which takes longer than all else here. Settings
        stay text until all sources of settings are known.
        """
        names = ctx.command_path.split()
        ctx.meta[_ARGUMENTS] = (*names[1:], *args)
        words = [_Word(text) for text in args]
        for number, word in enumerate(words, len(names)):
            word.number = number
        parameters = self.get_params(ctx)
        parser = _Parser(ctx)
        for parameter in parameters:
            parameter.add_to_parser(parser, ctx)
        ctx.meta[_FOUND] = parser.found
        values, rest, order = parser.parse_args(list[str](words))
        passed_on = [item for item in parameters if item.expose_value or item.is_eager]
        for parameter in iter_params_for_processing(
            order, [item for item in passed_on if item.required or item in order]
        ):
            parameter.handle_parse_result(ctx, values, rest)
        if rest and not ctx.resilient_parsing:
            ctx.fail(f"Unexpected argument: {' '.join(rest)}")
        ctx.args = rest
        ctx._opt_prefixes.update(parser._opt_prefixes)
        return rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command, with garbage collection; Ctrl-C aborts it with a message, where typer would end silently."""
        if not ctx.command_path.startswith(_INSTANT):
            gc.enable()  # it is off while the program starts
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            raise typer.Abort from None


class Group(_PlainHelp, TyperGroup):
    """A group of commands."""


class CommandGroup(typer.Typer):
    """Commands below one name, such as ``ptycho data check``."""

    def __init__(self) -> None:
        super().__init__(cls=Group, no_args_is_help=True, add_completion=False)

    def command(self, name: str | None = None, **attributes: Any) -> Callable[[_Function], _Function]:
        """Add a command of this program's class."""
        return super().command(name, cls=Command, **attributes)
