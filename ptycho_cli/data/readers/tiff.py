"""TIFF files of diffraction frames: one file with a page for each frame, or a numbered series of files.

Nothing but the frames is taken from them: positions come from another file (``data.positions``) or from the step of a
raster, and the geometry from settings.
"""

from __future__ import annotations

import os
import weakref
from pathlib import Path
from typing import Any

import numpy as np

from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.image_series import damaged_tiff, open_tiff, opened_tiff, series_of
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.data.stored_frames import FramePart, StoredFrames
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
        shape, dtype = tuple(images.shape), images.dtype
    series = series_of(source.path)
    if len(series.files) == 1:
        raise DataError(
            f"{source.name}: one image, and no other beside it whose name has another number; expected the frames of a "
            "scan.",
            hint="Name the images of a scan as in scan_0001.tif, scan_0002.tif, or store them as pages of one file.",
        )
    parts = tuple(FramePart(str(path), "", 1) for path in series.files[: source.max_frames])
    frames = TiffSeries(parts, shape, dtype)
    raw = RawScan(source.name, series.name, FrameStack(frames))
    gap = f"; no file has the number {series.missing()}" if series.missing() else ""
    raw.notes.append(f"{len(series.files)} files {series.name} are one scan, in the order of their numbers{gap}.")
    return raw


def _raw_from_pages(source: Source, images: Any) -> RawScan:
    """Frames of one file, ``(frame, y, x)`` or a raster ``(row, column, y, x)``."""
    shape = tuple(images.shape)
    raster = (shape[0], shape[1]) if len(shape) == 4 else None
    number = int(np.prod(shape[:-2]))
    number = number if source.max_frames is None else min(number, source.max_frames)
    pages = TiffPages((FramePart(str(source.path), "", number),), shape[-2:], images.dtype)
    pages.read(np.array([number - 1]))  # a file that was cut off is refused at once
    return RawScan(source.name, source.path.name, FrameStack(pages), scan_shape=raster)


class TiffPages(StoredFrames):
    """Pages of a TIFF file, which stay there."""

    def with_frames_last(self) -> None:
        """None: a page is a frame."""

    def _read_part(self, part: FramePart, start: int, stop: int) -> Array:
        try:
            images = self._images(part)
            if images.dataoffset is None:
                return np.stack([images.pages[index].asarray() for index in range(start, stop)])
            shape = tuple(images.shape)  # one block of bytes, which may have a single page
            dtype = np.dtype(images.parent.byteorder + images.dtype.char)
            stored = np.memmap(part.path, dtype, "r", images.dataoffset, shape).reshape(-1, *shape[-2:])
            return np.array(stored[start:stop], dtype=images.dtype)
        except DataError:
            raise
        except Exception as problem:  # of many kinds, where a file is damaged
            raise damaged_tiff(Path(part.path), problem) from None

    def _images(self, part: FramePart) -> Any:
        """The open images; a process that was forked opens a file of its own."""
        if self._opened_by != os.getpid():
            self._open, self._opened_by = {}, os.getpid()
        if part not in self._open:
            self._open[part] = open_tiff(Path(part.path))
            weakref.finalize(self, self._open[part].parent.close)
        return self._open[part]


class TiffSeries(StoredFrames):
    """Images of TIFF files, one in each, which stay there."""

    def with_frames_last(self) -> None:
        """None: an image is a frame."""

    def _load(self, start: int, stop: int) -> Array:
        return np.stack([self._image(Path(part.path)) for part in self.parts[start:stop]])

    def _image(self, path: Path) -> Array:
        with opened_tiff(path) as images:
            shape, dtype = tuple(images.shape), images.dtype
            if shape != self.shape[1:] or dtype != self.dtype:
                raise DataError(
                    f"{path}: an image of shape {shape} and type {dtype}, but {Path(self.parts[0].path).name} has "
                    f"{self.shape[1:]} and {self.dtype}; expected the same.",
                    hint="Keep images that are not frames of the scan in another folder.",
                )
            return np.asarray(images.asarray())


READER = ReaderEntry("TIFF", "TIFF files with a page for each frame, or a numbered series of them.", can_read, read)
