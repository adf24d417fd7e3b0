"""Figure of a training: losses with their noise floor and learning rate, both by optimizer step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from ptycho_cli.config.values import finite_number, printable
from ptycho_cli.render.plotting import DEFAULT_STYLE, PictureStyle, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LOG_FROM = 8.0  # largest by smallest loss, from which the axis is logarithmic
_STAGES = ("amplitude loss", "transition", "Poisson likelihood")


@dataclass(frozen=True)
class Curves:
    """What ``metrics.csv`` holds; all lists have one value for each optimizer step.

    Attributes:
        steps: Numbers of the optimizer steps, from 1.
        learning_rate: Rate that each step used.
        train_loss: Mean loss over the groups of the step; None where there is none.
        val_loss: Deviance of held-out frames; None but in the last step of an epoch.
        loss_weight: Weight of the Poisson likelihood; empty if the schedule has none.
        noise_floor: What photon noise alone leaves, in nats per pixel; None if unknown.
    """

    steps: Sequence[int]
    learning_rate: Sequence[float | None]
    train_loss: Sequence[float | None]
    val_loss: Sequence[float | None]
    loss_weight: Sequence[float] = ()
    noise_floor: float | None = None


def curves_of(rows: Sequence[Mapping[str, str]], noise_floor: float | None = None) -> Curves:
    """Curves of the rows of ``metrics.csv``; rows without a step are left out."""
    rows = [row for row in rows if (row.get("step") or "").isdigit()]
    columns = {
        name: [finite_number(row.get(name)) for row in rows] for name in ("learning_rate", "train_loss", "val_loss")
    }
    weights = [finite_number(row.get("loss_weight")) for row in rows]
    known = [weight for weight in weights if weight is not None]
    steps = [int(row["step"]) for row in rows]
    return Curves(steps, **columns, loss_weight=known if len(known) == len(rows) else (), noise_floor=noise_floor)


def save_curves(
    path: str | PathLike[str], curves: Curves, title: str = "", style: PictureStyle = DEFAULT_STYLE
) -> None:
    """Draw the curves into a file, which replaces an older one.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9.0, 6.0), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    if title:
        figure.suptitle(printable(title), parse_math=False)
    loss, rate = figure.subplots(2, 1, sharex=True, height_ratios=(2, 1))
    draw_curves(loss, rate, curves)
    save_figure(figure, Path(path), dpi=style.dpi)


def draw_curves(loss: Axes, rate: Axes, curves: Curves) -> None:
    """Draw losses into one panel, and the learning rate into another below it."""
    from matplotlib.ticker import MaxNLocator

    stages = stages_of(curves.loss_weight)
    for number, (name, first, last) in enumerate(stages):
        for axes in (loss, rate):
            edges = (curves.steps[first] - 0.5, curves.steps[last] + 0.5)
            axes.axvspan(*edges, color="#8899aa", alpha=(0.06, 0.2)[number % 2], linewidth=0)
        middle = (curves.steps[first] + curves.steps[last]) / 2
        loss.text(middle, 1.01, name, transform=loss.get_xaxis_transform(), ha="center", va="bottom", fontsize=8)
    known = _points(curves.steps, curves.train_loss)
    loss.plot(*known, color="#3b7dd8", linewidth=1.2, label="loss of each step", marker="." * (len(known[0]) < 60))
    held_out = _points(curves.steps, curves.val_loss)
    if held_out[0]:
        loss.plot(*held_out, color="#d9772b", marker="o", markersize=4, linewidth=1.2, label="held-out frames")
    if curves.noise_floor is not None:
        floor = f"photon noise alone, {curves.noise_floor:.3g}"
        loss.axhline(curves.noise_floor, color="#2f9e6e", linestyle="--", linewidth=1.2, label=floor)
    values = [value for value in (*known[1], *held_out[1], curves.noise_floor) if value is not None and value > 0]
    if values and max(values) > _LOG_FROM * min(values):
        loss.set_yscale("log")
    loss.set_ylabel("loss, nats per pixel")
    loss.legend(fontsize=9)
    rates = _points(curves.steps, curves.learning_rate)
    rate.step(*rates, where="mid", color="#7d5bd0", linewidth=1.4)
    rate.xaxis.set_major_locator(MaxNLocator(integer=True))
    rate.set(xlabel="optimizer step", ylabel="learning rate")
    rate.set_ylim(0.0, 1.08 * (max(rates[1], default=0.0) or 1.0))
    for axes in (loss, rate):
        axes.grid(alpha=0.25)
        axes.margins(x=0.01)


def stages_of(weights: Sequence[float]) -> list[tuple[str, int, int]]:
    """Stages of a schedule that moves the loss: name, index of the first and of the last step."""
    kinds = [0 if weight <= 0 else 2 if weight >= 1 else 1 for weight in weights]
    found = []
    for kind, group in groupby(enumerate(kinds), key=lambda item: item[1]):
        members = [index for index, _ in group]
        found.append((_STAGES[kind], members[0], members[-1]))
    return found


def _points(steps: Sequence[int], values: Sequence[float | None]) -> tuple[list[int], list[float]]:
    """Steps and values where there is a value."""
    pairs = [(step, value) for step, value in zip(steps, values, strict=True) if value is not None]
    return [step for step, _ in pairs], [value for _, value in pairs]
