"""Figure of the shifts that position refinement gave to the frames of a scan."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.config.values import printable
from ptycho_cli.render.plotting import DEFAULT_STYLE, MANY, PictureStyle, add_colour_bar, save_figure

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Positions = NDArray[np.float64]
_ARROW = 0.08  # of the scan's extent: the length that most arrows have at most


def position_figure_path(path: Path, format: str = "png") -> Path:
    """Path of the position figure of the reconstruction in ``path``."""
    return path.with_name(f"{path.stem}-positions.{format}")


def save_positions_png(
    path: str | PathLike[str], stored_px: Positions, refined_px: Positions, title: str = "",
    style: PictureStyle = DEFAULT_STYLE,
) -> None:  # fmt: skip
    """Draw the shift of every frame as an arrow from its stored to its refined position, and a histogram of lengths.

    Args:
        path: File, which replaces an older one; its suffix is the format.
        stored_px: Positions (y, x) before, ``(frame, 2)``.
        refined_px: Positions after.
        title: Line above the panels.
        style: Resolution.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(12.0, 6.4), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    plan, counts = figure.subplots(1, 2, width_ratios=(1.3, 1))
    if title:
        figure.suptitle(printable(title), parse_math=False)
    draw_shifts(plan, stored_px, refined_px)
    draw_lengths(counts, stored_px, refined_px)
    save_figure(figure, Path(path), dpi=style.dpi)


def draw_shifts(axes: Axes, stored_px: Positions, refined_px: Positions) -> None:
    """Draw the shift of every frame as an arrow from its stored position, enlarged so that it can be seen."""
    shifts = refined_px - stored_px
    length = np.linalg.norm(shifts, axis=1)
    factor = arrow_factor(stored_px, length)
    arrows = axes.quiver(
        stored_px[:, 1], stored_px[:, 0], shifts[:, 1], shifts[:, 0], length,
        angles="xy", scale_units="xy", scale=1 / factor, cmap="viridis", width=0.004, rasterized=len(length) > MANY,
    )  # fmt: skip
    ends = stored_px + factor * shifts
    y, x = (np.concatenate((stored_px[:, axis], ends[:, axis])) for axis in (0, 1))
    axes.update_datalim(np.stack((x, y), axis=1))
    axes.autoscale_view()
    axes.set_aspect("equal")
    axes.invert_yaxis()
    size = "to scale" if factor == 1 else f"arrows {factor:g} times as long as the shifts"
    axes.set(xlabel="x, object px", ylabel="y, object px", title=f"Shifts, {size}")
    add_colour_bar(arrows, axes, length, "length of the shift, px")


def draw_lengths(axes: Axes, stored_px: Positions, refined_px: Positions) -> None:
    """Draw a histogram of the lengths of the shifts."""
    length = np.linalg.norm(refined_px - stored_px, axis=1)
    low, high = float(length.min()), float(length.max())
    least = 1e-6 * max(high, 1e-3)  # equal shifts differ by rounding alone, which no bin can divide
    axes.hist(length, bins=40, range=(low, max(high, low + least)), color="#3b6ea5")
    rms = float(np.sqrt(np.mean(length**2)))
    axes.set(xlabel="length of the shift, px", ylabel="frames", title=f"{len(length)} frames, {rms:.3g} px rms")


def arrow_factor(stored_px: Positions, length_px: NDArray[np.float64]) -> float:
    """Round factor, at least 1, by which arrows are enlarged: most are then at most a twelfth of the scan."""
    extent, typical = float(np.ptp(stored_px, axis=0).max()), float(np.percentile(length_px, 90))
    wanted = _ARROW * extent / typical if typical > 0 else 1.0
    if not 1 < wanted < np.inf:
        return 1.0
    power = 10.0 ** np.floor(np.log10(wanted))
    return float(np.floor(wanted / power) * power)
