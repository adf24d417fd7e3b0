"""Figure of the shifts that position refinement gave to the frames of a scan."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.render.plotting import save_png

Positions = NDArray[np.float64]


def position_figure_path(path: Path) -> Path:
    """Path of the position figure of the reconstruction in ``path``."""
    return path.with_name(f"{path.stem}-positions.png")


def save_positions_png(path: str | PathLike[str], stored_px: Positions, refined_px: Positions, title: str = "") -> None:
    """Draw the shift of every frame as an arrow from its stored to its refined position, and a histogram of lengths.

    Args:
        path: PNG file, which replaces an older one.
        stored_px: Positions (y, x) before, ``(frame, 2)``.
        refined_px: Positions after.
        title: Line above the panels.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shifts = refined_px - stored_px
    length = np.linalg.norm(shifts, axis=1)
    figure = Figure(figsize=(12.0, 6.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    plan, counts = figure.subplots(1, 2, width_ratios=(1.3, 1))
    if title:
        figure.suptitle(title)
    arrows = plan.quiver(
        stored_px[:, 1], stored_px[:, 0], shifts[:, 1], shifts[:, 0], length,
        angles="xy", scale_units="xy", scale=1, cmap="viridis", width=0.003,
    )  # fmt: skip
    plan.set_aspect("equal")
    plan.invert_yaxis()
    plan.set(xlabel="x, object px", ylabel="y, object px", title="Shifts, to scale")
    figure.colorbar(arrows, ax=plan, shrink=0.85, pad=0.02).set_label("length, px")
    counts.hist(length, bins=40, color="#3b6ea5")
    rms = float(np.sqrt(np.mean(length**2)))
    counts.set(xlabel="length of the shift, px", ylabel="frames", title=f"{len(length)} frames, {rms:.3g} px rms")
    save_png(figure, Path(path))
