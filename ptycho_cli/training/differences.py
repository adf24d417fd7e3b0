"""What differs between a run that is resumed and the settings it is resumed with, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

from ptycho_cli.config.schema import Config
from ptycho_cli.config.values import show
from ptycho_cli.extend.host import Host
from ptycho_cli.extend.specs import CallbackEntry

Which = Literal["checkpoint", "config"]
Changes = Mapping[str, tuple[Any, Any]]
"""By key, the value of the checkpoint and that of the settings."""


def what_differs(folder: Path, changed: Changes) -> str:
    """The changes of a schedule, as an error tells them."""
    parts = [
        f"{key} is {show(was)} in the checkpoint and {show(now)} in the settings"
        for key, (was, now) in _worth_telling(changed).items()
    ]
    return f"{folder}: the schedule changed: {'; '.join(parts)}."


def other_callbacks(record: Mapping[str, Any], config: Config, host: Host) -> Iterator[str]:
    """Callbacks whose plugin is not the one that the run had: their state was saved by another version."""
    had = {name: plugin for plugin in record.get("plugins", ()) for name in plugin["callbacks"]}
    for chosen in config.callbacks:
        offer = host.find(CallbackEntry, chosen.name).offer
        was = had.get(offer.name)
        if was is not None and offer.origin != (origin := f"{was['distribution']} {was['version']}"):
            yield f"callback {chosen.name}: {offer.origin} goes on with the state that {origin} saved."


def notes(changed: Changes, which: Which | None, harmless: bool) -> tuple[str, ...]:
    """What becomes of each change, one line each."""
    if harmless:
        return tuple(f"{key}: {now}, was {was}; the rates so far are the same." for key, (was, now) in changed.items())
    lines = []
    for key, (was, now) in _worth_telling(changed).items():
        if which != "checkpoint":
            lines.append(f"{key}: {now} from here on, was {was}.")
        elif key == "training.epochs":
            lines.append(
                f"{key}: {now}, but the schedule is still that of {was} epochs; past its end it keeps its last rate."
            )
        else:
            lines.append(f"{key}: {was} of the checkpoint is kept, not {now} (--resume-schedule checkpoint).")
    return tuple(lines)


def _worth_telling(changed: Changes) -> Changes:
    """Without the options of a scheduler that is another one altogether."""
    another = "scheduler.name" in changed
    return {key: both for key, both in changed.items() if not (another and key.startswith("scheduler.options."))}
