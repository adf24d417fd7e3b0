"""Resolve layers of settings: one immutable config, the provenance of every value, and all problems at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.combinations import NO_EFFECT, checkpoint_problems, contradictions
from ptycho_cli.config.earlier_run import INIT_FROM, TRAINING, USES, Use
from ptycho_cli.config.keys import (
    CHOICES,
    FINDINGS_PREFIX,
    SCHEDULER,
    Choice,
    find_key,
    finding_keys,
    is_plugin_key,
    keys,
)
from ptycho_cli.config.plugin_settings import PluginSettings, resolve_callbacks, resolve_choice
from ptycho_cli.config.provenance import (
    Decision,
    Layer,
    Problem,
    ProblemsError,
    Resolved,
    Setting,
    SettingsByKey,
    Source,
)
from ptycho_cli.config.schema import CallbackSettings, Config
from ptycho_cli.config.sources import default_layer
from ptycho_cli.config.suggestions import unknown_key
from ptycho_cli.config.values import BadValueError, convert, show

CONSTANT_RATE = "default"  # the scheduler that may end at any step


@dataclass
class _State:
    """The state of a resolution.

    Attributes:
        settings: Settings of the core keys, converted where possible.
        plugin_settings: Settings of callbacks and of options of plugins, as they were given.
        failed: Keys whose strongest setting cannot be used.
        problems: All errors so far.
        warnings: Messages to print once.
    """

    settings: SettingsByKey = field(default_factory=dict)
    plugin_settings: SettingsByKey = field(default_factory=dict)
    failed: set[str] = field(default_factory=set)
    problems: list[Problem] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def resolve(layers: Iterable[Layer], catalogue: Catalogue, *, command: str = "train") -> Resolved:
    """Decide every setting.

    Args:
        layers: In any order, except that layers of one kind are ordered weakest first. The built-in defaults need
            not be among them.
        catalogue: Installed schedulers, networks and callbacks, so that their options are checked with the rest.
        command: Command that uses the settings, a key of ``inherit.USES``; decides what a checkpoint fixes.

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
    """Decide every setting as ``resolve`` does, but return the problems with the result.

    Where the strongest setting cannot be used, its decision shows it, and the config holds the next usable value.
    Such a config can be printed, but not used.
    """
    ordered = sorted(
        (default_layer(), *(layer for layer in layers if layer.source is not Source.DEFAULT)),
        key=lambda layer: layer.source,
    )
    state = _State(
        problems=[problem for layer in ordered for problem in layer.problems],
        warnings=[line for layer in ordered for line in layer.warnings],
    )
    for layer in ordered:
        for key, setting in layer.settings:
            _add(state, key, setting, catalogue)
    use = USES[command]
    _rank_fixed_above_user_file(state, use)
    values = {key: _usable_value(state, key) for key in keys()}
    values["data.findings"] = _finding_severities(state)
    if command in TRAINING:
        _drop_without_effect(state, values)
        _train_to_the_end_that_is_set(state, values)

    choices = {
        choice: resolve_choice(
            choice, state.settings[choice.key], state.plugin_settings, catalogue, usable=choice.key not in state.failed
        )
        for choice in CHOICES
    }
    callbacks = resolve_callbacks(state.plugin_settings, catalogue)
    for plugin in (*choices.values(), callbacks):
        state.problems += plugin.problems
        state.failed |= plugin.failed
        state.warnings += plugin.warnings
    state.warnings += catalogue.broken

    resolved = Resolved(
        _config(values, choices, callbacks),
        _decisions(state, choices, callbacks, use),
        tuple(dict.fromkeys(state.warnings)),
    )
    state.problems += checkpoint_problems(resolved, use)
    purpose = "train" if command == INIT_FROM else command
    scheduler = choices[SCHEDULER].info
    staged = scheduler is not None and scheduler.staged
    state.problems += contradictions(resolved, state.failed, purpose, staged=staged)
    return resolved, tuple(dict.fromkeys(state.problems))


def _add(state: _State, key: str, setting: Setting, catalogue: Catalogue) -> None:
    """Add a setting to those of its key, converted if it is a core setting; options wait for their models."""
    known = find_key(key)
    if known is None:
        if is_plugin_key(key):
            state.plugin_settings.setdefault(key, []).append(setting)
        else:
            state.problems.append(unknown_key(key, setting, catalogue))
        return
    if setting.source is not Source.DEFAULT:  # converting defaults would build every validator; a test does it
        try:
            setting = setting.with_value(convert(known, setting.value))
            state.failed.discard(key)
        except BadValueError as error:
            state.problems.append(Problem(key, setting.origin, f"{key} {error}.", error.hint))
            state.failed.add(key)
    state.settings.setdefault(key, []).append(setting)


def _rank_fixed_above_user_file(state: _State, use: Use) -> None:
    """Rank what a checkpoint fixes above the user's file, which is read for every run and not meant for this one."""

    def rank(item: Setting) -> tuple[Source, bool]:
        return (Source.USER_FILE, True) if item.source is Source.CHECKPOINT else (item.source, False)

    for key, settings in (*state.settings.items(), *state.plugin_settings.items()):
        if any(item.source is Source.CHECKPOINT for item in settings) and use.fixes(key):
            settings.sort(key=rank)


def _drop_without_effect(state: _State, values: dict[str, Any]) -> None:
    """Refuse settings that have no effect; drop those that were set for many runs, with a warning."""
    for rule in NO_EFFECT:
        key, default = rule.key, keys()[rule.key].default
        while not (state.failed.intersection((key, *rule.reads)) or values[key] == default) and rule.applies(values):
            reason, winner = f"{rule.reason} ({state.settings[rule.cause][-1].origin})", state.settings[key][-1]
            if not winner.for_many_runs:
                hint = f"Remove it, or set it to {show(default)}, its default."
                state.problems.append(Problem(key, winner.origin, f"{key} has no effect: {reason}.", hint))
                break
            state.warnings.append(f"{key} of {winner.origin} is ignored: {reason}.")
            state.settings[key].pop()
            values[key] = _usable_value(state, key)


def _train_to_the_end_that_is_set(state: _State, values: dict[str, Any]) -> None:
    """Let a number of epochs that somebody set, and a schedule that needs its end, run to it.

    Not where ``training.stop`` is set too. A number of epochs that a preset or the scan chose is set as well.
    """
    stop = state.settings["training.stop"][-1]
    epochs, scheduler = (state.settings[key][-1] for key in ("training.epochs", "scheduler.name"))
    causes = [epochs] if epochs.source is not Source.DEFAULT else []
    causes += [scheduler] if str(values["scheduler.name"]).casefold() != CONSTANT_RATE else []
    if not causes or stop.value == "never":
        return
    last = max(causes, key=lambda item: item.source)
    if stop.source in (Source.DEFAULT, Source.CHECKPOINT) and last.source > stop.source:
        state.settings["training.stop"].append(replace(last, value="never"))
        values["training.stop"] = "never"
    else:  # a decision, also where an earlier run has the default, since the length alone would decide otherwise
        state.settings["training.stop"][-1] = replace(stop, inherited=False)


def _usable_value(state: _State, key: str) -> Any:
    """The value of the strongest setting of a core key that can be used."""
    for setting in reversed(state.settings[key]):
        if setting.source is Source.DEFAULT or key not in state.failed:
            return setting.value
        try:
            return convert(keys()[key], setting.value)
        except BadValueError:
            continue
    raise AssertionError(f"{key} has no default")


def _finding_severities(state: _State) -> tuple[tuple[str, str], ...]:
    """Ids of findings with the severities that are set for them."""
    found = {
        key.removeprefix(FINDINGS_PREFIX): state.settings[key][-1].value
        for key in finding_keys()
        if key in state.settings and key not in state.failed
    }
    return tuple((id, severity) for id, severity in found.items() if severity != "auto")


def _config(values: dict[str, Any], choices: dict[Choice, PluginSettings], callbacks: PluginSettings) -> Config:
    """Build the config from values that were converted one by one, without a second validation."""
    nested: dict[str, dict[str, Any]] = {}
    for key, value in values.items():
        group, _, name = key.partition(".")
        nested.setdefault(group, {})[name] = value
    for choice, chosen in choices.items():
        nested[choice.group] |= {"name": chosen.names[0], "options": chosen.models[0]}
    models: dict[str, Any] = {name: info.annotation for name, info in Config.model_fields.items()}
    built = {name: models[name].model_construct(**fields) for name, fields in nested.items()}
    added = tuple(
        CallbackSettings.model_construct(name=name, options=model)
        for name, model in zip(callbacks.names, callbacks.models, strict=True)
    )
    return Config.model_construct(**built, callbacks=added)


def _decisions(
    state: _State, choices: dict[Choice, PluginSettings], callbacks: PluginSettings, use: Use
) -> tuple[Decision, ...]:
    """One decision for each key, in the order of the schema; severities and options of plugins follow their group."""
    last_of_group = {key.partition(".")[0]: key for key in keys()}
    others_after = {last_of_group[choice.group]: [chosen.settings] for choice, chosen in choices.items()}
    others_after[last_of_group["scheduler"]].append(callbacks.settings)
    others_after[last_of_group["data"]] = [
        {key: state.settings[key] for key in finding_keys() if key in state.settings}
    ]
    chosen_names = {choice.key: chosen.chosen for choice, chosen in choices.items()}
    ordered: SettingsByKey = {}
    for key in keys():
        ordered[key] = chosen_names.get(key) or state.settings[key]
        for settings in others_after.get(key, ()):
            ordered |= settings
    decisions = (Decision(key, found[-1], tuple(reversed(found[:-1]))) for key, found in ordered.items())
    return tuple(
        replace(item, fixed=True) if use.fixes(item.key) and item.checkpoint is not None else item for item in decisions
    )
