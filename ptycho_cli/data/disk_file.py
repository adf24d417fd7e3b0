"""A file for HDF5 that keeps the library alive when the disk is full.

HDF5 ends the process if it cannot write what it holds when a file is closed (h5py 3.16). Here such a write seems to
succeed; ``check`` raises the error once the file is closed. The exception of a signal would be such an error, too.
"""

from __future__ import annotations

import io
import signal
import threading
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

_KEPT = 2**16  # bytes; larger pieces are frames
_AGAIN_S = 0.01
_POSTPONING = (__file__, weakref.__file__)  # exceptions in callbacks of weak references, which h5py has, are lost


class DiskFile(io.RawIOBase):
    """A new file that h5py writes to by its driver for Python files.

    Args:
        path: The file.

    Attributes:
        problem: The first error of the system; None if all was written.
    """

    def __init__(self, path: Path) -> None:
        self._file = path.open("w+b", buffering=0)
        self.problem: OSError | None = None
        self._unwritten: dict[int, bytes] = {}  # by their place in the file, after the first error

    def check(self) -> None:
        """Raise the error that a write met.

        Raises:
            OSError: As the system gave it.
        """
        if self.problem is not None:
            raise self.problem

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()

    def seekable(self) -> bool:
        """Always true."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to a place, which may be after the end."""
        if whence == io.SEEK_END:
            end = self._file.seek(0, io.SEEK_END)
            end = max([end, *(place + len(content) for place, content in self._unwritten.items())])
            return self._file.seek(end + offset)
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """The place in the file."""
        return self._file.tell()

    def write(self, content: Any) -> int:
        """Write bytes; after the first error, small pieces are kept in memory: HDF5 reads its own records again."""
        view = memoryview(content).cast("B")
        place, done = self._file.tell(), 0
        while self.problem is None and done < len(view):
            try:
                done += self._file.write(view[done:])
            except OSError as problem:
                self.problem = problem
        if done < len(view):
            if len(view) <= _KEPT:
                self._unwritten[place + done] = bytes(view[done:])
            self._file.seek(place + len(view))
        return len(view)

    def readinto(self, buffer: Any) -> int:
        """Read bytes, also those that could not be written."""
        view = memoryview(buffer).cast("B")
        place = self._file.tell()
        view[:] = bytes(len(view))
        self._file.readinto(view)
        for start, content in self._unwritten.items():
            low, high = max(start, place), min(start + len(content), place + len(view))
            if low < high:
                view[low - place : high - place] = content[low - start : high - start]
        self._file.seek(place + len(view))
        return len(view)

    def truncate(self, size: int | None = None) -> int:
        """Set the length of the file."""
        size = self._file.tell() if size is None else size
        if self.problem is None:
            try:
                self._file.truncate(size)
            except OSError as problem:
                self.problem = problem
        return size

    def flush(self) -> None:
        """Do nothing: no bytes wait here."""


@contextmanager
def signals_between_writes() -> Iterator[None]:
    """Send a signal that comes while HDF5 reads or writes a :class:`DiskFile` again, until it comes in between."""
    if threading.current_thread() is not threading.main_thread():  # where no signal is handled
        yield
        return
    found = {number: signal.getsignal(number) for number in signal.valid_signals()}
    handlers = {number: handler for number, handler in found.items() if callable(handler)}
    for number, handler in handlers.items():
        signal.signal(number, _outside_files(handler))
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def _outside_files(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], None]:
    def handle(number: int, frame: FrameType | None) -> None:
        at = frame
        while at is not None and at.f_code.co_filename not in _POSTPONING:
            at = at.f_back
        if at is None:
            handler(number, frame)
        else:
            # to the main thread, which it interrupts if that waits
            again = threading.Timer(_AGAIN_S, signal.pthread_kill, (threading.main_thread().ident, number))
            again.daemon = True
            again.start()

    return handle
