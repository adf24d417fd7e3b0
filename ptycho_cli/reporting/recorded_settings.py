"""Settings as ``run.json`` records them: which were decided, what they override, and the command that repeats them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from ptycho_cli.config.provenance import Decision, Setting, Source
from ptycho_cli.config.serialize import command_words
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.reporting.report_source import ReportSource

_SOURCES = {source.label: source for source in Source}
_READING = (*(f"data.{field.name}" for field in fields(ReadOptions)), "probe.")
_EARLIER_RUN = ("run ", "checkpoint ")  # origins of values that were copied with all others of a run


def decisions_in(record: Mapping[str, Any]) -> list[Decision]:
    """The decisions of a record, in its order."""
    return [
        Decision(
            str(item["key"]),
            _setting(item),
            tuple(_setting(weaker) for weaker in item.get("overridden", ())),
            bool(item.get("fixed", False)),
        )
        for item in record.get("decisions", ())
    ]


def _setting(item: Mapping[str, Any]) -> Setting:
    origin = str(item.get("origin", ""))
    value = item.get("value")
    source = _SOURCES.get(str(item.get("source")), Source.DEFAULT)
    return Setting(tuple(value) if isinstance(value, list) else value, source, origin, origin.startswith(_EARLIER_RUN))


def decided_in(record: Mapping[str, Any]) -> list[Decision]:
    """Decisions that some layer made."""
    return [decision for decision in decisions_in(record) if decision.is_decided]


def commands_of(source: ReportSource, *, as_read: bool = False) -> list[list[str]]:
    """Commands that repeat a run or a reconstruction, each a list of words.

    Args:
        source: The run or the reconstruction.
        as_read: They are for a scan that was read already: settings of how to read it are left out.
    """
    record, command = source.record, source.command

    def decided(record: Mapping[str, Any]) -> list[Decision]:
        return [item for item in decided_in(record) if not (as_read and item.key.startswith(_READING))]

    if command == "reconstruct":
        return [[*command_words(decided(record), command), "-o", source.path.name]]
    start = record.get("init_from")
    training = command_words(decided(record)) + (["--init-from", str(start)] if start else [])
    if command == "train":
        return [training]
    folder = str(record.get("config", {}).get("training", {}).get("output_dir") or "RUN")
    own = [item for item in decided(source.own_record) if item.winner.source > Source.CHECKPOINT]
    words = command_words(own, "infer")
    return [training, [*words[:2], folder, *words[2:], "-o", source.path.name]]
