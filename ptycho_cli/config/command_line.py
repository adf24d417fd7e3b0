"""The command line as a layer: flags, ``--set`` and old names, in the order they were typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cache
from typing import Any, NamedTuple

from ptycho_cli.config.keys import CALLBACKS_PREFIX, CHOICES, Key, keys
from ptycho_cli.config.provenance import Layer, Problem, Setting, Source
from ptycho_cli.config.sources import split_assignment
from ptycho_cli.config.values import parse_text, show


class Typed(NamedTuple):
    """One thing that was typed.

    Attributes:
        name: The flag as typed, or the name of a plain argument, such as ``DATA``.
        value: Its text; True for a flag without a value.
        number: Which word after ``ptycho`` it is, from 1.
    """

    name: str
    value: Any
    number: int

    @property
    def origin(self) -> str:
        """The place for tables and messages."""
        return f"{self.name} (argument {self.number})"


class OldName(NamedTuple):
    """A name of PtychoPINN's command line that still works.

    Attributes:
        flag: The old spelling.
        key: The setting that it sets now.
        new: What to type instead.
        convert: Old text -> new value; raises ``ValueError`` for text that it cannot read.
        expects: What ``convert`` reads, for messages and help.
        takes_value: False for a switch.
    """

    flag: str
    key: str
    new: str
    convert: Callable[[str], Any] = str
    expects: str = "text"
    takes_value: bool = True


def _square(text: str) -> str:
    return str(int(text) ** 2)


def _pick(**words: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]

    return convert


OLD_NAMES: tuple[OldName, ...] = (
    OldName("--train_data_file", "data.paths", "DATA, a plain argument"),
    OldName("--test_data_file", "data.validation_paths", "--val-data"),
    OldName("--output_dir", "training.output_dir", "--output-dir"),
    OldName("--max_epochs", "training.epochs", "--epochs"),
    OldName("--n_images", "training.n_groups", "--n-groups"),
    OldName("--gridsize", "data.group_size", "--group-size", _square, "a whole number; its square is the group size"),
    OldName("--batch_size", "training.batch_size", "--batch-size"),
    OldName("--device", "execution.accelerator", "--accelerator", _pick(cpu="cpu", cuda="gpu"), "cpu or cuda"),
    OldName("--disable_mlflow", "execution.logger", "--logger none", lambda _: "none", "no value", takes_value=False),
    OldName("--torch-loss-mode", "loss.name", "--loss", _pick(poisson="poisson", mae="amplitude"), "poisson or mae"),
)

# Flags that are no setting themselves but carry some.
SET = "--set"
CALLBACK = "--callback"
CALLBACK_OPTION = "--callback-option"
# What the names after a flag of assignments begin with.
_PREFIXES = {SET: "", CALLBACK_OPTION: CALLBACKS_PREFIX, **{choice.flag: choice.prefix for choice in CHOICES}}


@cache
def _flags() -> dict[str, tuple[Key, Any]]:
    """Flag -> (key, value it stands for, or None if the value follows)."""
    found: dict[str, tuple[Key, Any]] = {}
    for key in keys().values():
        found.update(dict.fromkeys(key.flags, (key, True if key.is_switch else None)))
        found.update(dict.fromkeys(key.negative_flags, (key, False)))
    return found


def command_line_layer(typed: Iterable[Typed]) -> Layer:
    """Turn what was typed into a layer; the later of two wins, and a new name beats an old one."""
    words = list(typed)
    old_by_flag = {old.flag: old for old in OLD_NAMES}
    old_words = [word for word in words if word.name in old_by_flag]
    fresh: list[tuple[str, Setting]] = []
    stale: list[tuple[str, Setting]] = []
    problems: list[Problem] = []
    for entry in _joined(old_words):
        _read_into(stale, problems, [_old_setting(old_by_flag[entry.name], entry)])
    for entry in _joined(word for word in words if word.name not in old_by_flag):
        _read_into(fresh, problems, _settings(entry))
    warnings = _old_name_warnings(old_words, old_by_flag, {key for key, _ in fresh})
    return Layer(Source.COMMAND_LINE, (*stale, *fresh), tuple(problems), warnings)


def _read_into(
    found: list[tuple[str, Setting]], problems: list[Problem], items: Iterable[tuple[str, Setting] | Problem]
) -> None:
    for item in items:
        if isinstance(item, Problem):
            problems.append(item)
        else:
            found.append(item)


def _joined(words: Iterable[Typed]) -> Iterator[Typed]:
    """Collect the values of a list setting, which may be typed several times, into one entry at the first place."""
    entries: list[Typed] = []
    for word in words:
        key = _key_of(word.name)
        if key is None or not key.is_list:
            entries.append(word)
            continue
        at = next((i for i, entry in enumerate(entries) if entry.name == word.name), None)
        if at is None:
            entries.append(Typed(word.name, (word.value,), word.number))
        else:
            entries[at] = Typed(word.name, (*entries[at].value, word.value), entries[at].number)
    yield from entries


def _key_of(name: str) -> Key | None:
    if name in _flags():
        return _flags()[name][0]
    for old in OLD_NAMES:
        if old.flag == name:
            return keys()[old.key]
    return next((key for key in keys().values() if key.positional and name == "DATA"), None)


def _settings(word: Typed) -> Iterator[tuple[str, Setting] | Problem]:
    """The settings that one typed thing makes; none for flags such as ``--force``."""
    if word.name in _PREFIXES:
        yield _assignment(word)
    elif word.name == CALLBACK:
        yield CALLBACKS_PREFIX + word.value, Setting(True, Source.COMMAND_LINE, word.origin)
    elif (key := _key_of(word.name)) is not None:
        fixed = _flags()[word.name][1] if word.name in _flags() else None
        value = word.value if fixed is None else fixed
        if fixed is None and not key.is_free_text and not key.is_list:
            value = parse_text(key, value)
        yield key.name, Setting(value, Source.COMMAND_LINE, word.origin)


def _assignment(word: Typed) -> tuple[str, Setting] | Problem:
    parts = split_assignment(word.value, word.name, word.origin)
    if isinstance(parts, Problem):
        return parts
    name, text = parts
    if word.name == CALLBACK_OPTION and "." not in name:
        return Problem(
            name, word.origin, f"{show(name)} names no callback", f"Write {CALLBACK_OPTION} CALLBACK.{name}=VALUE."
        )
    key = _PREFIXES[word.name] + name
    value = parse_text(keys()[key], text) if key in keys() else text
    return key, Setting(value, Source.COMMAND_LINE, word.origin)


def _old_setting(old: OldName, word: Typed) -> tuple[str, Setting] | Problem:
    key = keys()[old.key]
    if key.is_list:
        return old.key, Setting(word.value, Source.COMMAND_LINE, word.origin)
    try:
        value = old.convert(word.value if old.takes_value else "")
    except ValueError:
        return Problem(old.key, word.origin, f"{old.flag} is {show(word.value)}, expected {old.expects}", None)
    return old.key, Setting(value, Source.COMMAND_LINE, word.origin)


def _old_name_warnings(words: list[Typed], old_by_flag: dict[str, OldName], fresh: set[str]) -> tuple[str, ...]:
    """One line for each old name that was typed, saying what to type and what happened to it."""
    warnings = []
    for flag in dict.fromkeys(word.name for word in words):
        old = old_by_flag[flag]
        line = f"{flag} is an old name; use {old.new} ({old.key})."
        if old.key in fresh:
            line += f" The new name was given too, so {flag} has no effect."
        warnings.append(line)
    return tuple(warnings)
