"""Amplitude and phase of an object as one small image, made in milliseconds, for displays and loggers."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.render.plotting import BLANK, PERCENTILES, Complex, Image, Mask, flattened_phase
from ptycho_cli.render.reconstruction_figure import view_of

Levels = NDArray[np.uint8]
"""Colours, ``(y, x, 3)``."""

_GAP_PX = 4
_BLANK_LEVELS = [int(BLANK[place : place + 2], 16) for place in (1, 3, 5)]


def object_image(object: Complex, coverage: NDArray[np.floating[Any]]) -> Levels:
    """Amplitude and phase side by side, in grey, cropped to the covered area; pixels outside it are tinted.

    The limits of the grey scale are percentiles over the well covered pixels, and the phase has no mean plane.
    """
    view = view_of(object, coverage)
    gap = np.full((view.field.shape[0], _GAP_PX, 3), _BLANK_LEVELS, dtype=np.uint8)
    amplitude = _grey(np.abs(view.field).astype(np.float64), view.shown, view.good)
    return np.hstack([amplitude, gap, _grey(flattened_phase(view.field, view.shown), view.shown, view.good)])


def phase_image(object: Complex, coverage: NDArray[np.floating[Any]]) -> Levels:
    """The phase alone, in the same grey scale."""
    view = view_of(object, coverage)
    return _grey(flattened_phase(view.field, view.shown), view.shown, view.good)


def png_of(image: Levels) -> bytes:
    """The image as a PNG file."""
    from PIL import Image as PillowImage

    file = io.BytesIO()
    PillowImage.fromarray(image).save(file, format="PNG")
    return file.getvalue()


def _grey(values: Image, covered: Mask, good: Mask) -> Levels:
    low, high = np.percentile(values[good], PERCENTILES) if good.any() else (0.0, 1.0)
    scaled = np.clip((values - low) / max(high - low, 1e-6), 0.0, 1.0)
    levels = np.repeat(np.round(255 * scaled).astype(np.uint8)[..., None], 3, axis=2)
    levels[~covered] = _BLANK_LEVELS
    return levels
