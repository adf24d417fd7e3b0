"""Which scheduler, network and callbacks are meant, and whether their options fit them."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from pydantic import BaseModel, ValidationError

from ptycho_cli.config.catalogue import (
    CORE_DISTRIBUTION,
    Catalogue,
    EntryInfo,
    ambiguous_name,
    matching,
    unique_name,
    unknown_name_hint,
)
from ptycho_cli.config.keys import CALLBACKS_PREFIX, Choice, keys
from ptycho_cli.config.nearest import nearest
from ptycho_cli.config.provenance import Problem, Setting, Source
from ptycho_cli.config.schema import Options
from ptycho_cli.config.suggestions import callback_choice
from ptycho_cli.config.values import BadValueError, convert_option, problem_of, show

_TRUE, _FALSE = ("true", "yes", "on", "1"), ("false", "no", "off", "0")

Story = dict[str, list[Setting]]


@dataclass
class PluginSettings:
    """What was settled for the scheduler, for the network, or for all callbacks.

    Attributes:
        names: Canonical names of what was chosen, in order.
        models: Their options, one frozen model for each name.
        story: Key -> settings, weakest first, converted, for every option and every callback.
        chosen_story: Settings of the key that chooses, such as ``scheduler.name``, with unique_name names.
        info: The chosen entry; None for callbacks, or where none was found.
        failed: Keys that have no usable value.
    """

    names: list[str] = field(default_factory=list)
    models: list[BaseModel] = field(default_factory=list)
    story: Story = field(default_factory=dict)
    chosen_story: list[Setting] = field(default_factory=list)
    info: EntryInfo | None = None
    problems: list[Problem] = field(default_factory=list)
    failed: set[str] = field(default_factory=set)
    warnings: list[str] = field(default_factory=list)


def settle_choice(choice: Choice, story: Story, catalogue: Catalogue, *, usable: bool = True) -> PluginSettings:
    """Find what ``choice`` names, and fit its options, unless the name is no ``usable`` value."""
    settled = PluginSettings()
    offers = catalogue.of(choice.kind)
    for setting in story[choice.key]:
        found = matching(offers, setting.value) if isinstance(setting.value, str) else []
        value = unique_name(offers, found[0]) if len(found) == 1 else setting.value
        settled.chosen_story.append(setting.with_value(value))
    winner = settled.chosen_story[-1]
    settled.names.append(str(winner.value) if usable else keys()[choice.key].default)
    settled.info = _the_offer(settled, choice.kind, choice.key, winner, catalogue) if usable else None
    if settled.info is None:
        settled.failed.add(choice.key)
        settled.models.append(Options())
        settled.story.update(_below(story, choice.prefix))
        return settled
    typed = _drop_inherited(settled, winner, _below(story, choice.prefix))
    settled.models.append(
        _fit(settled, settled.info, choice.prefix, typed, winner, who=settled.info.name, others=offers)
    )
    return settled


def _drop_inherited(settled: PluginSettings, winner: Setting, typed: Story) -> Story:
    """Options that came with the choice of a checkpoint, a preset, the user's file or a scan go with it.

    It is said, but not where a scan brought them: nobody asked it, and the table has what was chosen instead.
    """
    brought = {_bringer(item): item for item in settled.chosen_story if item.is_general}
    gone = {bringer for bringer, item in brought.items() if item.value != winner.value}
    for bringer in sorted(gone):
        dropped = sorted(key for key, pile in typed.items() if any(_bringer(item) == bringer for item in pile))
        if dropped and bringer[0] is not Source.SCAN:
            settled.warnings.append(
                f"{', '.join(dropped)} of {brought[bringer].origin} belonged to {brought[bringer].value}"
                f" and went with it; {winner.value} comes from {winner.origin}."
            )
    kept = {key: [item for item in pile if _bringer(item) not in gone] for key, pile in typed.items()}
    return {key: pile for key, pile in kept.items() if pile}


def _bringer(setting: Setting) -> tuple[Source, str]:
    """Which layer a setting came with: a file has many lines, a preset or a run only one place."""
    return setting.source, setting.origin.rstrip("0123456789").removesuffix(":")


def settle_callbacks(story: Story, catalogue: Catalogue) -> PluginSettings:
    """Find the callbacks that were chosen, in the order given, and fit their options."""
    settled, offers = PluginSettings(), catalogue.of("callback")
    chosen, options = _split_callbacks(settled, story, catalogue)
    for name, pile in chosen.items():
        key = CALLBACKS_PREFIX + name
        settled.story[key] = pile
        given = options.pop(name, {})
        if pile[-1].value is not True:
            continue
        plain = Setting(name, pile[-1].source, pile[-1].origin)
        entry = _the_offer(settled, "callback", key, plain, catalogue)
        if entry is None:
            settled.failed.add(key)
            continue
        settled.names.append(name)
        settled.models.append(_fit(settled, entry, key + ".", given, plain, who=entry.name, others=offers))
    for name, given in options.items():
        for key, pile in given.items():
            settled.problems.append(
                Problem(
                    key, pile[-1].origin, f"{key} has no effect: the callback {name} is not chosen.",
                    f"Add {callback_choice(name, pile[-1].source)}.",
                )
            )  # fmt: skip
    return settled


def _split_callbacks(settled: PluginSettings, story: Story, catalogue: Catalogue) -> tuple[Story, dict[str, Story]]:
    """Part ``callbacks.NAME`` (chosen or not) from ``callbacks.NAME.option``, under unique_name names."""
    chosen: Story = {}
    options: dict[str, Story] = {}
    for key, pile in _below(story, CALLBACKS_PREFIX).items():
        typed, _, option = key.removeprefix(CALLBACKS_PREFIX).partition(".")
        name = _canonical_callback(catalogue.of("callback"), typed)
        if option:
            options.setdefault(name, {}).setdefault(f"{CALLBACKS_PREFIX}{name}.{option}", []).extend(pile)
            continue
        chosen.setdefault(name, []).extend(_switches(settled, key, pile))
    for name, pile in chosen.items():
        pile.sort(key=lambda setting: setting.source)
        _refuse_twice(settled, name, pile)
    return chosen, options


def _canonical_callback(offers: tuple[EntryInfo, ...], typed: str) -> str:
    found = matching(offers, typed) or matching(offers, typed.replace("_", "-"))
    return unique_name(offers, found[0]) if len(found) == 1 else typed


def _switches(settled: PluginSettings, key: str, pile: list[Setting]) -> list[Setting]:
    """Read ``callbacks.NAME: true`` and ``false``, which any layer may say."""
    read = []
    for setting in pile:
        word = str(setting.value).lower()
        if word not in (*_TRUE, *_FALSE):
            settled.problems.append(
                Problem(key, setting.origin, f"{key} is {show(setting.value)}, expected true, false or its options.")
            )
        read.append(setting.with_value(word in _TRUE))
    return read


def _refuse_twice(settled: PluginSettings, name: str, pile: list[Setting]) -> None:
    """One layer names a callback once; two files are two layers."""
    for first, second in pairwise(pile):
        same_layer = first.source is second.source and (
            first.source is not Source.RUN_FILE or first.origin.rpartition(":")[0] == second.origin.rpartition(":")[0]
        )
        if same_layer and first.value and second.value:
            settled.problems.append(
                Problem(
                    CALLBACKS_PREFIX + name, second.origin, f"the callback {name} is given twice,"
                    f" first at {first.origin}.", "Keep one of the two.",
                )
            )  # fmt: skip


def _below(story: Story, prefix: str) -> Story:
    return {key: list(pile) for key, pile in story.items() if key.startswith(prefix)}


def _the_offer(settled: PluginSettings, kind: str, key: str, winner: Setting, catalogue: Catalogue) -> EntryInfo | None:
    """The one offer that a name means; else a problem that says what there is."""
    offers = catalogue.of(kind)
    name = str(winner.value)
    found = matching(offers, name)
    if len(found) > 1:
        settled.problems.append(Problem(key, winner.origin, *ambiguous_name(kind, found)))
        return None
    if found:
        _warn_shadowed(settled, kind, found[0], offers, name)
        return found[0]
    problem = Problem(key, winner.origin, f"there is no {kind} {show(name)}.", unknown_name_hint(kind, name, catalogue))
    settled.problems.append(problem)
    return None


def _warn_shadowed(
    settled: PluginSettings, kind: str, entry: EntryInfo, offers: tuple[EntryInfo, ...], typed: str
) -> None:
    if ":" in typed or entry.distribution != CORE_DISTRIBUTION:
        return
    for other in offers:
        if other is not entry and other.name.casefold() == entry.name.casefold():
            settled.warnings.append(
                f"{other.distribution} {other.version} offers a {kind} {other.name} too; the built-in one is used."
                f" Choose the other with {other.distribution}:{other.name}."
            )


def _fit(
    settled: PluginSettings,
    entry: EntryInfo,
    prefix: str,
    typed: Story,
    winner: Setting,
    *,
    who: str,
    others: tuple[EntryInfo, ...],
) -> BaseModel:
    """Convert the options that were given and build the model; record defaults as decisions too."""
    fields = entry.options.model_fields
    by_fold = {name.casefold(): name for name in fields}
    piles: Story = {}
    for key, pile in typed.items():
        option = key.removeprefix(prefix)
        name = option if option in fields else None
        if name is None and all(setting.source is Source.ENVIRONMENT for setting in pile):
            name = by_fold.get(option.casefold())  # environment names are in capitals
        if name is None:
            settled.problems += [_no_option(key, option, setting, who, list(fields), others) for setting in pile]
            continue
        found = [_converted(settled, entry, prefix, name, setting) for setting in pile]
        piles[name] = sorted([*piles[name], *found], key=lambda item: item.source) if name in piles else found
    model = _build(settled, entry, prefix, piles, winner)
    for name, info in fields.items():
        default: Any = info.get_default(call_default_factory=True, validated_data={})
        start = [] if info.is_required() else [Setting(default, Source.DEFAULT, "default")]
        if start or name in piles:
            settled.story[prefix + name] = [*start, *piles.get(name, [])]
    return model


def _converted(settled: PluginSettings, entry: EntryInfo, prefix: str, name: str, setting: Setting) -> Setting:
    key = prefix + name
    try:
        return setting.with_value(convert_option(entry.options, name, setting.value))
    except BadValueError as error:
        settled.problems.append(Problem(key, setting.origin, f"{key} {error}.", error.hint))
        settled.failed.add(key)
        return setting


def _no_option(
    key: str, option: str, setting: Setting, who: str, known: list[str], others: tuple[EntryInfo, ...]
) -> Problem:
    owners = [entry.name for entry in others if option in entry.options.model_fields]
    message = f"{key} has no effect: {who} has no option {option!r}."
    near = nearest(option, known)
    if near:
        return Problem(key, setting.origin, message, f"Did you mean {near[0]}?")
    hint = f"Its options are {', '.join(known)}." if known else f"{who} takes no options."
    return Problem(key, setting.origin, message, hint + (f" {' and '.join(owners)} would take it." if owners else ""))


def _build(settled: PluginSettings, entry: EntryInfo, prefix: str, piles: Story, winner: Setting) -> BaseModel:
    """All options together, so that validators which compare them run; problems at the option's own place."""
    given = {label: pile[-1].value for label, pile in piles.items() if pile}
    try:
        return entry.options.model_validate(given)
    except ValidationError as error:
        for item in error.errors():
            label = str(item["loc"][0]) if item["loc"] else ""
            key = prefix + label if label else prefix.rstrip(".")
            if key in settled.failed:
                continue
            origin = piles[label][-1].origin if piles.get(label) else winner.origin
            settled.problems.append(Problem(key, origin, f"{key}: {problem_of(item)}.", None))
            settled.failed.add(key)
        return Options()


__all__ = ["PluginSettings", "settle_callbacks", "settle_choice"]
