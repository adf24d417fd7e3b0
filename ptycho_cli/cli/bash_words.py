"""Words of a command line that bash completes: bash splits ``ramp=cos`` at the sign, which no other shell does."""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence
from typing import Any


def join_assignments(environment: MutableMapping[str, str] = os.environ) -> None:
    """Join ``ramp``, ``=`` and ``cos`` in what bash hands over, and offer the last part alone, which bash replaces."""
    words, current = environment.get("COMP_WORDS", "").split("\n"), environment.get("COMP_CWORD", "")
    if "=" not in words or not current.isdigit():
        return
    joined, place, alone = _joined(words, int(current))
    environment["COMP_WORDS"], environment["COMP_CWORD"] = "\n".join(joined), str(place)
    if alone:
        from typer._completion_classes import BashComplete  # typer offers no public place for this

        def value_alone(self: Any, item: Any) -> str:
            return str(item.value).rpartition("=")[2]

        BashComplete.format_completion = value_alone  # type: ignore[method-assign]


def _joined(words: Sequence[str], current: int) -> tuple[list[str], int, bool]:
    """Joined words, the number of the current one, and True if it was joined after its sign."""
    joined: list[str] = []
    place, alone, open_sign = current, False, False
    for number, word in enumerate(words):
        if joined and (word == "=" or open_sign):
            joined[-1] += word
            alone = alone or number == current
        else:
            joined.append(word)
        open_sign = word == "="
        if number == current:
            place = len(joined) - 1
    return joined, place, alone
