"""Requests to stop a training: the first Ctrl-C or SIGTERM saves and ends it, a second Ctrl-C quits at once."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ptycho_cli.errors import TrainingError


class StoppedError(Exception):
    """Raised at the end of an accumulation window, after saving, if a stop was requested."""


class QuitNow(BaseException):
    """Raised in the main thread at the second Ctrl-C.

    A ``BaseException``, so that handlers of errors do not catch it, but not a ``KeyboardInterrupt``: Lightning
    turns that one into exit code 1 and ignores Ctrl-C from then on.
    """


class StopRequest:
    """Shared flags that the training checks between optimizer steps.

    Attributes:
        requested: True once somebody asked to stop.
        reason: The error that asks for it; None if the user does.
        ended_by: Why the training ends well before its last step, one clause; None if nobody asked for that.
        inside_epoch: True once it has ended so before the end of an epoch.
    """

    def __init__(self) -> None:
        self.requested = False
        self.reason: TrainingError | None = None
        self.ended_by: str | None = None
        self.inside_epoch = False
        self._handler: Callable[[int, FrameType | None], None] | None = None

    def request(self, reason: TrainingError | None = None) -> None:
        """Ask the training to stop after the current accumulation window; the first reason counts."""
        self.requested = True
        self.reason = self.reason or reason

    def end(self, why: str) -> None:
        """Ask the training to end well after the current accumulation window; the first reason counts."""
        self.ended_by = self.ended_by or why

    def handle_sigterm(self) -> None:
        """Treat SIGTERM, which a cluster sends before it ends a job, like Ctrl-C. Call this after Lightning's setup.

        Lightning's own handler ends the run inside a window, without saving, with exit code 0. Lightning restores
        the previous handler at the end of the fit.
        """
        if self._handler is not None:
            signal.signal(signal.SIGTERM, self._handler)


@contextmanager
def stop_on_ctrl_c(stop: StopRequest, announce: Callable[[], None]) -> Iterator[None]:
    """Request a stop at the first Ctrl-C, and raise :class:`QuitNow` at the second.

    Does nothing outside the main thread, where Python cannot handle signals.

    Args:
        stop: Receives the request.
        announce: Called at the first Ctrl-C, to inform the user.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(signal_number: int, frame: FrameType | None) -> None:
        if stop.requested:
            signal.signal(signal.SIGINT, signal.default_int_handler)  # so that a third one ends a slow clean-up
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
