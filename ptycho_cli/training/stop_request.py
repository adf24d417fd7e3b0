"""Requests to stop a training: signals, plugins and callbacks ask for it, and the training stops where it can be saved.

Ctrl-C, SIGTERM and SIGUSR1 (a cluster ends a job) and SIGHUP (the terminal is closed) let the training finish its
accumulation window and save it. Before and after the training there is nothing to save, and they end the program there.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

from ptycho_cli.errors import InterruptedRunError, TrainingError

# SIGHUP and SIGUSR1 do not exist on Windows
SIGNALS = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1") if hasattr(signal, name))
_LAST_PRESS = 3  # Ctrl-C so often ends a slow clean-up
NOTHING_TO_SAVE = "stopped before the first optimizer step; there is nothing to save."


class StoppedError(Exception):
    """Raised at the end of an accumulation window, after saving, if a stop was requested."""


class QuitNow(BaseException):
    """Raised in the main thread where a signal stops the program at once.

    A ``BaseException``, so that handlers of errors do not catch it, but not a ``KeyboardInterrupt``: Lightning
    turns that one into exit code 1 and ignores Ctrl-C from then on.
    """


class StopRequest:
    """Shared flags that the training checks between optimizer steps.

    Attributes:
        requested: True once somebody asked to stop.
        signals: Numbers of the signals that asked for it.
        reason: The error that asks for it; None if the user does.
        ended_by: Why the training ends well before its last step, one clause; None if nobody asked for that.
        inside_epoch: True once it has ended so before the end of an epoch.
    """

    def __init__(self) -> None:
        self.requested = False
        self.signals: set[int] = set()
        self.reason: TrainingError | None = None
        self.ended_by: str | None = None
        self.inside_epoch = False
        self._announce: Callable[[], None] | None = None  # while optimizer steps are made
        self._announcing: threading.Thread | None = None
        self._listens = False
        self._presses = 0

    def request(self, reason: TrainingError | None = None) -> None:
        """Ask the training to stop after the current accumulation window; the first reason counts."""
        self.requested = True
        self.reason = self.reason or reason

    def end(self, why: str) -> None:
        """Ask the training to end well after the current accumulation window; the first reason counts."""
        self.ended_by = self.ended_by or why

    def quit_if_signalled(self) -> None:
        """Raise :class:`QuitNow` if a signal came in the last step, or where Python loses exceptions."""
        if self.signals:
            raise QuitNow

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Stop the program at signals: at once, or inside :meth:`saving` after the current window.

        Does nothing outside the main thread, where Python cannot handle signals, and inside itself.

        Raises:
            InterruptedRunError: If a signal stopped the block; after SIGUSR1 a job of SLURM is queued again.
        """
        if self._listens:
            yield
            return
        with self._handling():
            try:
                yield
            except (QuitNow, InterruptedRunError) as stopped:
                error = stopped if isinstance(stopped, InterruptedRunError) else InterruptedRunError(NOTHING_TO_SAVE)
                raise self._requeued(error) from None

    @contextmanager
    def _handling(self) -> Iterator[None]:
        """Replace the handlers of the signals, unless that is done already."""
        if self._listens or threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {number: signal.getsignal(number) for number in SIGNALS}
        # nohup ignores SIGHUP, and a cluster may ignore other signals; Python itself handles Ctrl-C
        ours = [number for number in SIGNALS if number == signal.SIGINT or before[number] is not signal.SIG_IGN]
        for number in ours:
            signal.signal(number, self._handle)
        self._listens = True
        try:
            yield
        finally:
            self._listens = False
            for number in ours:
                signal.signal(number, before[number])

    @contextmanager
    def saving(self, announce: Callable[[], None]) -> Iterator[None]:
        """Let signals request a stop; only a second Ctrl-C raises :class:`QuitNow`.

        Args:
            announce: Called in another thread at the first signal, to inform the user.
        """
        with self._handling():
            self._announce = announce
            try:
                yield
            finally:
                self._announce = None
                if self._announcing is not None:
                    self._announcing.join(timeout=1.0)

    def _requeued(self, error: InterruptedRunError) -> InterruptedRunError:
        """The same error, with what became of the job."""
        from ptycho_cli.training.slurm import requeue

        note = requeue() if getattr(signal, "SIGUSR1", None) in self.signals else None
        return error if note is None else InterruptedRunError(f"{error.message} {note}", hint=error.hint)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        first = not self.requested
        self.requested = True
        self.signals.add(number)
        self._presses += number == signal.SIGINT
        if number == getattr(signal, "SIGHUP", None):
            _leave_terminal()
        if self._presses >= _LAST_PRESS:
            raise KeyboardInterrupt
        if self._announce is not None and (first or number != signal.SIGINT):
            if first:
                # not here: the signal may have come while this thread was printing
                self._announcing = threading.Thread(target=self._announce, daemon=True)
                self._announcing.start()
        elif self._announce is not None or first:
            self._announce = None
            raise QuitNow


def _leave_terminal() -> None:
    """Write to nowhere in place of a terminal that was closed, so that saving does not fail at a message."""
    for descriptor in (1, 2):
        try:
            os.write(descriptor, b"")
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, descriptor)
            os.close(nowhere)
