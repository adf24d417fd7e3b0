"""Figure of the uncertainty of a reconstruction: standard errors, correlation of halves, misfit of frames."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.render.plotting import (
    BLANK,
    DEFAULT_STYLE,
    MANY,
    PictureStyle,
    add_colour_bar,
    covered_window,
    four_panels,
    label_panel,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Image = NDArray[np.floating[Any]]

_HIGH = 99.0  # percentile at the upper limit of the standard errors' colours: those of the rim are far larger
_DOTS_PT2 = 40_000.0  # area that all dots of the residual map share


@dataclass(frozen=True, eq=False)
class Rings:
    """Fourier ring correlation of two halves.

    Attributes:
        radius: Middle of each ring, in units of Nyquist.
        correlation: Correlation in each ring.
        half_bit: Half-bit threshold in each ring.
        cuts: Name of each threshold -> radius where the correlation falls below it.
    """

    radius: Image
    correlation: Image
    half_bit: Image
    cuts: Mapping[str, float]


@dataclass(frozen=True, eq=False)
class FrameMap:
    """Misfit of each frame at its position.

    Attributes:
        positions_px: ``(frame, 2)`` as (y, x).
        residual: R-factor of each frame, ``(frame,)``.
        held_out: Indices of the held-out frames.
    """

    positions_px: NDArray[np.float64]
    residual: Image
    held_out: NDArray[np.int64]


def uncertainty_figure_path(path: Path, format: str = "png") -> Path:
    """Path of the uncertainty figure of the reconstruction in ``path``."""
    return path.with_name(f"{path.stem}-uncertainty.{format}")


def save_uncertainty_png(
    path: str | PathLike[str],
    amplitude_spread: Image,
    phase_spread_rad: Image,
    rings: Rings,
    frames: FrameMap,
    *,
    pixel_m: float | None = None,
    title: str = "",
    style: PictureStyle = DEFAULT_STYLE,
) -> None:
    """Draw standard errors, ring correlation and a map of residuals into one file, which replaces an older one.

    Args:
        path: File; its suffix is the format.
        amplitude_spread: Standard error of the amplitude, ``(y, x)``, NaN where unknown.
        phase_spread_rad: Standard error of the phase, likewise.
        rings: Correlation of the halves.
        frames: Misfit of the frames.
        pixel_m: Size of an object pixel in metres; the scale bars are in pixels where it is unknown.
        title: Line above the panels.
        style: Resolution.

    Raises:
        OutputError: If the file cannot be written.
    """
    window = covered_window(np.isfinite(amplitude_spread))
    figure, (amplitude, phase, curve, misfit) = four_panels(amplitude_spread[window].shape, title)
    draw_spread(amplitude, amplitude_spread[window], "Standard error of the amplitude", "", pixel_m)
    draw_spread(phase, phase_spread_rad[window], "Standard error of the phase", "rad", pixel_m)
    draw_rings(curve, rings)
    draw_residuals(misfit, frames, pixel_m)
    save_figure(figure, Path(path), dpi=style.dpi)


def draw_spread(axes: Axes, image: Image, name: str, unit: str, pixel_m: float | None) -> None:
    """Draw a map of standard errors, with its median."""
    known = np.isfinite(image)
    high = float(np.percentile(image[known], _HIGH)) if known.any() else 0.0
    axes.set_facecolor(BLANK)
    shown = np.ma.masked_array(image, ~known)
    drawn = axes.imshow(shown, cmap="magma", vmin=0.0, vmax=high or 1.0, interpolation="none")
    typical = f"median {np.median(image[known]):.2g} {unit}".rstrip() if known.any() else "unknown"
    add_colour_bar(drawn, axes, image[known], unit)
    label_panel(axes, f"{name}, {typical}", image.shape[1], pixel_m)


def draw_rings(axes: Axes, rings: Rings) -> None:
    """Draw the ring correlation with its thresholds."""
    from matplotlib import rcParams

    axes.plot(rings.radius, rings.correlation, color=rcParams["text.color"], label="two halves")
    colours = ("tab:blue", "tab:green", "tab:orange")
    levels = {"0.5": np.full_like(rings.radius, 0.5), "1/7": np.full_like(rings.radius, 1 / 7)}
    for colour, (name, cut) in zip(colours, rings.cuts.items(), strict=False):
        end = f"crossed at {cut:.2f}" if cut < 1 else "not crossed"
        axes.plot(rings.radius, levels.get(name, rings.half_bit), color=colour, linestyle="--", label=f"{name}: {end}")
        if cut < 1:
            axes.axvline(cut, color=colour, linewidth=0.8)
    axes.set(xlim=(0, 1), ylim=(min(-0.05, float(rings.correlation.min())), 1.03))
    axes.set_xlabel("spatial frequency, units of Nyquist")
    axes.set_title("Fourier ring correlation of the halves", fontsize=11)
    axes.grid(alpha=0.3)
    axes.legend(loc="best", fontsize=9)


def draw_residuals(axes: Axes, frames: FrameMap, pixel_m: float | None) -> None:
    """Draw the misfit of each frame at its position."""
    y, x = frames.positions_px.T
    low, high = (float(np.percentile(frames.residual, edge)) for edge in (1, 99))
    size = float(np.clip(_DOTS_PT2 / max(len(x), 1), 4.0, 300.0))
    drawn = axes.scatter(
        x, y, c=frames.residual, s=size, cmap="viridis", vmin=low, vmax=max(high, low + 1e-9), linewidths=0,
        rasterized=len(x) > MANY,
    )  # fmt: skip
    if len(frames.held_out):
        axes.scatter(
            x[frames.held_out], y[frames.held_out], s=size, facecolors="none", edgecolors="red", linewidths=1.2,
            label="held out",
        )  # fmt: skip
        axes.legend(loc="upper right", fontsize=9)
    axes.invert_yaxis()
    axes.set_aspect("equal")
    axes.margins(x=0.04, y=0.12)  # room for the legend above and the scale bar below
    add_colour_bar(drawn, axes, frames.residual, "R-factor of the frame")
    label_panel(axes, "Residual of each frame at its position", int(np.ptp(x)) or 1, pixel_m)
