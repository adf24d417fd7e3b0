"""Curve of a learning rate: as text for the terminal, or as a PNG file."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TextIO

_DOTS = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))  # of a Braille cell, by column, from the top
_BLANK = 0x2800


def curve_lines(values: Sequence[float], *, width: int = 72, height: int = 11, file: TextIO | None = None) -> list[str]:
    """Draw values over their index as lines of text; the vertical axis runs from 0 to the largest value.

    Every value has a mark. If there are more values than columns, a column marks the whole range of its values.
    Marks are Braille dots if ``file`` can encode them, asterisks otherwise.

    Args:
        values: At least one; finite, at least 0.
        width: Columns of the whole drawing.
        height: Lines of the plot, without the horizontal axis; odd, so that the middle line is half the top.
        file: Destination of the lines; its encoding decides which characters are used.
    """
    top = max(values) or 1.0
    labels = {0: f"{top:.3g}", height // 2: f"{top * (1 - (height // 2) / (height - 1)):.3g}", height - 1: "0"}
    margin = max(len(label) for label in labels.values())
    columns = max(8, width - margin - 2)
    rows = _braille(values, top, columns, height) if _can_print(file) else _ascii(values, top, columns, height)
    lines = [f"{labels.get(row, ''):>{margin}} |{cells}".rstrip() for row, cells in enumerate(rows)]
    last = str(len(values) - 1)
    axis = "0" if len(values) == 1 else "0" + last.rjust(columns - 1)
    return [*lines, " " * margin + " +" + "-" * columns, " " * (margin + 2) + axis]


def _can_print(file: TextIO | None) -> bool:
    encoding = getattr(file or sys.stdout, "encoding", None) or "ascii"
    try:
        chr(_BLANK).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return False
    return True


def _spans(values: Sequence[float], columns: int) -> list[tuple[float, float]]:
    """Lowest and highest value of each column; neighbours are joined, so that a jump is a line."""
    edges = [round(column * (len(values) - 1) / max(1, columns - 1)) for column in range(columns + 1)]
    spans = []
    for column, (first, until) in enumerate(pairwise(edges)):
        inside = values[first : max(until, first + 1)] or values[-1:]
        new = column > 0 and first > edges[column - 1]
        joined = [*inside, values[first - 1]] if new else inside
        spans.append((min(joined), max(joined)))
    return spans


def _marks(values: Sequence[float], top: float, columns: int, levels: int) -> list[range]:
    """Levels to mark in each column, counted from the top."""
    return [
        range(round((1 - high / top) * (levels - 1)), round((1 - low / top) * (levels - 1)) + 1)
        for low, high in _spans(values, columns)
    ]


def _braille(values: Sequence[float], top: float, columns: int, height: int) -> list[str]:
    cells = [[_BLANK] * columns for _ in range(height)]
    for column, marked in enumerate(_marks(values, top, 2 * columns, 4 * height)):
        for level in marked:
            cells[level // 4][column // 2] |= _DOTS[column % 2][level % 4]
    return ["".join(" " if cell == _BLANK else chr(cell) for cell in row) for row in cells]


def _ascii(values: Sequence[float], top: float, columns: int, height: int) -> list[str]:
    cells = [[" "] * columns for _ in range(height)]
    for column, marked in enumerate(_marks(values, top, columns, height)):
        for level in marked:
            cells[level][column] = "*"
    return ["".join(row) for row in cells]


def save_curve_png(
    path: Path,
    rates: Sequence[float],
    *,
    steps_per_epoch: int,
    loss_weights: Sequence[float] | None = None,
    title: str = "",
) -> None:
    """Draw the learning rate at every optimizer step into a PNG file, and the loss weight if there is one.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ptycho_cli.render.plotting import save_figure

    figure = Figure(figsize=(7.0, 3.6), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.step(range(len(rates)), rates, where="mid", color="#1f5fa8", linewidth=1.6)
    axes.set(xlabel="optimizer step", ylabel="learning rate", title=title)
    axes.set_ylim(0.0, 1.05 * (max(rates) or 1.0))
    axes.margins(x=0.01)
    axes.grid(alpha=0.25)

    def epochs_of(steps: Any) -> Any:
        return steps / steps_per_epoch

    def steps_of(epochs: Any) -> Any:
        return epochs * steps_per_epoch

    in_epochs = axes.secondary_xaxis("top", functions=(epochs_of, steps_of))
    in_epochs.set_xlabel("epoch")
    if loss_weights is not None:
        beside = axes.twinx()
        beside.step(range(len(loss_weights)), loss_weights, where="mid", color="#b8560f", linestyle="--", linewidth=1.2)
        beside.set(ylim=(-0.02, 1.05), ylabel="weight of the Poisson likelihood (dashed)")
    save_figure(figure, path, dpi=130)
