"""Figure of several reconstructions of one scan side by side."""

from __future__ import annotations

from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.config.values import printable
from ptycho_cli.render.plotting import (
    BLANK,
    DEFAULT_STYLE,
    PERCENTILES,
    Complex,
    Mask,
    PictureStyle,
    add_colour_bar,
    covered_window,
    flattening,
    label_panel,
    save_figure,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_WIDTH = 3.6  # inches of an image
_IN_ONE_COLUMN = 4  # objects; more are drawn in two columns, each object still in one row


def save_comparison_png(
    path: str | PathLike[str],
    images: Mapping[str, Complex],
    area: Mask,
    *,
    pixel_m: float | None = None,
    title: str = "",
    style: PictureStyle = DEFAULT_STYLE,
) -> None:
    """Draw each object in a row, amplitude beside phase, over the same area and with the same limits of the colours.

    Each limit is the median over the images of one percentile of each, so that a single noisy or smooth image
    does not change the others. The phase plane of the first image is removed from all.

    Args:
        path: File, which replaces an older one; its suffix is the format.
        images: Name -> aligned object, ``(y, x)``, all of one shape.
        area: Pixels that all of them cover.
        pixel_m: Size of an object pixel in metres; the scale bars are in pixels where it is unknown.
        title: Line above the pictures.
        style: Resolution and colours.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    window = covered_window(area)
    shown = area[window]
    plane = flattening(next(iter(images.values()))[window], shown)
    columns = (
        ("amplitude", style.amplitude_map, {name: np.abs(image[window]) for name, image in images.items()}),
        ("phase, rad", style.phase_map, {name: np.angle(image[window] * plane) for name, image in images.items()}),
    )
    aspect = float(np.clip(shown.shape[0] / shown.shape[1], 0.4, 2.5))
    beside = 1 if len(images) <= _IN_ONE_COLUMN else 2
    rows = -(-len(images) // beside)
    height = 1.6 + rows * (_WIDTH * aspect + 0.3)
    figure = Figure(figsize=(2 * beside * _WIDTH + 0.6, height), layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, 2 * beside, squeeze=False)
    if title:
        figure.suptitle(printable(title), parse_math=False)
    for axes in grid.flat[2 * len(images) :]:
        axes.set_axis_off()
    for number, (label, colours, values) in enumerate(columns):
        limits = _limits(list(values.values()), shown)
        for axes, (name, image) in zip(grid.flat[number::2], values.items(), strict=False):
            _draw(axes, image, shown, limits, f"{name}: {label.partition(',')[0]}", colours, pixel_m)
        every = np.stack([image[shown] for image in values.values()])
        add_colour_bar(grid.flat[number].images[0], list(grid.flat), every, label, location="bottom")
    save_figure(figure, Path(path), dpi=style.dpi)


def _limits(images: list[NDArray[np.float64]], shown: Mask) -> tuple[float, float]:
    if not shown.any():
        return 0.0, 1.0
    low, high = np.median([np.percentile(image[shown], PERCENTILES) for image in images], axis=0)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)


def _draw(
    axes: Axes, image: NDArray[np.float64], shown: Mask, limits: tuple[float, float], name: str, colours: str,
    pixel_m: float | None,
) -> None:  # fmt: skip
    axes.set_facecolor(BLANK)
    masked = np.ma.masked_array(image, ~shown)
    axes.imshow(masked, cmap=colours, vmin=limits[0], vmax=limits[1], interpolation="none")
    label_panel(axes, name, image.shape[1], pixel_m)
    axes.set_title(printable(name), fontsize=9, parse_math=False)
