"""Provenance of settings: where each value comes from, and which values it overrides.

The resolver makes these objects; renderers and run records read them. Nothing here computes precedence.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from ptycho_cli.config.schema import Config
from ptycho_cli.errors import ConfigError


class Source(IntEnum):
    """The kinds of layer, weakest first; a higher one overrides a lower one."""

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
        """Name in tables and JSON: ``default``, ``user-file``, ``run file``, ``command-line``, ..."""
        return "run file" if self is Source.RUN_FILE else self.name.lower().replace("_", "-")


@dataclass(frozen=True, slots=True)
class Setting:
    """The value of one key in one layer.

    Attributes:
        value: The converted value; the raw one if it cannot be converted.
        source: The kind of layer.
        origin: The exact place: ``run.yaml:14``, ``$PTYCHO_SCHEDULER__NAME``,
            ``--scheduler (argument 3)``, ``default``.
        inherited: It was copied with all settings of an earlier run, so nobody chose it for this one.
    """

    value: Any
    source: Source
    origin: str
    inherited: bool = False

    def with_value(self, value: Any) -> Setting:
        """The same setting with another value, such as the converted one."""
        return Setting(value, self.source, self.origin, self.inherited)

    @property
    def for_many_runs(self) -> bool:
        """True for a setting of a preset, the user's file, an earlier run or a scan: not chosen for this run alone.

        Where another setting makes it ineffective, it is dropped with a warning and is no error.
        """
        return self.inherited or self.source in (Source.SCAN, Source.CHECKPOINT, Source.PRESET, Source.USER_FILE)


# Key -> its settings in all layers, weakest first.
SettingsByKey = dict[str, list[Setting]]


@dataclass(frozen=True, slots=True)
class Decision:
    """The setting in force for one key, and the settings that it overrides.

    Attributes:
        key: Dotted key, such as ``training.batch_size``.
        winner: The setting in force.
        overridden: The settings that it overrides, strongest first; the default comes last.
        fixed: A checkpoint is in use, and its value cannot be changed.
    """

    key: str
    winner: Setting
    overridden: tuple[Setting, ...] = ()
    fixed: bool = False

    @property
    def is_decided(self) -> bool:
        """True if any layer sets this key; a value copied from an earlier run counts if it overrides another value."""
        has_default = bool(self.overridden) and self.overridden[-1].source is Source.DEFAULT  # a callback has none
        if self.winner.inherited and has_default:
            return any(setting.value != self.winner.value for setting in self.overridden)
        return self.winner.source is not Source.DEFAULT

    @property
    def checkpoint(self) -> Setting | None:
        """The setting of the checkpoint in use; None if there is none."""
        found = (item for item in (self.winner, *self.overridden) if item.source is Source.CHECKPOINT)
        return next(found, None)

    @property
    def fixed_by(self) -> Setting | None:
        """The setting of the checkpoint if it cannot be changed, else None."""
        return self.checkpoint if self.fixed else None

    @property
    def differs_from_checkpoint(self) -> bool:
        """True if a checkpoint is in use and a stronger layer sets another value."""
        return self.checkpoint is not None and self.checkpoint.value != self.winner.value


@dataclass(frozen=True, slots=True)
class Layer:
    """The settings of one source: raw values by key, each with its place, in the order written.

    A key may occur twice (``--set a=1 --set a=2``); the later setting overrides the earlier one.

    Attributes:
        source: The kind of layer.
        settings: Keys and settings.
        problems: Errors in the source itself, such as a line that is not YAML.
        warnings: Messages to print once.
    """

    source: Source
    settings: tuple[tuple[str, Setting], ...] = ()
    problems: tuple[Problem, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Problem:
    """An error in the settings.

    Attributes:
        key: The dotted key, or the name that was given in its place.
        origin: The place of the setting.
        message: What was found and what was expected.
        hint: How to correct it, such as the nearest known key.
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
    """The settings in force, and the provenance of each.

    Attributes:
        config: All settings, immutable; the options of plugins are frozen models.
        decisions: One for every key, in the order of the schema; options of plugins follow their group.
        warnings: Messages to print once, such as about an old name that was used.
    """

    config: Config
    decisions: tuple[Decision, ...]
    warnings: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[Decision]:
        return iter(self.decisions)

    def decision(self, key: str) -> Decision:
        """Return the decision for a key; raise ``KeyError`` if there is no such key."""
        for decision in self.decisions:
            if decision.key == key:
                return decision
        raise KeyError(key)


class ProblemsError(ConfigError):
    """All problems of the settings at once, one line each in the message; ``problems`` holds them."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems
