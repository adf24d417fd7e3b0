"""Stopping a training at the user's wish: Ctrl-C once saves and ends, twice quits."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ptycho_cli.errors import TrainingError


class StoppedError(Exception):
    """Raised at the end of an accumulation window, after saving, where the user asked to stop."""


class QuitNow(BaseException):
    """Raised wherever the program is when Ctrl-C is pressed a second time.

    Like ``KeyboardInterrupt`` it is not an error that a handler of errors may swallow, yet not one of
    it: Lightning turns that one into exit code 1 and ignores Ctrl-C from then on.
    """


class StopRequest:
    """A wish to stop that the training looks at between optimizer steps.

    Attributes:
        requested: Whether there is one.
        reason: The error that asks for it; None where the user does.
    """

    def __init__(self) -> None:
        self.requested = False
        self.reason: TrainingError | None = None
        self._handler: Callable[[int, FrameType | None], None] | None = None

    def request(self, reason: TrainingError | None = None) -> None:
        """Ask the training to stop after the window that it is in; the first reason counts."""
        self.requested = True
        self.reason = self.reason or reason

    def heed_sigterm(self) -> None:
        """Take SIGTERM, which a cluster sends before it ends a job, for Ctrl-C; to be called after Lightning is set up.

        Lightning's own handler ends the run inside a window, unsaved, with exit code 0; it gives the signal back
        at the end of the fit.
        """
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)


@contextmanager
def stop_on_ctrl_c(stop: StopRequest, announce: Callable[[], None]) -> Iterator[None]:
    """While inside, the first Ctrl-C requests a stop and the second raises :class:`QuitNow`.

    Signals can be caught in the main thread only; elsewhere this does nothing.

    Args:
        stop: Receives the wish.
        announce: Called at the first Ctrl-C, to tell the user what happens now.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(signal_number: int, frame: FrameType | None) -> None:
        if stop.requested:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # a third one ends even a clean-up
            raise QuitNow
        stop.request()
        announce()

    previous = signal.signal(signal.SIGINT, handler)
    stop._handler = handler
    try:
        yield
    finally:
        stop._handler = None
        signal.signal(signal.SIGINT, previous)
