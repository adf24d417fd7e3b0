"""Run code of plugins: whatever it does, the caller gets an ordinary exception.

A plugin may raise what is no ``Exception``, end the process, or never return. :func:`plugin_code` turns each into a
:class:`PluginFaultError`, so that one handler can name the plugin.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any, NoReturn

TIME_LIMIT = "PTYCHO_PLUGIN_TIME_LIMIT"
LOADING_S, CALL_S = 60.0, 600.0  # limits unless the environment sets another

_REPEAT_S = 1.0  # a plugin may catch the first interrupt
_PACKAGE = __name__.partition(".")[0] + "."
_exit = os._exit
_running: list[int] = []  # the process whose main thread runs code of a plugin, once for each nested call


class PluginFaultError(Exception):
    """Code of a plugin did what is no ordinary error; the message says what."""


class _LeftError(SystemExit):
    """Raised in place of ``os._exit`` and at the time limit: no ``except Exception`` of the plugin catches it."""


def one_line(error: BaseException) -> str:
    """An exception as one line of text: its type and the first line of its message."""
    try:
        text = str(error).strip()
    except Exception:  # of its own __str__
        text = ""
    if isinstance(error, PluginFaultError | _LeftError):
        return text
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def time_limit_s(default: float, environment: Mapping[str, str] = os.environ) -> float:
    """Seconds that one call of a plugin may take; 0 for no limit. Text that is no number counts as the default."""
    try:
        return max(0.0, float(environment.get(TIME_LIMIT, default)))
    except ValueError:
        return default


@contextmanager
def plugin_code(limit_s: float = CALL_S) -> Iterator[None]:
    """Run code of a plugin; the working directory is the same afterwards.

    Ctrl-C and the program's own signals pass. The time limit holds in the main thread of a POSIX system, where Python
    can interrupt it; inside another call of a plugin it is that of the outer one.

    Args:
        limit_s: Time limit in seconds, unless the environment sets another.

    Raises:
        PluginFaultError: If it ends the process, raises what is no ``Exception``, or takes longer than the limit.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    outermost, folder = not _running, _working_directory()
    _running.append(os.getpid())
    os._exit = _refuse_exit
    try:
        if outermost:
            with _time_limit(time_limit_s(limit_s)):
                yield
        else:
            yield
    except Exception:
        raise
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt) and _is_of_user(error):
            raise
        if type(error).__module__.startswith(_PACKAGE) and not isinstance(error, _LeftError):
            raise  # the program's own, such as a second Ctrl-C
        raise PluginFaultError(one_line(error)).with_traceback(error.__traceback__) from error
    finally:
        _running.pop()
        if folder is not None and _working_directory() != folder:
            with suppress(OSError):
                os.chdir(folder)


def _working_directory() -> str | None:
    try:
        return os.getcwd()
    except OSError:  # it was removed
        return None


def _is_of_user(error: KeyboardInterrupt) -> bool:
    """False if a plugin has raised it: the program's own handler raises it from a frame of its own."""
    last = error.__traceback__
    while last is not None and last.tb_next is not None:
        last = last.tb_next
    is_own = last is not None and str(last.tb_frame.f_globals.get("__name__")).startswith(_PACKAGE)
    return is_own or signal.getsignal(signal.SIGINT) is signal.default_int_handler


@contextmanager
def own_code() -> Iterator[None]:
    """Run code of the program for a plugin that called it; its time does not count."""
    left, every = _set_timer(0.0)
    try:
        yield
    finally:
        if left:
            _set_timer(left, every)


@contextmanager
def _time_limit(seconds: float) -> Iterator[None]:
    if not seconds or not hasattr(signal, "setitimer"):
        yield
        return

    def interrupt(signal_number: int, frame: FrameType | None) -> NoReturn:
        raise _LeftError(f"it did not end within {seconds:g} s (${TIME_LIMIT} sets another limit)")

    previous = signal.signal(signal.SIGALRM, interrupt)
    _set_timer(seconds, _REPEAT_S)
    try:
        yield
    finally:
        _set_timer(0.0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if previous is None else previous)


def _set_timer(seconds: float, every: float = 0.0) -> tuple[float, float]:
    if not hasattr(signal, "setitimer") or threading.current_thread() is not threading.main_thread():
        return 0.0, 0.0
    return signal.setitimer(signal.ITIMER_REAL, seconds, every if seconds else 0.0)


def _refuse_exit(status: int) -> Any:
    """Take the place of ``os._exit``, which leaves no message; processes that were forked from this one may use it."""
    if _running and _running[-1] == os.getpid() and threading.current_thread() is threading.main_thread():
        raise _LeftError(f"it called os._exit({status})")
    _exit(status)
