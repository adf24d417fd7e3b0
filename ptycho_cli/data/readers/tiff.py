"""TIFF files of diffraction frames: one file with a page for each frame, or a numbered series of files.

Nothing but the frames is taken from them: positions come from another file (``data.positions``) or from the step of a
raster, and the geometry from settings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ptycho_cli.data.image_series import opened_tiff, series_of
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError
from ptycho_cli.extend import ReaderEntry

_STARTS = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # of TIFF and BigTIFF in both orders of bytes


def can_read(source: Source) -> bool:
    """True for TIFF files."""
    return source.start.startswith(_STARTS)


def read(source: Source) -> RawScan:
    """Read all frames of a file; a file of one image stands for the numbered series that it belongs to.

    Raises:
        DataError: If a file is damaged, or is no stack of grey images of one shape.
    """
    with opened_tiff(source.path) as images:
        if len(images.shape) > 2:
            return _raw_from_pages(source, images)
    series = series_of(source.path)
    if len(series.files) == 1:
        raise DataError(
            f"{source.name}: one image, and no other beside it whose name has another number; expected the frames of a "
            "scan.",
            hint="Name the images of a scan as in scan_0001.tif, scan_0002.tif, or store them as pages of one file.",
        )
    raw = RawScan(source.name, series.name, np.stack(list(_frames(series.files[: source.max_frames]))))
    gap = f"; no file has the number {series.missing()}" if series.missing() else ""
    raw.notes.append(f"{len(series.files)} files {series.name} are one scan, in the order of their numbers{gap}.")
    return raw


def _raw_from_pages(source: Source, images: Any) -> RawScan:
    """Frames of one file, ``(frame, y, x)`` or a raster ``(row, column, y, x)``."""
    shape = tuple(images.shape)
    raster = (shape[0], shape[1]) if len(shape) == 4 else None
    number = int(np.prod(shape[:-2]))
    number = number if source.max_frames is None else min(number, source.max_frames)
    if images.dataoffset is not None:  # one block of bytes, which may have a single page
        dtype = np.dtype(images.parent.byteorder + images.dtype.char)
        stored = np.memmap(source.path, dtype, "r", images.dataoffset, shape).reshape(-1, *shape[-2:])
        counts = np.array(stored[:number], dtype=images.dtype)
    else:
        pages = [images.pages[index] for index in range(number)]
        counts = np.stack([page.asarray() for page in pages])
    return RawScan(source.name, source.path.name, counts, scan_shape=raster)


def _frames(files: list[Path]) -> Iterator[Array]:
    """The images of a series.

    Raises:
        DataError: If one has another shape than the first.
    """
    first: tuple[int, ...] | None = None
    for path in files:
        with opened_tiff(path) as images:
            shape = tuple(images.shape)
            first = first or shape
            if shape != first:
                raise DataError(
                    f"{path}: an image of shape {shape}, but {files[0].name} has {first}; expected the same.",
                    hint="Keep images that are not frames of the scan in another folder.",
                )
            yield images.asarray()


READER = ReaderEntry("TIFF", "TIFF files with a page for each frame, or a numbered series of them.", can_read, read)
