"""A phase as text: two pixels in each character cell, in as many colours as the terminal has."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.render.plotting import PERCENTILES, Complex, flattened_phase
from ptycho_cli.render.reconstruction_figure import view_of

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.segment import Segment

Grey = NDArray[np.float64]
"""Values from 0 to 1, ``(y, x)``; NaN where nothing is shown."""

_UPPER, _LOWER, _SHADES = "▀", "▄", " ░▒▓█"


def small_phase(object: Complex, coverage: NDArray[np.floating[Any]], columns: int, rows: int) -> Grey:
    """The phase without its mean plane in at most ``columns`` cells by ``rows`` cells, two pixels in each cell.

    Pixels are means over the covered pixels of the object that they stand for.
    """
    view = view_of(object, coverage)
    phase = flattened_phase(view.field, view.shown)
    low, high = np.percentile(phase[view.good], PERCENTILES) if view.good.any() else (0.0, 1.0)
    grey = np.clip((phase - low) / max(high - low, 1e-6), 0.0, 1.0)
    height, width = grey.shape
    scale = max(1.0, width / columns, height / (2 * rows))
    total, count = (
        _summed(_summed(values.astype(np.float64), scale, axis=0), scale, axis=1)
        for values in (np.where(view.shown, grey, 0.0), view.shown)
    )
    with np.errstate(invalid="ignore"):
        shrunk = np.where(count > 0, total / count, np.nan)
    return np.pad(shrunk, ((0, shrunk.shape[0] % 2), (0, 0)), constant_values=np.nan)


def _summed(values: Grey, scale: float, axis: int) -> Grey:
    """Sums over blocks of about ``scale`` pixels along an axis."""
    n = values.shape[axis]
    edges = np.arange(int(n / scale)) * scale
    return np.asarray(np.add.reduceat(values, edges.astype(int), axis=axis), dtype=np.float64)


class TerminalPicture:
    """A picture that rich prints; its text is made once, since a display prints it several times a second.

    Args:
        grey: The picture.
        title: A line below it.
    """

    def __init__(self, grey: Grey, title: str) -> None:
        self._grey, self._title = grey, title
        self._made: dict[bool, list[Segment]] = {}

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        coloured = console.color_system is not None
        if coloured not in self._made:
            self._made[coloured] = list(self._segments(coloured))
        return iter(self._made[coloured])

    def _segments(self, coloured: bool) -> Iterator[Segment]:
        from rich.segment import Segment

        for upper, lower in zip(self._grey[::2], self._grey[1::2], strict=True):
            yield from (_cell(*pair, coloured=coloured) for pair in zip(upper, lower, strict=True))
            yield Segment.line()
        yield Segment(self._title)
        yield Segment.line()


def _cell(upper: float, lower: float, *, coloured: bool) -> Segment:
    """One character: both pixels in colour, or their mean as a shade."""
    from rich.segment import Segment
    from rich.style import Style

    known = [value for value in (upper, lower) if not np.isnan(value)]
    if not known:
        return Segment(" ")
    if not coloured:
        return Segment(_SHADES[round(float(np.mean(known)) * (len(_SHADES) - 1))])
    colours = [f"rgb({level},{level},{level})" for level in (round(255 * float(value)) for value in known)]
    if len(known) == 2:
        return Segment(_UPPER, Style(color=colours[0], bgcolor=colours[1]))
    return Segment(_LOWER if np.isnan(upper) else _UPPER, Style(color=colours[0]))
