"""Completion in the shell, also of the names and options of plugins; torch is never loaded.

Each function gets the context of the arguments before, and the beginning of the current one. Names are found
whatever their case, so an offer continues in the case that was typed: the shell drops all others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Literal, get_args, get_origin

import typer

from ptycho_cli.cli.typer_command import typed_settings
from ptycho_cli.config.catalogue import Catalogue, EntryInfo
from ptycho_cli.config.command_line import CALLBACK
from ptycho_cli.config.keys import CHOICES, Choice, find_key, keys
from ptycho_cli.config.values import printable

Completions = list[tuple[str, str]]
"""Words with their descriptions."""


def offers(kind: str) -> Callable[[typer.Context, str], Completions]:
    """Complete names of schedulers, callbacks or networks, with the distribution if two plugins offer one name."""

    def complete(ctx: typer.Context, incomplete: str) -> Completions:
        from ptycho_cli.config.catalogue import unique_name

        found = _catalogue(ctx).of(kind)
        return _matching(incomplete, ((unique_name(found, entry), entry.summary) for entry in found))

    return complete


def options(choice: Choice) -> Callable[[typer.Context, str], Completions]:
    """Complete options of the scheduler or network that was typed before, and their values: ``ramp=cosine``."""

    def complete(ctx: typer.Context, incomplete: str) -> Completions:
        return _matching(incomplete, _options_of(_chosen(ctx, choice), "", incomplete))

    return complete


def _chosen(ctx: typer.Context, choice: Choice) -> EntryInfo | None:
    """The scheduler or network that was typed before, or the default one."""
    from ptycho_cli.config.catalogue import entry_named

    key = keys()[choice.key]
    chosen = _typed(ctx, key.flags) or [str(key.default)]
    return entry_named(_catalogue(ctx).of(choice.kind), chosen[-1])


def callback_options(ctx: typer.Context, incomplete: str) -> Completions:
    """Complete options of the callbacks that were typed before: ``Preview.every=``."""
    from ptycho_cli.config.catalogue import entry_named

    found = _catalogue(ctx).of("callback")
    chosen = [(name, entry_named(found, name)) for name in _typed(ctx, (CALLBACK,))]
    return _matching(
        incomplete, (item for name, entry in chosen for item in _options_of(entry, f"{name}.", incomplete))
    )


def setting_keys(ctx: typer.Context, incomplete: str) -> Completions:
    """Complete dotted keys of settings."""
    return _matching(incomplete, ((key.name, key.help) for key in keys().values()))


def assignments(ctx: typer.Context, incomplete: str) -> Completions:
    """Complete dotted keys with the sign that must follow, and values: ``training.epochs=``, ``loss.name=poisson``."""
    name, sign, _ = incomplete.partition("=")
    options = [item for item in CHOICES if incomplete.startswith(item.prefix)]
    found = [item for choice in options for item in _options_of(_chosen(ctx, choice), choice.prefix, incomplete)]
    if not sign:
        return _matching(incomplete, [*((f"{key.name}=", key.help) for key in keys().values()), *found])
    key = find_key(name)
    if key is None:
        return _matching(incomplete, found)
    choice = next((item for item in CHOICES if item.key == key.name), None)
    if choice is not None:
        return [(f"{name}={word}", text) for word, text in offers(choice.kind)(ctx, incomplete.partition("=")[2])]
    return _matching(incomplete, ((f"{name}={word}", key.help) for word in _words(key.annotation)))


def _words(annotation: Any) -> list[str]:
    """The words that a type accepts: those of a ``Literal``, and true and false of a switch."""
    if annotation is bool:
        return ["true", "false"]
    if get_origin(annotation) is Literal:
        return [str(item) for item in get_args(annotation)]
    return [word for part in get_args(annotation) if part is not Ellipsis for word in _words(part)]


def presets(ctx: typer.Context, incomplete: str) -> Completions:
    """Complete names of presets."""
    from ptycho_cli.config.presets import PRESETS

    return _matching(incomplete, ((preset.name, preset.when) for preset in PRESETS))


def plugins(ctx: typer.Context, incomplete: str) -> Completions:
    """Complete distributions with plugins, without importing them."""
    from ptycho_cli.installed_plugins import find_installed

    return _matching(incomplete, ((plugin.distribution, plugin.version) for plugin in find_installed()))


def choices(values: Sequence[str]) -> Callable[[typer.Context, str], Completions]:
    """Complete one of a few words."""

    def complete(ctx: typer.Context, incomplete: str) -> Completions:
        return _matching(incomplete, ((word, "") for word in values))

    return complete


def _catalogue(ctx: typer.Context) -> Catalogue:
    from ptycho_cli.extend.host import load_plugins

    return load_plugins(_typed(ctx, ("--no-plugin",))).catalogue()


def _typed(ctx: typer.Context, flags: Iterable[str]) -> list[str]:
    return [str(word.value) for word in typed_settings(ctx) if word.name in flags]


def _options_of(entry: EntryInfo | None, prefix: str, incomplete: str) -> Completions:
    """Options with the sign that must follow; after the sign, the values of the option."""
    fields: dict[str, Any] = {} if entry is None else entry.options.model_fields
    name, sign, _ = incomplete.partition("=")
    if not sign:
        return [(f"{prefix}{option}=", info.description or "") for option, info in fields.items()]
    info = fields.get(name.removeprefix(prefix))
    return [] if info is None else [(f"{name}={word}", info.description or "") for word in _words(info.annotation)]


def _matching(incomplete: str, items: Iterable[tuple[str, str]]) -> Completions:
    prefix = incomplete.casefold()
    matching = [(word, text) for word, text in items if word.casefold().startswith(prefix)]
    return [(incomplete + word[len(incomplete) :], printable(text)) for word, text in matching if word.isprintable()]
