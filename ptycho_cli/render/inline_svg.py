"""Figures as SVG inside a page: text takes the page's colour, and images keep their own pixels."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.sax.saxutils import quoteattr

from ptycho_cli.render.plotting import BLANK

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#0f0f0e"  # stands for the colour of the page's text
# of no use inside a page, or with an effect on all of it
_OUTSIDE = re.compile(r"<\?xml.*?\?>|<!DOCTYPE.*?>|<metadata>.*?</metadata>|<style.*?</style>", re.DOTALL)


@dataclass(frozen=True)
class Picture:
    """A figure of a page.

    Attributes:
        title: A few words.
        caption: What it shows and how it was drawn, in whole sentences; may be empty.
        svg: The figure, an ``<svg>`` element.
        wide: It needs the whole width of the page.
    """

    title: str
    caption: str
    svg: str
    wide: bool = False


@contextmanager
def page_style(name: str) -> Iterator[None]:
    """Draw figures in the style of a page; artists and file must be made inside.

    Args:
        name: Different for each figure of a page, so that their elements have different ids.
    """
    import matplotlib

    ink = ("text.color", "axes.edgecolor", "axes.labelcolor", "axes.titlecolor", "xtick.color", "ytick.color")
    style: dict[Any, Any] = {
        **dict.fromkeys(ink, INK),
        "axes.facecolor": "none", "legend.framealpha": 0.0, "svg.fonttype": "none", "svg.hashsalt": name,
    }  # fmt: skip
    with matplotlib.rc_context(style):
        yield


def new_figure(width: float, height: float, *, fixed: bool = False) -> Figure:
    """A figure without background, of a size in inches; a fixed layout takes half of the time."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout=None if fixed else "constrained", facecolor="none")
    FigureCanvasAgg(figure)
    return figure


def svg_of(figure: Figure, label: str) -> str:
    """The figure as an ``<svg>`` element without references to anything outside.

    Args:
        figure: Drawn inside ``page_style``.
        label: Description for readers that see no picture.
    """
    file = io.StringIO()
    figure.savefig(file, format="svg", metadata=dict.fromkeys(("Date", "Creator", "Format", "Type")))
    text = _OUTSIDE.sub("", file.getvalue()).strip()
    text = text.replace(INK, "currentColor").replace(BLANK, "var(--blank)")
    return text.replace("<svg ", f'<svg role="img" aria-label={quoteattr(label)} ', 1)
