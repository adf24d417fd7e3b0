"""What is searched: ranges and choices of settings, as typed after ``--search``."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.provenance import Layer, Resolved, Setting, Source
from ptycho_cli.config.resolve import resolve
from ptycho_cli.errors import ConfigError

EXAMPLE = "optimizer.learning_rate=1e-4..1e-2:log or model.options.stages=2,4,8"
# These change which frames are held out, or nothing that is computed: losses would not compare, or all be equal.
_REFUSED = ("data.", "execution.", "checkpoint.", "pictures.", "inference.", "training.output_dir", "training.report")
_ALLOWED = ("data.group_size",)
_RANGE = re.compile(r"(?P<low>[^,:]+?)\.\.(?P<high>[^,:]+?)(?P<log>:log)?")


@dataclass(frozen=True)
class Searched:
    """One setting that is searched.

    Attributes:
        key: Its dotted key.
        choices: Values to choose from; empty for a range.
        low: Lowest value of a range.
        high: Highest value.
        log: Values are spread evenly on a logarithmic scale.
    """

    key: str
    choices: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 0.0
    log: bool = False

    @property
    def ends(self) -> tuple[Any, ...]:
        """Values that the settings must accept: all choices, or both ends of the range."""
        return self.choices or (self.low, self.high)

    @property
    def whole(self) -> bool:
        """True for a range of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def contains(self, value: Any) -> bool:
        """True if the search could suggest this value."""
        if self.choices:
            return value in self.choices
        return isinstance(value, (int, float)) and not isinstance(value, bool) and self.low <= value <= self.high

    def suggest(self, trial: Any) -> Any:
        """A value for a trial of Optuna."""
        if self.choices:
            return trial.suggest_categorical(self.key, self.choices)
        if self.whole:
            return trial.suggest_int(self.key, self.low, self.high, log=self.log)
        return trial.suggest_float(self.key, self.low, self.high, log=self.log)

    def text(self) -> str:
        """The search as it is typed."""
        if self.choices:
            return f"{self.key}={','.join(map(str, self.choices))}"
        return f"{self.key}={self.low}..{self.high}{':log' if self.log else ''}"


def parse_searches(texts: Sequence[str], base: Resolved, catalogue: Catalogue) -> tuple[Searched, ...]:
    """Read ``KEY=LOW..HIGH[:log]`` and ``KEY=A,B,C``, and try all ends and choices with the other settings.

    Raises:
        ConfigError: If a text cannot be read, a key is unknown or cannot be searched, or a value is refused.
    """
    found = tuple(_parsed(text) for text in texts)
    keys = [item.key for item in found]
    for item in found:
        origin = f"--search {item.text()}"
        if item.key.startswith(_REFUSED) and item.key not in _ALLOWED:
            why = "it does not change what is computed, or changes which frames are compared"
            raise ConfigError(f"{origin}: {item.key} cannot be searched: {why}.", hint=f"Search {EXAMPLE}.")
        if keys.count(item.key) > 1:
            raise ConfigError(f"{origin}: {item.key} is searched twice.", hint="Leave out one of the two.")
        if not item.choices and (item.low >= item.high or (item.log and item.low <= 0)):
            raise ConfigError(
                f"{origin}: expected a lower and a higher end, above 0 for ':log'.", hint=f"Try {EXAMPLE}."
            )
    for number in range(max((len(item.ends) for item in found), default=0)):
        values = {item.key: item.ends[min(number, len(item.ends) - 1)] for item in found}
        with_values(base, catalogue, values, "--search")
    return tuple(_in_type(item, base, catalogue) for item in found)


def with_values(base: Resolved, catalogue: Catalogue, values: dict[str, Any], origin: str) -> Resolved:
    """The settings with other values of some keys, which override all else.

    Raises:
        ProblemsError: If the settings refuse a value.
    """
    kept = [(item.key, item.winner) for item in base.decisions if item.key not in values]
    changed = [(key, Setting(value, Source.COMMAND_LINE, f"{origin} {key}")) for key, value in values.items()]
    layers = [Layer(setting.source, ((key, setting),)) for key, setting in kept if setting.source is not Source.DEFAULT]
    return resolve([*layers, Layer(Source.COMMAND_LINE, tuple(changed))], catalogue, command="train")


def value_of(resolved: Resolved, key: str) -> Any:
    """The value of a setting in force."""
    return resolved.decision(key).winner.value


def _parsed(text: str) -> Searched:
    key, equals, what = (part.strip() for part in text.partition("="))
    if not (key and equals and what):
        raise ConfigError(f"--search {text}: expected KEY=LOW..HIGH or KEY=A,B,C.", hint=f"Try {EXAMPLE}.")
    if match := _RANGE.fullmatch(what):
        low, high = _number(match["low"]), _number(match["high"])
        if low is None or high is None:
            raise ConfigError(f"--search {text}: the ends of a range must be numbers.", hint=f"Try {EXAMPLE}.")
        return Searched(key, low=low, high=high, log=match["log"] is not None)
    choices = tuple(dict.fromkeys(_choice(item) for item in what.split(",")))
    if len(choices) < 2:
        raise ConfigError(
            f"--search {text}: one value is no search.", hint=f"Set it with --set {text}, or give several."
        )
    return Searched(key, choices)


def _choice(text: str) -> Any:
    value = _number(text)
    return text.strip() if value is None else value


def _number(text: str) -> int | float | None:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return None


def _in_type(item: Searched, base: Resolved, catalogue: Catalogue) -> Searched:
    """A range of a setting that is no whole number, with ends that are none, such as 1..2 of a learning rate."""
    if item.choices or not item.whole:
        return item
    resolved = with_values(base, catalogue, {item.key: item.low}, "--search")
    if isinstance(value_of(resolved, item.key), float):
        return Searched(item.key, low=float(item.low), high=float(item.high), log=item.log)
    return item
