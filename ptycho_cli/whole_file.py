"""Files that appear whole or not at all, also on a full disk or when the machine loses power."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from ptycho_cli.errors import FullDiskError, OutputError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """Give a temporary name beside ``path``; what is written there takes its place at the end, or is removed.

    Raises:
        OSError: If it cannot be written.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
        _wait_until_on_disk(temporary)  # else a crash can leave the new name with nothing in it
        os.replace(temporary, path)
        _wait_until_on_disk(path.parent)
    finally:
        with suppress(OSError):  # where the folder itself is gone or locked
            temporary.unlink()


@contextmanager
def new_output(path: Path) -> Iterator[Path]:
    """``replacing`` for a file that the user asked for; its folder is made.

    Raises:
        OutputError: If it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as temporary:
            yield temporary
    except OSError as problem:
        raise output_error(path, problem) from None


def output_error(path: Path, problem: OSError) -> OutputError:
    """The error of one line for a file that the system did not let us write."""
    # h5py gives the number of the system's error in its text alone
    number = problem.errno or int((re.search(r"errno = (\d+)", str(problem)) or [0, 0])[1])
    reason = os.strerror(number) if number else str(problem)
    if number in FULL:
        return FullDiskError(f"{path}: cannot be written ({reason}).", hint="Free some space first.")
    return OutputError(f"{path}: cannot be written ({reason}).", hint="Check the folder and its permissions.")


def temporary_name(path: Path) -> Path:
    """Hidden name beside ``path`` that no other process uses; short enough where that of ``path`` is very long."""
    return path.with_name(f".{path.name[:80]}.{os.getpid()}.part")


def _wait_until_on_disk(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as problem:
        if not path.is_dir():
            raise problem  # some file systems cannot do this for folders
    finally:
        os.close(descriptor)
