"""A small phase as text: its pixels are means, and it fits into the cells that it is given."""

from __future__ import annotations

import io

import numpy as np
from rich.console import Console

from ptycho_cli.render.terminal_picture import TerminalPicture, small_phase


def printed(grey: np.ndarray, **options: object) -> str:
    file = io.StringIO()
    Console(file=file, width=40, legacy_windows=False, **options).print(TerminalPicture(grey, "phase"))  # type: ignore[arg-type]
    return file.getvalue()


def test_a_phase_is_shrunk_to_the_cells_and_keeps_its_shape() -> None:
    field = np.exp(0.5j * (np.abs(np.arange(100) - 49.5) < 25))[:, None] * np.ones((1, 200))

    grey = small_phase(field, np.ones((100, 200)), columns=40, rows=30)

    assert grey.shape == (20, 40)  # as wide as the cells, two rows of pixels in each
    np.testing.assert_allclose(grey[[0, 4, 15, 19]], 0.0, atol=1e-6)
    np.testing.assert_allclose(grey[5:15], 1.0, atol=1e-6)


def test_a_small_object_is_not_enlarged_and_uncovered_pixels_are_left_out() -> None:
    coverage = np.zeros((9, 11))
    coverage[2:7, 3:8] = 1.0

    grey = small_phase(np.ones((9, 11), complex), coverage, columns=40, rows=30)

    assert grey.shape == (10, 11)
    assert np.isfinite(grey).sum() == 25


def test_two_pixels_share_a_cell_in_colour() -> None:
    text = printed(np.array([[0.0, np.nan], [1.0, 1.0]]), force_terminal=True, color_system="truecolor")

    first, title = text.splitlines()
    assert first == "\x1b[38;2;0;0;0;48;2;255;255;255m▀\x1b[0m\x1b[38;2;255;255;255m▄\x1b[0m"
    assert title == "phase"


def test_a_terminal_with_256_colours_gets_those() -> None:
    assert "\x1b[38;5;" in printed(np.array([[0.4], [1.0]]), force_terminal=True, color_system="256")


def test_without_colours_cells_are_shades() -> None:
    text = printed(np.array([[0.0, 0.5, 1.0, np.nan], [0.0, 0.5, 1.0, np.nan]]), color_system=None)

    assert text.splitlines()[0] == " ▒█ "
