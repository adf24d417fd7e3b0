"""The chosen scheduler, network and callbacks with their options, resolved like all other settings."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ValidationError

from ptycho_cli.config.catalogue import (
    CORE_DISTRIBUTION,
    Catalogue,
    EntryInfo,
    ambiguous_name,
    entry_named,
    matching,
    unique_name,
    unknown_name_hint,
)
from ptycho_cli.config.keys import CALLBACKS_PREFIX, Choice, keys
from ptycho_cli.config.nearest import nearest
from ptycho_cli.config.provenance import Problem, Setting, SettingsByKey, Source
from ptycho_cli.config.settings_group import Options
from ptycho_cli.config.suggestions import callback_choice
from ptycho_cli.config.values import BadValueError, convert_option, problem_of, show, validate_options

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")


@dataclass
class PluginSettings:
    """The resolved settings of the scheduler, of the network, or of all callbacks.

    Attributes:
        names: Unique names of the chosen entries, in order.
        models: Their options, one frozen model for each name.
        settings: Converted settings of every option and every callback.
        chosen: Settings of the key that chooses, such as ``scheduler.name``, with unique names.
        info: The chosen entry; None for callbacks, or if there is no such entry.
        problems: Errors in names and options.
        failed: Keys without a usable value.
        warnings: Messages to print once.
    """

    names: list[str] = field(default_factory=list)
    models: list[BaseModel] = field(default_factory=list)
    settings: SettingsByKey = field(default_factory=dict)
    chosen: list[Setting] = field(default_factory=list)
    info: EntryInfo | None = None
    problems: list[Problem] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


def resolve_choice(
    choice: Choice, names: list[Setting], plugin_settings: SettingsByKey, catalogue: Catalogue, *, usable: bool = True
) -> PluginSettings:
    """Find the scheduler or network that is chosen, and build its options.

    Args:
        choice: The choice.
        names: Settings of the key that chooses, weakest first.
        plugin_settings: Settings of all options and callbacks.
        catalogue: Installed schedulers and networks.
        usable: False if the strongest name is no text; then the default is chosen.
    """
    result, entries = PluginSettings(), catalogue.of(choice.kind)
    for setting in names:
        entry = entry_named(entries, setting.value) if isinstance(setting.value, str) else None
        result.chosen.append(setting if entry is None else setting.with_value(unique_name(entries, entry)))
    winner = result.chosen[-1]
    result.names.append(str(winner.value) if usable else keys()[choice.key].default)
    result.info = _find(result, choice.kind, choice.key, winner, catalogue) if usable else None
    options = _below(plugin_settings, choice.prefix)
    if result.info is None:
        result.failed.add(choice.key)
        result.models.append(Options())
        result.settings.update(options)
    else:
        options = _without_options_of_others(result, options)
        result.models.append(_build(result, result.info, choice.prefix, options, winner, entries))
    return result


def _without_options_of_others(result: PluginSettings, options: SettingsByKey) -> SettingsByKey:
    """Drop the options that a preset, a checkpoint, the user's file or a scan sets for a choice that is overridden.

    A warning reports it, except for a scan, whose choice nobody asked for and which the table shows as overridden.
    """
    winner = result.chosen[-1]
    choices = {_layer_of(item): item for item in result.chosen if item.for_many_runs}
    overridden = {layer: choice for layer, choice in choices.items() if choice.value != winner.value}
    for layer, choice in sorted(overridden.items(), key=lambda item: item[0]):
        dropped = sorted(key for key, found in options.items() if any(_layer_of(item) == layer for item in found))
        if dropped and choice.source is not Source.SCAN:
            verb = "is" if len(dropped) == 1 else "are"
            result.warnings.append(
                f"{', '.join(dropped)} of {choice.origin} {verb} ignored: {winner.origin} chooses {winner.value}"
                f" in place of {choice.value}."
            )
    kept = {key: [item for item in found if _layer_of(item) not in overridden] for key, found in options.items()}
    return {key: found for key, found in kept.items() if found}


def _layer_of(setting: Setting) -> tuple[Source, str]:
    """The layer of a setting: its place without the line in a file."""
    return setting.source, setting.origin.rstrip("0123456789").removesuffix(":")


def resolve_callbacks(plugin_settings: SettingsByKey, catalogue: Catalogue) -> PluginSettings:
    """Find the callbacks that are chosen, in the order given, and build their options."""
    result, entries = PluginSettings(), catalogue.of("callback")
    chosen, options = _split_callbacks(result, plugin_settings, entries)
    for name, switches in chosen.items():
        key = CALLBACKS_PREFIX + name
        result.settings[key] = switches
        given = options.pop(name, {})
        if switches[-1].value is not True:
            continue
        winner = switches[-1].with_value(name)
        entry = _find(result, "callback", key, winner, catalogue)
        if entry is None:
            result.failed.add(key)
            continue
        result.names.append(name)
        result.models.append(_build(result, entry, f"{key}.", given, winner, entries))
    for name, given in options.items():
        for key, found in given.items():
            message = f"{key} has no effect: the callback {name} is not chosen."
            hint = f"Add {callback_choice(name, found[-1].source)}."
            result.problems.append(Problem(key, found[-1].origin, message, hint))
    return result


def _split_callbacks(
    result: PluginSettings, plugin_settings: SettingsByKey, entries: tuple[EntryInfo, ...]
) -> tuple[SettingsByKey, dict[str, SettingsByKey]]:
    """Separate ``callbacks.NAME``, which chooses, from ``callbacks.NAME.option``, under unique names."""
    chosen: SettingsByKey = {}
    options: dict[str, SettingsByKey] = {}
    below = _below(plugin_settings, CALLBACKS_PREFIX)
    all_given = [key.removeprefix(CALLBACKS_PREFIX).partition(".")[0] for key in below]
    for key, found in below.items():
        given, _, option = key.removeprefix(CALLBACKS_PREFIX).partition(".")
        entry = entry_named(entries, given) or entry_named(entries, given.replace("_", "-"))
        name = _name_of_unknown(given, all_given) if entry is None else unique_name(entries, entry)
        if option:
            options.setdefault(name, {}).setdefault(f"{CALLBACKS_PREFIX}{name}.{option}", []).extend(found)
        else:
            chosen.setdefault(name, []).extend(_as_switches(result, key, found))
    for name, switches in chosen.items():
        switches.sort(key=lambda setting: setting.source)
        _refuse_twice(result, name, switches)
    return chosen, options


def _name_of_unknown(given: str, others: Iterable[str]) -> str:
    """The name, or the one with a distribution that an earlier run has for it, though it is missing or ambiguous."""
    full = {other for other in others if other.casefold().endswith(f":{given.casefold()}")}
    return full.pop() if len(full) == 1 else given


def _as_switches(result: PluginSettings, key: str, found: list[Setting]) -> list[Setting]:
    """Convert ``callbacks.NAME: true`` and ``false``."""
    switches = []
    for setting in found:
        word = str(setting.value).lower()
        if word not in (*_TRUE, *_FALSE):
            message = f"{key} is {show(setting.value)}, expected true, false or its options."
            result.problems.append(Problem(key, setting.origin, message))
        switches.append(setting.with_value(word in _TRUE))
    return switches


def _refuse_twice(result: PluginSettings, name: str, switches: list[Setting]) -> None:
    """Refuse a callback that one layer chooses twice; two files are two layers."""
    for first, second in pairwise(switches):
        same_layer = first.source is second.source and (
            first.source is not Source.RUN_FILE or _layer_of(first) == _layer_of(second)
        )
        if same_layer and first.value and second.value:
            message = f"the callback {name} is given twice, first at {first.origin}."
            result.problems.append(Problem(CALLBACKS_PREFIX + name, second.origin, message, "Keep one of the two."))


def _below(settings: SettingsByKey, prefix: str) -> SettingsByKey:
    return {key: list(found) for key, found in settings.items() if key.startswith(prefix)}


def _find(result: PluginSettings, kind: str, key: str, winner: Setting, catalogue: Catalogue) -> EntryInfo | None:
    """The entry that a name means; None, and a problem, if there is none or more than one."""
    entries, name = catalogue.of(kind), str(winner.value)
    found = matching(entries, name)
    if len(found) > 1:
        result.problems.append(Problem(key, winner.origin, *ambiguous_name(kind, found)))
        return None
    if not found:
        hint = unknown_name_hint(kind, name, catalogue)
        result.problems.append(Problem(key, winner.origin, f"there is no {kind} {show(name)}.", hint))
        return None
    if ":" not in name and found[0].distribution == CORE_DISTRIBUTION:
        result.warnings += [
            f"{other.origin} offers a {kind} {other.name} too; the built-in one is used."
            f" Choose the other with {other.distribution}:{other.name}."
            for other in entries
            if other is not found[0] and other.name.casefold() == found[0].name.casefold()
        ]
    return found[0]


def _build(
    result: PluginSettings,
    entry: EntryInfo,
    prefix: str,
    given: SettingsByKey,
    winner: Setting,
    entries: tuple[EntryInfo, ...],
) -> BaseModel:
    """Convert the options of an entry and build their model; defaults become settings too.

    Args:
        result: Where settings, problems and failed keys are added.
        entry: The chosen entry.
        prefix: Beginning of the keys of its options.
        given: The options that layers set.
        winner: The setting that chose the entry.
        entries: All entries of its kind, to name those that have an option which this one lacks.
    """
    fields = entry.options.model_fields
    by_fold = {name.casefold(): name for name in fields}
    converted: SettingsByKey = {}
    for key, found in given.items():
        option = key.removeprefix(prefix)
        name = option if option in fields else None
        if name is None and all(setting.source is Source.ENVIRONMENT for setting in found):
            name = by_fold.get(option.casefold())  # variables are in capitals
        if name is None:
            result.problems += [_no_such_option(key, option, setting, entry, entries) for setting in found]
            continue
        values = [_converted(result, entry, prefix + name, name, item) for item in found]
        both = [*converted.get(name, []), *values]
        converted[name] = sorted(both, key=lambda item: item.source) if name in converted else values
    for name, info in fields.items():
        default: Any = info.get_default(call_default_factory=True, validated_data={})
        start = [] if info.is_required() else [Setting(default, Source.DEFAULT, "default")]
        if start or name in converted:
            result.settings[prefix + name] = [*start, *converted.get(name, [])]
    return _validated(result, entry, prefix, converted, winner)


def _converted(result: PluginSettings, entry: EntryInfo, key: str, name: str, setting: Setting) -> Setting:
    try:
        return setting.with_value(convert_option(entry.options, name, setting.value, origin=entry.origin))
    except BadValueError as error:
        result.problems.append(Problem(key, setting.origin, f"{key} {error}.", error.hint))
        result.failed.add(key)
        return setting


def _no_such_option(
    key: str, option: str, setting: Setting, entry: EntryInfo, entries: tuple[EntryInfo, ...]
) -> Problem:
    known = list(entry.options.model_fields)
    message = f"{key} has no effect: {entry.name} has no option {option!r}."
    hint = f"Its options are {', '.join(known)}." if known else f"{entry.name} takes no options."
    others = [other.name for other in entries if option in other.options.model_fields]
    if others:
        hint += f" {' and '.join(others)} would take it."
    elif near := nearest(option, known):
        hint = f"Did you mean {near[0]}?"
    return Problem(key, setting.origin, message, hint)


def _validated(
    result: PluginSettings, entry: EntryInfo, prefix: str, converted: SettingsByKey, winner: Setting
) -> BaseModel:
    """Validate all options together, since validators may compare them; problems have the place of their option."""
    try:
        values = {name: found[-1].value for name, found in converted.items()}
        return validate_options(entry.options, values, origin=entry.origin)
    except BadValueError as error:
        key = prefix.rstrip(".")
        if not any(failed.startswith(prefix) for failed in result.failed):
            result.problems.append(Problem(key, winner.origin, f"{key} {error}."))
        result.failed.add(key)
    except ValidationError as error:
        for item in error.errors():
            name = str(item["loc"][0]) if item["loc"] else ""
            key = prefix + name if name else prefix.rstrip(".")
            if key not in result.failed:
                origin = converted[name][-1].origin if name in converted else winner.origin
                result.problems.append(Problem(key, origin, f"{key}: {problem_of(item)}."))
                result.failed.add(key)
    return Options()
