"""Layers in, one immutable config and its story out; pure, and with all problems at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.contradictions import cross_check, seal
from ptycho_cli.config.effects import SILENCES
from ptycho_cli.config.inherit import INIT_FROM, USES, Use
from ptycho_cli.config.keys import (
    CHOICES,
    SCHEDULER,
    Choice,
    is_plugin_key,
    keys,
)
from ptycho_cli.config.plugin_settings import PluginSettings, settle_callbacks, settle_choice
from ptycho_cli.config.provenance import Decision, Layer, Problem, ProblemsError, Resolved, Setting, Source
from ptycho_cli.config.schema import CallbackSettings, Config
from ptycho_cli.config.sources import default_layer
from ptycho_cli.config.suggestions import unknown_key
from ptycho_cli.config.values import BadValueError, convert, show


@dataclass
class _Draft:
    """What is known while layers are read.

    Attributes:
        story: Key -> settings, weakest first, converted where possible.
        failed: Keys whose winner cannot be used.
        problems: Everything wrong so far.
    """

    story: dict[str, list[Setting]] = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)


def resolve(layers: Iterable[Layer], catalogue: Catalogue, *, command: str = "train") -> Resolved:
    """Decide every setting.

    Args:
        layers: In any order between kinds; run files among themselves in the order of the command line.
            The built-in defaults need not be among them.
        catalogue: What plugins offer, so that their options are checked with the rest.
        command: What the settings are for, a key of ``inherit.USES``; decides what a checkpoint fixes.

    Raises:
        ProblemsError: With every problem found, not only the first.
    """
    resolved, problems = examine(layers, catalogue, command=command)
    if problems:
        raise ProblemsError(problems)
    return resolved


def examine(
    layers: Iterable[Layer], catalogue: Catalogue, *, command: str = "train"
) -> tuple[Resolved, tuple[Problem, ...]]:
    """Decide as far as possible and return the problems beside the result.

    Where a winner cannot be used its decision still shows it, and the config holds the next
    usable value; such a config is for showing, never for running.
    """
    ordered = sorted(
        (default_layer(), *(layer for layer in layers if layer.source is not Source.DEFAULT)),
        key=lambda layer: layer.source,
    )
    draft = _Draft(problems=[problem for layer in ordered for problem in layer.problems])
    for layer in ordered:
        for key, setting in layer.settings:
            _take(draft, key, setting, catalogue)
    warnings = [line for layer in ordered for line in layer.warnings]
    use = USES[command]
    _fix(draft, use)

    values = {key: _usable(draft, key) for key in keys()}
    if command != "infer":
        warnings += _silence(draft, values)
    chosen = {
        choice: settle_choice(choice, draft.story, catalogue, usable=choice.key not in draft.failed)
        for choice in CHOICES
    }
    callbacks = settle_callbacks(draft.story, catalogue)
    for settled in (*chosen.values(), callbacks):
        draft.problems += settled.problems
        draft.failed |= settled.failed
        warnings += settled.warnings
    warnings += catalogue.broken
    resolved = Resolved(
        _config(values, chosen, callbacks),
        _decisions(draft, chosen, callbacks, use),
        tuple(dict.fromkeys(warnings)),
    )
    draft.problems += seal(resolved, use)
    draft.problems += cross_check(
        resolved, chosen[SCHEDULER].info, draft.failed, "train" if command == INIT_FROM else command
    )
    return resolved, tuple(dict.fromkeys(draft.problems))


def _take(draft: _Draft, key: str, setting: Setting, catalogue: Catalogue) -> None:
    """Convert one setting and put it on its key's pile; plugin settings wait for their models."""
    known = keys().get(key)
    if known is None:
        if is_plugin_key(key):
            draft.story.setdefault(key, []).append(setting)
        else:
            draft.problems.append(unknown_key(key, setting, catalogue))
        return
    pile = draft.story.setdefault(key, [])
    if setting.source is Source.DEFAULT:  # a test converts all defaults; here it would build every validator
        pile.append(setting)
        return
    try:
        pile.append(setting.with_value(convert(known, setting.value)))
        draft.failed.discard(key)
    except BadValueError as error:
        draft.problems.append(Problem(key, setting.origin, f"{key} {error}.", error.hint))
        draft.failed.add(key)
        pile.append(setting)


def _fix(draft: _Draft, use: Use) -> None:
    """What a checkpoint fixes beats the user's own file, which is read for every run and not meant for this one."""

    def rank(item: Setting) -> tuple[Source, bool]:
        return (Source.USER_FILE, True) if item.source is Source.CHECKPOINT else (item.source, False)

    for key, pile in draft.story.items():
        if any(item.source is Source.CHECKPOINT for item in pile) and use.fixes(key):
            pile.sort(key=rank)


def _silence(draft: _Draft, values: dict[str, Any]) -> list[str]:
    """Refuse what has no effect, and set it aside where it was said for many runs; return what is to be said."""
    warnings = []
    for silence in SILENCES:
        key, default = silence.key, keys()[silence.key].default
        if draft.failed.intersection((key, *silence.reads)) or values[key] == default or not silence.when(values):
            continue
        why = f"{silence.why} ({draft.story[silence.by][-1].origin})"
        winner = draft.story[key][-1]
        if winner.is_general:
            warnings.append(f"{key} of {winner.origin} is set aside: {why}.")
        draft.story[key] = [item for item in draft.story[key] if not item.is_general]
        winner, values[key] = draft.story[key][-1], _usable(draft, key)
        if values[key] != default:
            hint = f"Remove it, or set it to {show(default)}, its default."
            draft.problems.append(Problem(key, winner.origin, f"{key} has no effect: {why}.", hint))
    return warnings


def _usable(draft: _Draft, key: str) -> Any:
    """The strongest value of a core setting that can be used."""
    for setting in reversed(draft.story[key]):
        if setting.source is Source.DEFAULT or key not in draft.failed:
            return setting.value
        try:
            return convert(keys()[key], setting.value)
        except BadValueError:
            continue
    raise AssertionError(f"{key} has no default")


def _config(values: dict[str, Any], chosen: dict[Choice, PluginSettings], callbacks: PluginSettings) -> Config:
    """Build the immutable config from values that were converted one by one and need no second check."""
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        group, _, name = key.partition(".")
        nested.setdefault(group, {})[name] = value
    for choice, settled in chosen.items():
        nested[choice.group] |= {"name": settled.names[0], "options": settled.models[0]}
    models: dict[str, Any] = {name: info.annotation for name, info in Config.model_fields.items()}
    built = {name: models[name].model_construct(**fields) for name, fields in nested.items()}
    added = tuple(
        CallbackSettings.model_construct(name=name, options=model)
        for name, model in zip(callbacks.names, callbacks.models, strict=True)
    )
    return Config.model_construct(**built, callbacks=added)


def _decisions(
    draft: _Draft, chosen: dict[Choice, PluginSettings], callbacks: PluginSettings, use: Use
) -> tuple[Decision, ...]:
    """One decision for each key, in the order of the schema, plugin options after their group."""
    found: list[Decision] = []
    last_of_group = {key.partition(".")[0]: key for key in keys()}
    below: dict[str, list[PluginSettings]] = {last_of_group[choice.group]: [made] for choice, made in chosen.items()}
    below[last_of_group["scheduler"]].append(callbacks)
    names = {choice.key: settled.chosen_story for choice, settled in chosen.items()}
    for key in keys():
        found.append(decide(key, names.get(key) or draft.story[key]))
        found += [decide(name, pile) for settled in below.get(key, ()) for name, pile in settled.story.items()]
    return tuple(
        replace(item, fixed=True) if item.checkpoint is not None and use.fixes(item.key) else item for item in found
    )


def decide(key: str, pile: list[Setting]) -> Decision:
    """The last of a pile wins; the others follow, strongest first."""
    return Decision(key, pile[-1], tuple(reversed(pile[:-1])))
