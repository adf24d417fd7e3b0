"""Which words were typed where: what typer does not tell, and origins such as ``--scheduler (argument 3)`` need."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import typer
from typer.core import TyperArgument, TyperCommand

from ptycho_cli.config.command_line import Typed
from ptycho_cli.config.keys import keys

TYPED = "ptycho_cli.typed"  # where the words of the command line lie in ctx.meta
WORDS = "ptycho_cli.words"  # and as they are, the command's name first


class SettingsCommand(TyperCommand):
    """A command that remembers what was typed, word by word, for the story of its settings."""

    def parse_args(self, ctx: typer.Context, args: list[str]) -> list[str]:  # type: ignore[override]
        """Note every word and its number, then parse as usual."""
        first = 1
        parent = ctx.parent
        while parent is not None and parent.parent is not None:
            first, parent = first + 1, parent.parent
        typed, unknown = scan_words(list(args), self.params, first=first + (ctx.parent is not None))
        own = _own_flags(self.params)
        ctx.meta[WORDS] = (ctx.info_name, *args)
        ctx.meta[TYPED] = tuple(word for word in typed if word.name not in own)
        # Typer builds a validator for every parameter, typed or not, which takes longer than all else here.
        # Those that were not typed are left out, unless an unknown word makes it look for the nearest flag.
        self._in_use = None if unknown or ctx.resilient_parsing else {word.name for word in typed}
        params: list[Any] = list(self.params)
        for param in params:
            if param.type_descriptor.annotation in (str, list[str]):
                param.get_runtime_param = _AsTyped
        try:
            return super().parse_args(ctx, args)
        finally:
            self._in_use = None

    _in_use: set[str] | None = None

    def get_params(self, ctx: typer.Context) -> list[Any]:  # type: ignore[override]
        """All parameters; while words are parsed, those that were typed or that must be."""
        params: list[Any] = super().get_params(ctx)
        used = self._in_use
        if used is None:
            return params
        return [item for item in params if item.required or used.intersection(_spellings(item) or ("DATA", item.name))]


class _AsTyped:
    """Text needs no validator: it is what was typed. Settings are converted later, where their place is known."""

    def coerce(self, value: Any, param: Any, ctx: Any) -> Any:
        """Return the text, or a tuple of texts, as it is."""
        return () if value is None and (param.multiple or param.nargs == -1) else value


def scan_words(args: Sequence[str], params: Sequence[Any], *, first: int = 1) -> tuple[tuple[Typed, ...], bool]:
    """Find every flag and plain argument among the words of a command, with its number.

    Follows the parser's own rules: ``--name value``, ``--name=value``, ``-o value``, ``-ovalue``,
    and ``--`` before plain arguments that begin with a dash.

    Returns:
        What was typed, and whether there is something that the parser will refuse.
    """
    takes_value = {flag: not getattr(item, "is_flag", False) for item in params for flag in _spellings(item)}
    found: list[Typed] = []
    plain: list[tuple[str, int]] = []
    unknown = False
    at = 0
    while at < len(args):
        word, number = args[at], first + at
        at += 1
        if word == "--":
            plain += [(rest, first + index) for index, rest in enumerate(args[at:], start=at)]
            break
        if not word.startswith("-") or word == "-":
            plain.append((word, number))
            continue
        name, equals, value = word.partition("=") if word.startswith("--") else (word[:2], word[2:], word[2:])
        if name not in takes_value:
            unknown = True
            continue
        if not takes_value[name]:
            found.append(Typed(name, True, number))
        elif equals:
            found.append(Typed(name, value, number))
        elif at < len(args):
            found.append(Typed(name, args[at], number))
            at += 1
        else:
            unknown = True
    return (*found, *_name_plain(plain, params)), unknown


def _own_flags(params: Sequence[Any]) -> set[str]:
    """Flags that are a setting's elsewhere and mean something else in this command, as ``-o`` of ``infer`` does."""
    setting = {flag: key.parameter for key in keys().values() for flag in key.flags}
    return {flag for item in params for flag in _spellings(item) if setting.get(flag, item.name) != item.name}


def _spellings(param: Any) -> tuple[str, ...]:
    if isinstance(param, TyperArgument):
        return ()
    return (*param.opts, *param.secondary_opts)


def _name_plain(plain: list[tuple[str, int]], params: Sequence[Any]) -> list[Typed]:
    """Give plain words to the command's arguments in order: single ones first, the rest to ``DATA``."""
    arguments = [item for item in params if isinstance(item, TyperArgument)]
    single = [item for item in arguments if item.nargs == 1]
    names = [item.name for item in single]
    return [
        Typed(names[index] if index < len(names) else "DATA", text, number)
        for index, (text, number) in enumerate(plain)
    ]


def the_words(ctx: typer.Context) -> tuple[str, ...]:
    """The program's arguments: the command's name and all that was typed after it."""
    words: tuple[str, ...] = ctx.meta[WORDS]
    return words


def typed_words(ctx: typer.Context) -> tuple[Typed, ...]:
    """What was typed after the command's name; empty when a command is called from Python."""
    words: tuple[Typed, ...] = ctx.meta.get(TYPED, ())
    return words
