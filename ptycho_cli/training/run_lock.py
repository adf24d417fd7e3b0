"""One run folder, one process: a lock that ends with the process that holds it."""

from __future__ import annotations

import json
import os
import socket
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from filelock import FileLock, Timeout

from ptycho_cli.errors import CheckpointError, OutputError
from ptycho_cli.training.run_record import RECORD, WEIGHTS

LOCK = "run.lock"


class RunLock:
    """Lock on the folder of a run, held until the end of a ``with`` block; taken by rank 0 alone.

    The system frees it when the process ends, however that happens. Where the file system has no such locks, filelock
    notes host and process in the file, and takes over what a dead process of the same host has left.
    """

    def __init__(self) -> None:
        self._lock: FileLock | None = None

    def take(self, folder: Path) -> None:
        """Lock a folder that exists; does nothing if this object has locked it already.

        Raises:
            OutputError: If another process, or another training of this one, trains in it.
            OSError: If nothing can be written there.
        """
        if self._lock is not None:
            return
        lock = FileLock(folder / LOCK)
        try:
            lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(
                f"{folder}: another process trains in this folder{_holder(folder)}.",
                hint="Wait until it ends, stop it with Ctrl-C, or choose another folder.",
            ) from None
        self._lock = lock

    def __enter__(self) -> RunLock:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            with suppress(OSError):  # the folder may be gone, or read-only by now
                Path(self._lock.lock_file).unlink()  # while it is held; filelock notices a file that is gone
            self._lock.release()
            self._lock = None


def trains(folder: Path) -> bool:
    """True if a process trains in a folder now: it holds the lock; ``run.json`` cannot know that it died."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except (Timeout, OSError):
        return True
    lock.release()
    return False


def require_trained(folder: Path) -> None:
    """Refuse a run that has no weights yet.

    Raises:
        CheckpointError: If it is being trained, or was stopped.
    """
    if (folder / WEIGHTS).exists() or not (folder / RECORD).exists():
        return
    if trains(folder):
        raise CheckpointError(f"{folder}: is being trained{_holder(folder)}, expected a finished run.", hint="Wait.")
    raise CheckpointError(
        f"{folder}: its training was stopped before its end, expected a finished run.",
        hint=f"Finish it with: ptycho train --resume {folder}",
    )


def this_process() -> dict[str, str | int]:
    """Host and number of this process, for the record of a run."""
    return {"host": socket.gethostname(), "pid": os.getpid()}


def _holder(folder: Path) -> str:
    """Who trains there, as far as the record says."""
    try:
        process = json.loads((folder / RECORD).read_text(encoding="utf-8"))["process"]
        return f" (process {int(process['pid'])} on {str(process['host'])!r})"
    except (OSError, ValueError, KeyError, TypeError):
        return ""
