"""The words in which the story of a setting is told: where a value came from and what it beat.

These types are shared by the resolver, which makes them, and by renderers and run records,
which only read them. Nothing here computes precedence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ptycho_cli.config.schema import Config
from ptycho_cli.errors import ConfigError


class Source(IntEnum):
    """The kinds of layer, weakest first; a higher one beats a lower one."""

    DEFAULT = 0
    SCAN = 1
    CHECKPOINT = 2
    PRESET = 3
    USER_FILE = 4
    RUN_FILE = 5
    ENVIRONMENT = 6
    LIBRARY = 7
    COMMAND_LINE = 8

    @property
    def label(self) -> str:
        """The name in tables and JSON: ``default``, ``user-file``, ``run file``, ``command-line``, ..."""
        return "run file" if self is Source.RUN_FILE else self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Setting:
    """One layer's value for one key.

    Attributes:
        value: The converted value where conversion succeeded, else what was typed.
        source: The kind of layer.
        origin: The exact place: ``run.yaml:14``, ``$PTYCHO_SCHEDULER__NAME``,
            ``--scheduler (argument 3)``, ``default``.
        inherited: It came with all settings of an earlier run; nobody chose this one by itself.
    """

    value: Any
    source: Source
    origin: str
    inherited: bool = False

    def with_value(self, value: Any) -> Setting:
        """The same setting after its value was converted."""
        return Setting(value, self.source, self.origin, self.inherited)

    @property
    def is_general(self) -> bool:
        """Whether it was said for many runs (a preset, the user's file, an earlier run) or follows from the scan.

        Such a setting gives way where a stronger one takes its effect, instead of being an error.
        """
        return self.inherited or self.source in (Source.SCAN, Source.CHECKPOINT, Source.PRESET, Source.USER_FILE)


@dataclass(frozen=True, slots=True)
class Decision:
    """What was decided for one key, such as ``training.batch_size``.

    Attributes:
        key: Dotted key.
        winner: The setting in force.
        overridden: The settings it beat, strongest first; the default comes last.
        fixed: A checkpoint is in use and its value cannot be changed.
    """

    key: str
    winner: Setting
    overridden: tuple[Setting, ...] = ()
    fixed: bool = False

    @property
    def is_decided(self) -> bool:
        """Whether anybody set this key, apart from an earlier run that says what the default and all others say."""
        has_default = bool(self.overridden) and self.overridden[-1].source is Source.DEFAULT  # a callback has none
        if self.winner.inherited and has_default:
            return any(setting.value != self.winner.value for setting in self.overridden)
        return self.winner.source is not Source.DEFAULT

    @property
    def checkpoint(self) -> Setting | None:
        """What the checkpoint in use says, if there is one."""
        found = (item for item in (self.winner, *self.overridden) if item.source is Source.CHECKPOINT)
        return next(found, None)

    @property
    def fixed_by(self) -> Setting | None:
        """The checkpoint's value, where it cannot be changed."""
        return self.checkpoint if self.fixed else None

    @property
    def drifted(self) -> bool:
        """Whether something stronger says otherwise than the checkpoint in use."""
        return self.checkpoint is not None and self.checkpoint.value != self.winner.value


@dataclass(frozen=True, slots=True)
class Layer:
    """What one source says: raw values by key, each with its place, in the order written.

    A key may occur twice (``--set a=1 --set a=2``); the later one wins and the earlier is kept as overridden.
    ``problems`` and ``warnings`` are what the source itself found, such as a line that is not YAML.
    """

    source: Source
    settings: tuple[tuple[str, Setting], ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is wrong with the settings.

    Attributes:
        key: The dotted key, or what was typed in its place.
        origin: Where it was typed.
        message: What was found and what was expected.
        hint: The way out, such as the nearest known key.
    """

    key: str
    origin: str
    message: str
    hint: str | None = None

    def __str__(self) -> str:
        line = f"{self.origin}: {self.message}"
        return line if self.hint is None else f"{line} {self.hint}"


@dataclass(frozen=True, slots=True)
class Resolved:
    """The settings in force and the story of each one.

    Attributes:
        config: Immutable; holds plugin options as frozen models.
        decisions: One for every key, in the order of the schema; plugin options after their group.
        warnings: Things to say once that do not stop the program, such as a deprecated flag that was typed.
    """

    config: Config
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.decisions)

    def decision(self, key: str) -> Decision:
        """Return the decision for ``key``; raise ``KeyError`` if there is no such key."""
        for decision in self.decisions:
            if decision.key == key:
                return decision
        raise KeyError(key)


class ProblemsError(ConfigError):
    """All problems of the settings at once; ``problems`` holds them, the message is one line each."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
