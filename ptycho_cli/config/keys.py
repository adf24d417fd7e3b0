"""The schema as a list of keys, with all that help, messages and reference pages need to know of a setting."""

from __future__ import annotations

import types
from collections.abc import Iterable
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from ptycho_cli.config.schema import Config
from ptycho_cli.finding_ids import FINDING_IDS, Treatment

ENV_PREFIX = "PTYCHO_"
CALLBACKS_PREFIX = "callbacks."
FINDINGS_PREFIX = "data.findings."

_BOUNDS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
_TYPES: dict[Any, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


class Choice(NamedTuple):
    """A setting that chooses a scheduler or a network, whose options are settings below it.

    Attributes:
        kind: Its name in messages: ``scheduler`` or ``network``.
        group: Group of the schema with the name and the options.
    """

    kind: str
    group: str

    @property
    def key(self) -> str:
        """The setting that chooses: ``scheduler.name``."""
        return f"{self.group}.name"

    @property
    def prefix(self) -> str:
        """Beginning of the keys of its options: ``scheduler.options.``."""
        return f"{self.group}.options."

    @property
    def flag(self) -> str:
        """The flag that sets an option: ``--scheduler-option``."""
        return f"--{self.kind}-option"

    @property
    def argument(self) -> str:
        """The argument of a Python caller that holds the options: ``scheduler_options``."""
        return f"{self.kind}_options"


NETWORK = Choice("network", "model")
SCHEDULER = Choice("scheduler", "scheduler")
CHOICES = (NETWORK, SCHEDULER)


def choice_of(key: str) -> Choice | None:
    """The choice that a key is an option of; None if it is no option of a scheduler or network."""
    return next((choice for choice in CHOICES if key.startswith(choice.prefix)), None)


class Key(NamedTuple):
    """A core setting. (It is a named tuple because a frozen dataclass costs seven times as much start-up time.)

    Attributes:
        name: Dotted key, such as ``training.batch_size``.
        annotation: Type of the value, with the bounds of members of a union.
        bounds: Bounds in words, such as ``at least 1``.
        help: Help text.
        unit: Unit of the value, or None.
        flags: Spellings on the command line; for a switch, those that turn it on.
        negative_flags: Spellings that turn a switch off.
        positional: True if the values are plain arguments (``DATA...``).
        default: Built-in default.
    """

    name: str
    annotation: Any
    bounds: tuple[str, ...]
    help: str
    unit: str | None
    flags: tuple[str, ...]
    negative_flags: tuple[str, ...]
    positional: bool
    default: Any

    @property
    def group(self) -> str:
        """First part of the name."""
        return self.name.partition(".")[0]

    @property
    def field(self) -> str:
        """Second part of the name."""
        return self.name.partition(".")[2]

    @property
    def parameter(self) -> str:
        """The name as a Python identifier: ``training__batch_size``."""
        return self.name.replace(".", "__")

    @property
    def env(self) -> str:
        """Name of the environment variable."""
        return env_name(self.name)

    @property
    def argument(self) -> str | None:
        """The flag as a Python identifier: ``batch_size``; None if there is no flag."""
        return self.flags[-1].lstrip("-").replace("-", "_") if self.flags else None

    @property
    def is_switch(self) -> bool:
        """True if the flag takes no value."""
        return _is_switch(self.annotation)

    @property
    def takes_bool(self) -> bool:
        """True if true and false are valid, be it beside words."""
        return bool in _scalar_types(self.annotation)

    @property
    def is_list(self) -> bool:
        """True if the value is a list."""
        return get_origin(self.annotation) is tuple

    @property
    def optional(self) -> bool:
        """True if the value may be None."""
        return type(None) in get_args(self.annotation)

    @property
    def takes_text(self) -> bool:
        """True if some text is valid: any text, or one of a few words."""
        return any(item is str or isinstance(item, str) for item in _scalar_types(self.annotation))

    @property
    def is_free_text(self) -> bool:
        """True if any text is valid."""
        return not self.is_list and str in _scalar_types(self.annotation)

    @property
    def choices(self) -> tuple[str, ...]:
        """The valid words; empty if other values are valid too."""
        leaves = _scalar_types(self.annotation)
        return tuple(leaves) if all(isinstance(leaf, str) for leaf in leaves) else ()

    @property
    def expects(self) -> str:
        """Type and bounds of the value, for messages: ``a whole number, at least 1``."""
        bare = self.annotation
        if self.optional:
            bare = Union[tuple(arg for arg in get_args(bare) if arg is not type(None))]  # noqa: UP007
        words = ", ".join((type_in_words(bare), *self.bounds))
        return f"{words}, or null" if self.optional else words


def env_name(key: str) -> str:
    """Environment variable of a dotted key."""
    return ENV_PREFIX + key.upper().replace(".", "__").replace("-", "_")


def bounds_in_words(metadata: Iterable[Any]) -> tuple[str, ...]:
    """Bounds in a pydantic field's metadata, in words."""
    words = []
    for item in metadata:
        for attribute, word in _BOUNDS.items():
            if (limit := getattr(item, attribute, None)) is not None:
                words.append(f"{word} {limit:g}" if isinstance(limit, float) else f"{word} {limit}")
        if getattr(item, "min_length", None):
            words.append("not empty")
        for nested in getattr(item, "metadata", ()):  # a Field(...) inside Annotated
            words.extend(bounds_in_words([nested]))
    return tuple(words)


def type_in_words(annotation: Any) -> str:
    """Describe a type in words: ``a number, at least 0, or auto``."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        if described := next((item.description for item in args[1:] if getattr(item, "description", None)), None):
            return str(described)
        return ", ".join((type_in_words(args[0]), *bounds_in_words(args[1:])))
    if origin in (Union, types.UnionType):
        parts = [type_in_words(arg) for arg in args if arg is not type(None)]
        parts += ["null"] if type(None) in args else []
        separator = ", or " if any("," in part for part in parts[:-1]) else " or "
        return separator.join(parts).replace("true or false or ", "true, false or ")
    if origin is Literal:
        words = [str(arg) for arg in args]
        return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
    if origin in (tuple, frozenset):
        return f"a list, each {type_in_words(args[0])}" if args[0] is not str else "a list of texts"
    name = getattr(annotation, "described_as", None) or getattr(annotation, "__name__", str(annotation))
    return _TYPES.get(annotation, str(name))


def type_and_bounds(key: Key) -> tuple[str, str]:
    """Type and bounds of a setting, apart: ``a number or auto`` and ``at least 0``."""
    bounds = list(key.bounds)

    def bare(annotation: Any) -> Any:
        origin, args = get_origin(annotation), get_args(annotation)
        if origin is Annotated:
            bounds.extend(bounds_in_words(args[1:]))
            return bare(args[0])
        if origin in (Union, types.UnionType):
            return Union[tuple(bare(arg) for arg in args)]  # noqa: UP007
        return annotation

    kind = type_in_words(bare(key.annotation))
    return kind, ", ".join(bounds)


def _scalar_types(annotation: Any) -> list[Any]:
    """Scalar types and literal words inside an annotation, without None."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return list(args)
    if origin is Annotated:
        return _scalar_types(args[0])
    if origin in (Union, types.UnionType, tuple):
        return [leaf for arg in args if arg not in (type(None), ...) for leaf in _scalar_types(arg)]
    return [annotation]


def _is_switch(annotation: Any) -> bool:
    """Whether true and false, and at most auto, are the values of an annotation."""
    leaves = _scalar_types(annotation)
    return bool in leaves and set(leaves) <= {bool, "auto"}


def _parse_flag(flag: str | None, switch: bool) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Split ``-o/--output-dir``, ``--a/--no-a`` of a switch, or ``DATA`` for plain arguments."""
    if flag is None:
        return (), (), False
    if not flag.startswith("-"):
        return (), (), True
    parts = tuple(flag.split("/"))
    return (parts[:1], parts[1:], False) if switch else (parts, (), False)


@cache
def keys() -> dict[str, Key]:
    """All core settings by dotted key, in the order of the schema."""
    found = {}
    for group, group_info in Config.model_fields.items():
        model: Any = group_info.annotation
        for field, info in getattr(model, "model_fields", {}).items():
            if not isinstance(info.json_schema_extra, dict):
                continue  # options: a model of their own
            extra: Any = info.json_schema_extra
            flags, negative, positional = _parse_flag(extra["flag"], _is_switch(info.annotation))
            found[f"{group}.{field}"] = Key(
                name=f"{group}.{field}",
                annotation=info.annotation,
                bounds=bounds_in_words(info.metadata),
                help=info.description or "",
                unit=extra["unit"],
                flags=flags,
                negative_flags=negative,
                positional=positional,
                default=info.default,
            )
    return found


def keys_of(group: str) -> list[Key]:
    """The core settings of a group, in the order of the schema."""
    return [key for key in keys().values() if key.group == group]


@cache
def finding_keys() -> dict[str, Key]:
    """Severities of findings, ``data.findings.ID``, by dotted key; they are no decisions unless they are set."""
    return {
        FINDINGS_PREFIX + id: Key(
            name=FINDINGS_PREFIX + id,
            annotation=Literal["auto", Treatment],
            bounds=(),
            help=f"Severity of the finding {id}; auto is that of the check, ignore leaves the fault as it is.",
            unit=None,
            flags=(),
            negative_flags=(),
            positional=False,
            default="auto",
        )
        for id in FINDING_IDS
    }


def find_key(name: str) -> Key | None:
    """The core setting, or the severity of a finding, of a dotted key; None if there is none."""
    return keys().get(name) or finding_keys().get(name)


def groups() -> tuple[str, ...]:
    """Names of the groups of settings, in the order of the schema."""
    return tuple(Config.model_fields)


def is_plugin_key(name: str) -> bool:
    """True if a key belongs to a plugin: an option of scheduler or network, or a callback or its option."""
    return name.startswith(CALLBACKS_PREFIX) or choice_of(name) is not None
