"""The layer of the command line: flags, ``--set`` and old names, in the order in which they are typed."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import cache
from typing import Any, NamedTuple

from ptycho_cli.config.keys import CALLBACKS_PREFIX, CHOICES, Key, find_key, keys
from ptycho_cli.config.provenance import Layer, Problem, Setting, Source
from ptycho_cli.config.values import parse_text, show


class Typed(NamedTuple):
    """A flag or plain argument of the command line.

    Attributes:
        name: The flag as typed; ``DATA`` for a scan file.
        value: Its text; True for a flag without a value.
        number: Number of the word after ``ptycho``, from 1.
    """

    name: str
    value: Any
    number: int

    @property
    def origin(self) -> str:
        """Its place, for tables and messages."""
        return f"{self.name} (argument {self.number})"


class OldName(NamedTuple):
    """A flag of PtychoPINN's command line that still works.

    Attributes:
        flag: The old flag.
        key: The setting that it sets.
        new: The new spelling.
        convert: Old text -> new value; raises ``ValueError`` if it cannot read the text.
        expects: Description of the old values, for messages and help.
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


def _renamed(**new_values: str) -> Callable[[str], str]:
    def convert(text: str) -> str:
        if text.lower() not in new_values:
            raise ValueError(text)
        return new_values[text.lower()]

    return convert


OLD_NAMES: tuple[OldName, ...] = (
    OldName("--train_data_file", "data.paths", "DATA, a plain argument"),
    OldName("--test_data_file", "data.validation_paths", "--val-data"),
    OldName("--output_dir", "training.output_dir", "--output-dir"),
    OldName("--max_epochs", "training.epochs", "--epochs"),
    OldName("--n_images", "training.n_groups", "--n-groups"),
    OldName("--gridsize", "data.group_size", "--group-size", _square, "a whole number; its square is the group size"),
    OldName("--batch_size", "training.batch_size", "--batch-size"),
    OldName("--device", "execution.accelerator", "--accelerator", _renamed(cpu="cpu", cuda="gpu"), "cpu or cuda"),
    OldName("--disable_mlflow", "execution.logger", "--logger none", lambda _: "none", "no value", takes_value=False),
    OldName("--torch-loss-mode", "loss.name", "--loss", _renamed(poisson="poisson", mae="amplitude"), "poisson or mae"),
)

# Flags that set the key in their value.
SET = "--set"
CALLBACK = "--callback"
CALLBACK_OPTION = "--callback-option"
# Flag of assignments -> prefix of the keys that it sets.
_PREFIXES = {SET: "", CALLBACK_OPTION: CALLBACKS_PREFIX, **{choice.flag: choice.prefix for choice in CHOICES}}


_Made = tuple[str, Setting] | Problem | None


@cache
def _flags() -> dict[str, tuple[Key, Any]]:
    """Flag -> its key, and the value that it stands for; None if the value follows the flag."""
    found: dict[str, tuple[Key, Any]] = {}
    for key in keys().values():
        found.update(dict.fromkeys(key.flags, (key, True if key.is_switch else None)))
        found.update(dict.fromkeys(key.negative_flags, (key, False)))
        if key.positional:
            found["DATA"] = (key, None)
    return found


def command_line_layer(typed: Iterable[Typed]) -> Layer:
    """The layer of the command line; the later of two settings wins, and a new name overrides an old one."""
    old_names = {old.flag: old for old in OLD_NAMES}
    used: dict[str, OldName] = {}
    old_settings: list[tuple[str, Setting]] = []
    new_settings: list[tuple[str, Setting]] = []
    problems: list[Problem] = []
    for argument in _with_joined_lists(typed, old_names):
        old = old_names.get(argument.name)
        if old is not None:
            used[old.flag] = old
        made = _setting(argument) if old is None else _old_setting(old, argument)
        if isinstance(made, Problem):
            problems.append(made)
        elif made is not None:
            (new_settings if old is None else old_settings).append(made)
    overridden = {key for key, _ in new_settings}
    warnings = tuple(
        f"{old.flag} is an old name; use {old.new} ({old.key})."
        + (f" The new name was given too, so {old.flag} has no effect." if old.key in overridden else "")
        for old in used.values()
    )
    return Layer(Source.COMMAND_LINE, (*old_settings, *new_settings), tuple(problems), warnings)


def _with_joined_lists(typed: Iterable[Typed], old_names: dict[str, OldName]) -> list[Typed]:
    """Join the values of a list setting, whose flag may be repeated, into one argument at the first place."""
    joined: list[Typed] = []
    places: dict[str, int] = {}
    for argument in typed:
        old = old_names.get(argument.name)
        key = _flags().get(argument.name, (None,))[0] if old is None else keys()[old.key]
        if key is None or not key.is_list or (old is not None and not old.takes_value):
            joined.append(argument)
        elif argument.name not in places:
            places[argument.name] = len(joined)
            joined.append(argument._replace(value=(argument.value,)))
        else:
            first = joined[places[argument.name]]
            joined[places[argument.name]] = first._replace(value=(*first.value, argument.value))
    return joined


def _setting(argument: Typed) -> _Made:
    """The setting of a flag or plain argument; None for flags that set nothing, such as ``--force``."""
    if argument.name in _PREFIXES:
        return _assignment(argument)
    if argument.name == CALLBACK:
        return CALLBACKS_PREFIX + argument.value, Setting(True, Source.COMMAND_LINE, argument.origin)
    if argument.name not in _flags():
        return None
    key, value = _flags()[argument.name]
    if value is None:
        value = argument.value if key.is_free_text or key.is_list else parse_text(key, argument.value)
    return key.name, Setting(value, Source.COMMAND_LINE, argument.origin)


def _assignment(argument: Typed) -> _Made:
    """The setting of ``--set KEY=VALUE`` or of a flag for options."""
    flag, origin = argument.name, argument.origin
    name, equals, text = argument.value.partition("=")
    name = name.strip()
    if not equals or not name:
        message = f"{flag} {show(argument.value)} has no value"
        return Problem(argument.value, origin, message, f"Write {flag} NAME=VALUE, without spaces.")
    if flag == CALLBACK_OPTION and "." not in name:
        return Problem(name, origin, f"{show(name)} names no callback", f"Write {flag} CALLBACK.{name}=VALUE.")
    key = _PREFIXES[flag] + name
    value = parse_text(known, text) if (known := find_key(key)) else text
    return key, Setting(value, Source.COMMAND_LINE, origin)


def _old_setting(old: OldName, argument: Typed) -> _Made:
    """The setting of an old flag."""
    value = argument.value
    if not (keys()[old.key].is_list and old.takes_value):
        try:
            value = old.convert(value if old.takes_value else "")
        except ValueError:
            message = f"{old.flag} is {show(value)}, expected {old.expects}"
            return Problem(old.key, argument.origin, message)
    return old.key, Setting(value, Source.COMMAND_LINE, argument.origin)
