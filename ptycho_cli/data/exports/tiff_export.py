"""TIFF: 32-bit images of amplitude, phase and coverage for ImageJ and others, with the pixel size in their tags."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tifffile

from ptycho_cli.data.exports.export_formats import ExportFormat
from ptycho_cli.data.exports.exported import Exported, notes_of, write_positions

_LARGEST_IMAGEJ = 2**32 - 2**25  # bytes; larger images are BigTIFF, which ImageJ opens through Bio-Formats


def write(exported: Exported, folder: Path) -> None:
    """Write an image of each quantity, modes of the probe as a stack, and a table of the positions.

    The resolution is in pixels per centimetre, as TIFF has no smaller unit, and ImageJ's description says so too.
    """
    pixel = exported.result.object_pixel_m
    for image in exported.images():
        metadata: dict[str, Any] = {"axes": "YX" if image.values.ndim == 2 else "ZYX"}
        metadata["Info"] = "\n".join(f"{name} = {value}" for name, value in notes_of(exported, image).items())
        scale: dict[str, Any] = {}
        if pixel is not None:
            metadata["unit"] = "cm"
            scale = {"resolution": (0.01 / pixel, 0.01 / pixel), "resolutionunit": "CENTIMETER"}
        for_imagej = image.values.nbytes < _LARGEST_IMAGEJ
        tifffile.imwrite(folder / f"{image.name}.tif", image.values, imagej=for_imagej, metadata=metadata, **scale)
    write_positions(exported, folder)


FORMAT = ExportFormat((), write, has_phase=True)
