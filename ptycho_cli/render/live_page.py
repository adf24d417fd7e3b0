"""``live.html``: a page that shows a training while it runs, and loads itself again until the training ends."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

RELOAD_S = 5
_STYLE = """
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 0 auto; padding: 1rem; }
h1 { font-size: 1.3rem; margin: 0 0 .5rem; overflow-wrap: anywhere; }
progress { width: 100%; height: 1rem; accent-color: #3b7dd8; }
dl { display: flex; flex-wrap: wrap; gap: .5rem 2rem; margin: 1rem 0; }
dt { font-size: .8rem; opacity: .7; } dd { margin: 0; font-variant-numeric: tabular-nums; }
figure { margin: 1.5rem 0 0; } figcaption { font-size: .85rem; opacity: .75; }
img { width: 100%; max-height: 55vh; object-fit: contain; image-rendering: pixelated; }
svg { width: 100%; max-width: 640px; height: auto; } text { fill: currentColor; font-size: 15px; }
footer { margin-top: 2rem; font-size: .8rem; opacity: .7; }
"""
_WIDTH, _HEIGHT, _LEFT, _BELOW = 640, 220, 70, 24


@dataclass(frozen=True)
class LiveFigures:
    """What the page shows.

    Attributes:
        title: Name of the run.
        state: A sentence: what the training does now, or how it ended.
        done: Optimizer steps done, and of how many.
        figures: Names and values, as text.
        losses: Loss of each optimizer step since the start of this process, with its number.
        held_out: Loss of the held-out frames after each epoch, with the step.
        picture: The object as a PNG file; empty before the first picture.
        picture_title: When it was made.
        updated: Time of day.
        report: A report follows the training.
        reload: The training runs, so that the page must load itself again.
    """

    title: str
    state: str
    done: tuple[int, int]
    figures: Sequence[tuple[str, str]]
    losses: Sequence[tuple[int, float]]
    held_out: Sequence[tuple[int, float]]
    picture: bytes
    picture_title: str
    updated: str
    report: bool
    reload: bool


def live_page(shown: LiveFigures) -> str:
    """The page, without anything from outside and without a script."""
    done, total = shown.done
    reload = f'<meta http-equiv="refresh" content="{RELOAD_S}">' if shown.reload else ""
    figures = "".join(f"<div><dt>{escape(name)}</dt><dd>{escape(value)}</dd></div>" for name, value in shown.figures)
    report = (
        ""
        if shown.reload or not shown.report
        else '<p>The report, once it is written: <a href="report.html">report.html</a></p>'
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8">{reload}'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(shown.title)}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(shown.title)}</h1><p>{escape(shown.state)}</p>"
        f'<progress max="{max(total, 1)}" value="{done}" aria-label="optimizer steps"></progress>'
        f"<dl>{figures}</dl>{_picture(shown)}{_curve(shown)}{report}"
        f"<footer>Updated at {escape(shown.updated)}{', every few seconds' if shown.reload else ''}.</footer>"
        "</body></html>\n"
    )


def _picture(shown: LiveFigures) -> str:
    if not shown.picture:
        return ""
    source = "data:image/png;base64," + base64.b64encode(shown.picture).decode()
    caption = escape(shown.picture_title)
    image = f'<img src="{source}" alt="Amplitude and phase of the object">'
    return f"<figure>{image}<figcaption>{caption}</figcaption></figure>"


def _curve(shown: LiveFigures) -> str:
    """Losses by optimizer step as a drawing; matplotlib would take longer than some epochs."""
    points = [*shown.losses, *shown.held_out]
    if len(shown.losses) < 2:
        return ""
    steps, values = [step for step, _ in points], [value for _, value in points]
    low, high = min(values), max(values)
    first, last, span = min(steps), max(steps), max(high - low, 1e-12)

    def place(point: tuple[int, float]) -> str:
        x = _LEFT + (point[0] - first) / max(last - first, 1) * (_WIDTH - _LEFT - 10)
        return f"{x:.1f},{10 + (high - point[1]) / span * (_HEIGHT - _BELOW - 20):.1f}"

    line = " ".join(map(place, shown.losses))
    dots = "".join(
        '<circle cx="{}" cy="{}" r="4" fill="#d9772b"/>'.format(*place(p).split(",")) for p in shown.held_out
    )
    return (
        f'<figure><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="Loss by optimizer step">'
        f'<text x="4" y="18">{high:.4g}</text><text x="4" y="{_HEIGHT - _BELOW - 8}">{low:.4g}</text>'
        f'<text x="{_LEFT}" y="{_HEIGHT - 6}">step {first}</text>'
        f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 6}" text-anchor="end">step {last}</text>'
        f'<polyline points="{line}" fill="none" stroke="#3b7dd8" stroke-width="1.5"/>{dots}</svg>'
        "<figcaption>Loss in nats per pixel: line, of each optimizer step; dots, of the held-out frames.</figcaption>"
        "</figure>"
    )
