"""PNG: 16-bit grey images, pixel for pixel, with the scale of their values and the pixel size in their metadata."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from ptycho_cli.data.exports.export_formats import ExportFormat
from ptycho_cli.data.exports.exported import Exported, Real, RealImage, notes_of, write_positions

PERCENTILES = (0.1, 99.9)  # of the covered values, so that single pixels do not set the contrast
WHITE = 2**16 - 1
_MAX_PER_METRE = 2**31 - 1  # of the chunk pHYs


def write(exported: Exported, folder: Path) -> None:
    """Write an image of each quantity, each mode of the probe on its own, and a table of the positions."""
    for image in exported.images():
        if image.values.ndim == 2:
            _write(exported, image, image.name, image.values, folder)
            continue
        for number, values in enumerate(image.values, start=1):
            _write(exported, image, f"{image.name}_{number}", values, folder)
    write_positions(exported, folder)


def _write(exported: Exported, image: RealImage, name: str, values: Real, folder: Path) -> None:
    """Write one picture; grey levels are linear between the values ``black`` and ``white`` in its text."""
    shown = values[image.shown] if image.shown.any() else values
    black, white = (float(value) for value in np.percentile(shown, PERCENTILES))
    white = white if white - black > 1e-9 * max(1.0, abs(white)) else black + 1.0
    grey = WHITE * np.clip(np.nan_to_num((values - black) / (white - black)), 0, 1)
    info = PngInfo()
    for key, text in {**notes_of(exported, image), "black": f"{black:.9g}", "white": f"{white:.9g}"}.items():
        info.add_text(key, text)
    pixel = exported.result.object_pixel_m
    scale: dict[str, Any] = {"dpi": (0.0254 / pixel,) * 2} if pixel is not None and 1 / pixel < _MAX_PER_METRE else {}
    Image.fromarray(np.rint(grey).astype(np.uint16)).save(folder / f"{name}.png", pnginfo=info, **scale)


FORMAT = ExportFormat((), write, has_phase=True)
