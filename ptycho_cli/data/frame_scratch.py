"""A temporary file of frames without compression, for those that do not fit into memory and are read repeatedly."""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import weakref
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FREE = 2.0  # times the frames' bytes that must be free on the disk
_MOUNTS = Path("/proc/self/mounts")
_IN_MEMORY = {"tmpfs", "ramfs"}


class FrameScratch:
    """Frames by their numbers, in a file that has no name and ends with the process.

    A process that was forked reads the same file. What the system keeps of it in memory it gives back when asked.

    Args:
        folder: Where the file is.
        shape: ``(frame, y, x)``.
        dtype: Type of the frames, as which they are stored.
    """

    def __init__(self, folder: Path, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._file = tempfile.TemporaryFile(dir=folder, prefix="ptycho-frames-", buffering=0)  # noqa: SIM115
        weakref.finalize(self, self._file.close)
        self._dtype = dtype
        self._frame_bytes = math.prod(shape[1:]) * dtype.itemsize
        self._written = np.zeros(shape[0], dtype=np.bool_)
        self._left_free = math.prod(shape) * dtype.itemsize * (FREE - 1)

    def write(self, start: int, frames: NDArray[Any]) -> None:
        """Store frames from number ``start``, as long as the disk has room besides."""
        content = _bytes_of(np.ascontiguousarray(frames, dtype=self._dtype))
        place, disk = start * self._frame_bytes, os.fstatvfs(self._file.fileno())
        if disk.f_bavail * disk.f_frsize < self._left_free:
            return
        try:
            while content:
                done = os.pwrite(self._file.fileno(), content, place)
                content, place = content[done:], place + done
        except OSError:  # full
            return
        self._written[start : start + len(frames)] = True

    def read(self, number: int, into: NDArray[Any]) -> bool:
        """Read a frame into a contiguous array ``(y, x)`` of the type of the file; False if it is not there."""
        if not self._written[number]:
            return False
        place = number * self._frame_bytes
        return os.preadv(self._file.fileno(), [_bytes_of(into)], place) == self._frame_bytes


def _bytes_of(frames: NDArray[Any]) -> memoryview:
    return frames.reshape(-1).view(np.uint8).data


def opened_scratch(shape: tuple[int, ...], dtype: np.dtype[Any]) -> FrameScratch | None:
    """A scratch file for frames; None where no disk has room for it."""
    if lack_of_room(math.prod(shape) * dtype.itemsize) is not None:
        return None
    try:
        return FrameScratch(scratch_folder(), shape, dtype)
    except OSError:
        return None


def lack_of_room(n_bytes: int) -> str | None:
    """Reason why there can be no scratch file for frames of so many bytes, one clause; None if there is none."""
    folder = scratch_folder()
    if not hasattr(os, "preadv"):
        return "this system cannot read parts of a temporary file"
    try:
        if is_in_memory(folder):
            return f"the folder for temporary files, {folder}, is in memory"
        free = shutil.disk_usage(folder).free
    except OSError as error:
        return f"the folder for temporary files, {folder}, cannot be used ({error.strerror})"
    if free < FREE * n_bytes:
        needed = f"{FREE * n_bytes / 2**30:.3g} GiB"
        return f"the folder for temporary files, {folder}, has {free / 2**30:.3g} GiB free, and {needed} are needed"
    return None


def scratch_folder() -> Path:
    """``$TMPDIR``; without it ``/var/tmp``, which unlike ``/tmp`` is on a disk, or what the system has instead."""
    usual = Path("/var/tmp")
    on_disk = "TMPDIR" not in os.environ and usual.is_dir() and os.access(usual, os.W_OK)
    return usual if on_disk else Path(tempfile.gettempdir())


def is_in_memory(folder: Path, mounts: Path = _MOUNTS) -> bool:
    """Whether the files of a folder are in memory; False where the system does not say."""
    try:
        lines = [line.split() for line in mounts.read_text().splitlines()]
    except OSError:
        return False
    place = folder.resolve()
    found = [(len(at), kind) for _, at, kind, *_ in lines if place.is_relative_to(at)]
    return bool(found) and max(found)[1] in _IN_MEMORY
