"""Keys that a mistyped name may stand for, spelled as its source spells them: file, environment, flag or Python."""

from __future__ import annotations

from collections.abc import Iterable

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.keys import (
    CALLBACKS_PREFIX,
    CHOICES,
    ENV_PREFIX,
    FINDINGS_PREFIX,
    env_name,
    finding_keys,
    groups,
    is_plugin_key,
    keys,
    keys_of,
)
from ptycho_cli.config.nearest import nearest
from ptycho_cli.config.provenance import Problem, Setting, Source

ALL_SETTINGS = "`ptycho inspect-config --show all` lists all settings."
_CALLBACKS = CALLBACKS_PREFIX.rstrip(".")
_TYPO = 0.8  # likeness of names that differ by a typing mistake
_SHORTEST_WORD = 4  # letters: shorter ones are units and abbreviations, which many names share


def spelled(key: str, source: Source) -> str:
    """A key, or a group of keys, as settings of a source are written."""
    if source is Source.ENVIRONMENT:
        return env_name(key)
    if source is not Source.LIBRARY:
        return key
    if key in keys():
        return keys()[key].argument or f'**{{"{key}": ...}}'
    choice = next((choice for choice in CHOICES if choice.prefix == f"{key}."), None)
    if choice is not None:
        return choice.argument
    return f'**{{"{key}": ...}}' if "." in key else key


def nearest_keys(name: str, catalogue: Catalogue, *, source: Source = Source.COMMAND_LINE, n: int = 1) -> list[str]:
    """Keys, or groups of keys, that a mistyped name may stand for, best first.

    The group is corrected first, then the name inside it; a flag written as an identifier (``val_data``) stands
    for its key.
    """
    known = _spellings(catalogue, source)
    corrected = _with_known_group(name)
    if corrected in known:
        return [known[corrected]]
    if corrected != name and is_plugin_key(corrected):
        prefix, _, option = corrected.rpartition(".")
        inside = nearest(option, (item.rpartition(".")[2] for item in known if item.startswith(f"{prefix}.")))
        return [f"{prefix}.{inside[0] if inside else option}"]
    head, _, rest = corrected.partition(".")
    if not rest or head not in groups():
        return _keys_of(nearest(corrected, known, n), known)
    last = corrected.rpartition(".")[2]
    same_last_part = [item for item in known if item.rpartition(".")[2] == last]
    inside = [item for item in known if item.startswith(f"{head}.")]
    by_last_part = {item.rpartition(".")[2]: item for item in inside}
    found = [by_last_part[item] for item in _alike(last, by_last_part, n)]
    elsewhere = nearest(corrected, (item for item in known if item not in inside and "." in item), n)
    return _keys_of([*nearest(corrected, same_last_part, n), *found, *elsewhere], known)[:n]


def _alike(name: str, known: Iterable[str], n: int) -> list[str]:
    """The name that differs by a typing mistake, those that share a word, and others that are like it."""
    return [*nearest(name, known, cutoff=_TYPO), *_with_a_word_of(name, known), *nearest(name, known, n)]


def _with_a_word_of(name: str, known: Iterable[str]) -> list[str]:
    """Names that have a word of this one, its longest and last first: ``distance_m`` for ``detector_distance``."""
    words = [word for word in reversed(name.split("_")) if len(word) >= _SHORTEST_WORD]
    return [item for word in sorted(words, key=len, reverse=True) for item in known if word in item.split("_")]


def _keys_of(spellings: Iterable[str], known: dict[str, str]) -> list[str]:
    return list(dict.fromkeys(known[item] for item in spellings))


def _spellings(catalogue: Catalogue, source: Source) -> dict[str, str]:
    """Every name that may be typed for a key or a group -> the key or group."""
    arguments = {item.argument: item.name for item in keys().values() if item.argument is not None}
    options = {
        f"{choice.prefix}{name}": f"{choice.prefix}{name}"
        for choice in CHOICES
        for entry in catalogue.of(choice.kind)
        for name in entry.options.model_fields
    }
    options |= {
        f"{CALLBACKS_PREFIX}{entry.name}.{name}": f"{CALLBACKS_PREFIX}{entry.name}.{name}"
        for entry in catalogue.of("callback")
        for name in entry.options.model_fields
    }
    of_choices = {
        name: choice.prefix.rstrip(".")
        for choice in CHOICES
        for name in (choice.prefix.rstrip("."), choice.argument, f"{choice.group}_options")
    }
    names = {**{name: name for name in (*keys(), *finding_keys(), *groups())}, **of_choices, **options}
    return {**names, **arguments} if source is Source.LIBRARY else {**arguments, **names}


def _with_known_group(name: str) -> str:
    """The name with a mistyped group, or a mistyped ``options``, replaced by the nearest that exists."""
    head, _, rest = name.partition(".")
    if not rest:
        return name
    if head not in groups():
        near = nearest(head, groups())
        head = near[0] if near else head
    second, _, option = rest.partition(".")
    if option and any(choice.group == head for choice in CHOICES) and nearest(second, ["options"]):
        rest = f"options.{option}"
    return f"{head}.{rest}"


def unknown_key(name: str, setting: Setting, catalogue: Catalogue) -> Problem:
    """The problem of a name that is no setting: a group in place of a setting, or a mistyped name."""
    source = setting.source
    if (contents := contents_of(name, source)) is not None:
        return Problem(name, setting.origin, f"{name} is a group of settings, expected one of them.", contents)
    message = f"there is no setting {name!r}."
    if near := nearest_keys(name, catalogue, source=source):
        return Problem(name, setting.origin, message, f"Did you mean {spelled(near[0], source)}?")
    group = _with_known_group(name).partition(".")[0]
    if name.startswith(FINDINGS_PREFIX):
        group = FINDINGS_PREFIX.rstrip(".")
    contents = contents_of(group, source)
    if contents is None:
        hint = ALL_SETTINGS
    elif name.startswith(f"{group}."):
        hint = contents.replace("It has", f"{group} has", 1)
    else:
        hint = f"Did you mean {group}? {contents}"
    return Problem(name, setting.origin, message, hint)


def unknown_variable(name: str, reserved: Iterable[str]) -> str:
    """The warning about an environment variable that begins like a setting's but is none.

    Args:
        name: The variable, such as ``PTYCHO_TRAINING_EPOCHS``.
        reserved: Variables that the program reads although they are no settings.
    """
    by_variable = {env_name(group): group for group in groups()}
    if name in by_variable:
        contents = contents_of(by_variable[name], Source.ENVIRONMENT)
        return f"${name} names a group of settings and has no effect. {contents}"
    known = {item.removeprefix(ENV_PREFIX).lower(): item for item in reserved}
    known |= {item: env_name(key) for item, key in _spellings(Catalogue(), Source.ENVIRONMENT).items()}
    near = nearest(name.removeprefix(ENV_PREFIX).lower(), known)
    hint = ""
    if near:
        found = known[near[0]]
        contents = contents_of(by_variable[found], Source.ENVIRONMENT) if found in by_variable else None
        hint = f" Did you mean {found}?" + (f" {contents}" if contents else "")
    return f"${name} is not a setting and has no effect.{hint}"


def contents_of(group: str, source: Source) -> str | None:
    """The settings of a group, as one sentence for hints; None if there is no such group."""
    choice = next((choice for choice in CHOICES if choice.prefix == f"{group}."), None)
    if choice is not None:
        forms = {
            Source.COMMAND_LINE: f"{choice.flag} NAME=VALUE",
            Source.LIBRARY: f'{choice.argument}={{"NAME": ...}}',
        }
        return f"Use {forms.get(source) or spelled(f'{choice.prefix}NAME', source)}."
    if f"{group}." == FINDINGS_PREFIX:
        return f"Use {spelled(f'{FINDINGS_PREFIX}ID', source)}; docs/data.md lists the ids."
    if group == _CALLBACKS:
        return f"Use {callback_choice('NAME', source)}."
    inside = keys_of(group)
    if not inside:
        return None
    names = [item.argument or item.name if source is Source.LIBRARY else spelled(item.name, source) for item in inside]
    return f"It has {', '.join(names)}."


def callback_choice(name: str, source: Source) -> str:
    """The setting that chooses a callback, as a source spells it."""
    forms = {
        Source.COMMAND_LINE: f"--callback {name}",
        Source.ENVIRONMENT: f"{env_name(CALLBACKS_PREFIX + name)}=true",
        Source.LIBRARY: f'callbacks=["{name}"]',
    }
    return forms.get(source, f"{CALLBACKS_PREFIX}{name}: true")
