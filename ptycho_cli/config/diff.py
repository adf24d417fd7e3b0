"""Where the settings of this run differ from those of an earlier one."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ptycho_cli.config.keys import CALLBACKS_PREFIX, groups
from ptycho_cli.config.provenance import Decision, Resolved
from ptycho_cli.config.sources import flatten
from ptycho_cli.config.values import jsonable


class Side(NamedTuple):
    """One run's value of a setting, in the types of JSON, and where it came from."""

    value: Any
    source: str
    origin: str


class Difference(NamedTuple):
    """A setting whose value differs; None on a side that has no such setting, as an option of another scheduler."""

    key: str
    here: Side | None
    there: Side | None

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        sides = {"here": self.here, "there": self.there}
        return {
            "key": self.key,
            **{name: None if side is None else side._asdict() for name, side in sides.items()},
        }


def differences(resolved: Resolved, record: Mapping[str, Any]) -> tuple[Difference, ...]:
    """Compare with a run's record, in the order of the schema; callbacks and options of plugins included.

    Args:
        resolved: The settings here.
        record: What ``run.json`` holds; its ``config`` has the values in force, its ``decisions`` their places.
    """
    here = {item.key: _here(item) for item in resolved.decisions}
    stories = {item["key"]: item for item in record.get("decisions", ())}
    there = {key: _there(key, value, stories) for key, value in flatten(record["config"])}
    order = {group: rank for rank, group in enumerate(groups())}
    keys = sorted(dict.fromkeys((*here, *there)), key=lambda key: order.get(key.partition(".")[0], len(order)))
    found = (Difference(key, here.get(key), there.get(key)) for key in keys)
    return tuple(item for item in found if _value(item.here) != _value(item.there))


def _value(side: Side | None) -> Any:
    return None if side is None else (side.value,)


def _here(decision: Decision) -> Side | None:
    winner = decision.winner
    if decision.key.startswith(CALLBACKS_PREFIX) and winner.value is False:  # dropped: as if nobody had named it
        return None
    return Side(jsonable(winner.value), winner.source.label, winner.origin)


def _there(key: str, value: Any, stories: Mapping[str, Any]) -> Side:
    story = stories.get(key, {})
    return Side(value, str(story.get("source", "")), str(story.get("origin", "its run.json")))
