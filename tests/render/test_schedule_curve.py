"""The curve in the terminal: every value has a mark, on an axis that starts at 0."""

from __future__ import annotations

import io

import pytest

from ptycho_cli.render.schedule_curve import curve_lines

ASCII = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
UTF_8 = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")


def test_a_falling_line_in_plain_characters() -> None:
    assert curve_lines([4.0, 3.0, 2.0, 1.0, 0.0], width=11, height=5, file=ASCII) == [
        "4 |**",
        "  | ***",
        "2 |   ***",
        "  |     ***",
        "0 |       *",
        "  +--------",
        "   0      4",
    ]


def test_every_value_has_a_mark_if_many_share_a_column() -> None:
    """A single spike among a thousand steps is drawn, at any step."""
    for at in (0, 1, 499, 998, 999):
        values = [0.1] * 1000
        values[at] = 1.0
        assert "*" in curve_lines(values, width=40, height=7, file=ASCII)[0], at


@pytest.mark.parametrize("n", [1, 2, 3, 50, 10_000])
def test_the_drawing_keeps_to_its_width(n: int) -> None:
    for file in (ASCII, UTF_8):
        for width in (20, 60, 100):
            lines = curve_lines([1e-3 * (i % 7) for i in range(n)], width=width, file=file)
            assert max(len(line) for line in lines) <= width
            assert len(lines) == 13


def test_a_rate_of_zero_throughout_can_be_drawn() -> None:
    assert curve_lines([0.0, 0.0], width=12, height=3, file=ASCII)[2].startswith("  0 |***")


def test_a_terminal_without_braille_gets_asterisks() -> None:
    assert any("*" in line for line in curve_lines([1.0, 0.5], file=ASCII))
    assert not any("*" in line for line in curve_lines([1.0, 0.5], file=UTF_8))
