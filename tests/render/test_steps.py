"""Work in named stages: shown while it has a name, and silent where nobody looks."""

from __future__ import annotations

import io
import re
import sys

import pytest

from ptycho_cli.render.steps import steps


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def shown(monkeypatch: pytest.MonkeyPatch, *told: tuple[str, int, int], quiet: bool = False) -> str:
    """What stands on a terminal, without colours and movements, after something was told."""
    terminal = Terminal()
    monkeypatch.setenv("TERM", "xterm")
    with monkeypatch.context() as patch:
        patch.setattr(sys, "stderr", terminal)
        with steps(quiet=quiet) as tell:
            for what, done, total in told:
                tell(what, done, total)
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", terminal.getvalue())


def test_a_stage_is_shown_with_its_count_and_no_count_is_made_up(monkeypatch: pytest.MonkeyPatch) -> None:
    text = shown(monkeypatch, ("loading torch", 0, 0), ("refining the probe", 3, 10))

    assert "loading torch" in text
    assert "3/10" in text.partition("refining the probe")[2]
    assert "?" not in text


def test_without_a_name_no_bar_pulses(monkeypatch: pytest.MonkeyPatch) -> None:
    """The training, which comes between two stages, has a bar of its own."""
    assert "━" not in shown(monkeypatch, ("", 0, 0))


def test_where_it_is_quiet_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, ("loading torch", 0, 0), quiet=True) == ""
