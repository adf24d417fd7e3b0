"""Figure of several reconstructions of one scan side by side."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.render.plotting import (
    BLANK,
    PERCENTILES,
    Complex,
    Mask,
    covered_window,
    flattening,
    label_panel,
    save_png,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ACROSS = 4  # images in a row


def save_comparison_png(
    path: str | PathLike[str],
    images: Mapping[str, Complex],
    area: Mask,
    *,
    pixel_m: float | None = None,
    title: str = "",
) -> None:
    """Draw amplitudes and phases side by side, over the same area and with the same limits of the colours.

    Each limit is the median over the images of one percentile of each, so that a single noisy or smooth image
    does not change the others. The phase plane of the first image is removed from all.

    Args:
        path: PNG file, which replaces an older one.
        images: Name -> aligned object, ``(y, x)``, all of one shape.
        area: Pixels that all of them cover.
        pixel_m: Size of an object pixel in metres; the scale bars are in pixels where it is unknown.
        title: Line above the pictures.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    window = covered_window(area)
    shown = area[window]
    plane = flattening(next(iter(images.values()))[window], shown)
    amplitudes = {name: np.abs(image[window]) for name, image in images.items()}
    phases = {name: np.angle(image[window] * plane) for name, image in images.items()}
    bands = -(-len(images) // _ACROSS)
    across = min(len(images), _ACROSS)
    aspect = float(np.clip(shown.shape[0] / shown.shape[1], 0.4, 2.5))
    figure = Figure(figsize=(3.6 * across + 0.9, 0.6 + bands * 2 * (3.5 * aspect + 0.45)), layout="constrained")
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2 * bands, across, squeeze=False)
    if title:
        figure.suptitle(title, parse_math=False)
    for axes in grid.flat:
        axes.set_axis_off()
    for kind, (name, unit, values) in enumerate((("Amplitude", "", amplitudes), ("Phase", "rad", phases))):
        limits = _limits(list(values.values()), shown)
        for number, (label, image) in enumerate(values.items()):
            band, column = divmod(number, _ACROSS)
            axes = grid[2 * band + kind, column]
            _draw(axes, image, shown, limits, f"{name}: {label}", pixel_m)
        for band in range(bands):
            row = grid[2 * band + kind]
            bar = figure.colorbar(row[0].images[0], ax=list(row), shrink=0.8, pad=0.01, extend="both")
            bar.set_label(f"{name.lower()}, {unit}" if unit else name.lower())
    save_png(figure, Path(path))


def _limits(images: list[NDArray[np.float64]], shown: Mask) -> tuple[float, float]:
    if not shown.any():
        return 0.0, 1.0
    low, high = np.median([np.percentile(image[shown], PERCENTILES) for image in images], axis=0)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)


def _draw(
    axes: Axes, image: NDArray[np.float64], shown: Mask, limits: tuple[float, float], name: str, pixel_m: float | None
) -> None:
    axes.set_axis_on()
    axes.set_facecolor(BLANK)
    masked = np.ma.masked_array(image, ~shown)
    axes.imshow(masked, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
    label_panel(axes, name, image.shape[1], pixel_m)
    axes.set_title(name, fontsize=9, parse_math=False)
