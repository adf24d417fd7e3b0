"""Figure of frames as they were measured, beside the frames that a reconstruction expects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.render.plotting import BLANK

if TYPE_CHECKING:
    from matplotlib.figure import Figure, SubFigure

Frames = NDArray[np.floating[Any]]
_SIGMAS = 5.0  # limit of the colours of differences


def draw_frames(figure: Figure | SubFigure, names: Sequence[str], measured: Frames, modelled: Frames) -> None:
    """Draw a row for each frame: measured, expected, and their difference in standard deviations of photon noise.

    Args:
        figure: An empty figure.
        names: Name of each row.
        measured: Counts, ``(frame, y, x)``, NaN where masked.
        modelled: Expected photons, likewise.
    """
    edges = {"left": 0.05, "right": 0.95, "top": 0.96, "bottom": 0.01, "wspace": 0.08, "hspace": 0.12}
    grid = figure.subplots(len(names), 3, squeeze=False, gridspec_kw=edges)
    for row, name, counts, rate in zip(grid, names, measured, modelled, strict=True):
        logs = [np.log10(1 + np.where(frame >= 0, frame, np.nan)) for frame in (counts, rate)]
        high = max(float(np.nanpercentile(logs[1], 99.9)) if np.isfinite(logs[1]).any() else 1.0, 1e-3)
        for axes, image, title in zip(row, logs, ("measured", "expected"), strict=False):
            drawn = axes.imshow(image, cmap="magma", vmin=0, vmax=high, interpolation="none")
            axes.set_title(title, fontsize=10)
        figure.colorbar(drawn, ax=list(row[:2]), shrink=0.8, pad=0.02, extend="max").set_label("log10(1 + photons)")
        difference = (counts - rate) / np.sqrt(np.maximum(rate, 1.0))
        limits = {"vmin": -_SIGMAS, "vmax": _SIGMAS}
        drawn = row[2].imshow(difference, cmap="RdBu_r", interpolation="none", **limits)
        row[2].set_title("difference", fontsize=10)
        figure.colorbar(drawn, ax=row[2], shrink=0.8, pad=0.02, extend="both").set_label("in units of photon noise")
        row[0].set_ylabel(name, fontsize=10, parse_math=False)
        for axes in row:
            axes.set(xticks=[], yticks=[])
            axes.set_facecolor(BLANK)
