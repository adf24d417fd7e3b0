"""A picture of how far the frames of a scan were moved when their positions were refined."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.render.pictures import save

Positions = NDArray[np.float64]


def positions_picture_beside(path: Path) -> Path:
    """Where the picture of the moves of a reconstruction in ``path`` goes."""
    return path.with_name(f"{path.stem}-positions.png")


def save_positions_png(path: str | PathLike[str], stored_px: Positions, refined_px: Positions, title: str = "") -> None:
    """Draw every frame's move as an arrow, from its stored to its refined position, and how long the moves are.

    Args:
        path: PNG file; an older one of that name is replaced.
        stored_px: Positions (y, x) before, ``(frame, 2)``.
        refined_px: Positions after.
        title: Line above the panels.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    moves = refined_px - stored_px
    length = np.linalg.norm(moves, axis=1)
    figure = Figure(figsize=(12.0, 6.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    plan, counts = figure.subplots(1, 2, width_ratios=(1.3, 1))
    if title:
        figure.suptitle(title)
    arrows = plan.quiver(
        stored_px[:, 1], stored_px[:, 0], moves[:, 1], moves[:, 0], length,
        angles="xy", scale_units="xy", scale=1, cmap="viridis", width=0.003,
    )  # fmt: skip
    plan.set_aspect("equal")
    plan.invert_yaxis()
    plan.set(xlabel="x, object px", ylabel="y, object px", title="Moves, to scale")
    figure.colorbar(arrows, ax=plan, shrink=0.85, pad=0.02).set_label("length, px")
    counts.hist(length, bins=40, color="#3b6ea5")
    rms = float(np.sqrt(np.mean(length**2)))
    counts.set(xlabel="length of the move, px", ylabel="frames", title=f"{len(length)} frames, {rms:.3g} px rms")
    save(figure, Path(path))
