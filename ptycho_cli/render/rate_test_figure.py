"""Figure of a learning-rate range test."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ptycho_cli.render.plotting import save_figure


def save_rate_test(
    path: Path,
    rates: Sequence[float],
    losses: Sequence[float],
    smoothed: Sequence[float],
    *,
    current: float,
    suggested: float | None,
    dpi: int,
) -> None:
    """Draw losses by learning rate, with the rate of the settings and the suggested one.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8.0, 4.5), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(rates, losses, color="#3b7dd8", alpha=0.4, linewidth=1.0, label="after each step")
    axes.plot(rates, smoothed, color="#3b7dd8", linewidth=1.8, label="running mean")
    axes.axhline(0.0, color="#888888", linewidth=0.8)
    axes.axvline(current, color="#777777", linestyle="--", linewidth=1.2, label=f"settings, {current:g}")
    if suggested is not None:
        axes.axvline(suggested, color="#d9772b", linewidth=1.6, label=f"suggested, {suggested:g}")
    low, high = min((*smoothed, 0.0)), max((*smoothed, 0.0))
    span = max(-low, 1e-12)
    axes.set_ylim(low - 0.15 * span, min(high, span) + 0.15 * span)  # a divergence would flatten the rest
    axes.set_xscale("log")
    axes.set(xlabel="learning rate of the network", ylabel="relative change of the loss")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=9)
    save_figure(figure, path, dpi=dpi)
