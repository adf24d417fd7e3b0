"""Memory of this machine, so that a mistyped number is refused before it takes all of it."""

from __future__ import annotations

import ctypes
import os
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Literal

from ptycho_cli.errors import DataError

SHARE = 0.5  # of the free memory, for frames
_GIB = 2.0**30
_GROUP = Path("/sys/fs/cgroup")  # limits of a container or a job


def physical_memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


@cache
def free_memory() -> int:
    """Bytes of memory that were free when this was asked first; the least of any kind of limit that is known."""
    known = [_linux_number(Path("/proc/meminfo"), "MemAvailable:", 1024)]
    limit, used = (_linux_number(_GROUP / name) for name in ("memory.max", "memory.current"))
    known.append(None if limit is None or used is None else max(limit - used, 0))
    found = [number for number in known if number is not None]
    return min(found) if found else (physical_memory() or 4 * int(_GIB)) // 2


def _linux_number(file: Path, name: str = "", unit: int = 1) -> int | None:
    """The number after a name in a file of the system; None where there is none."""
    try:
        line = next(line for line in file.read_text().splitlines() if line.startswith(name))
        return int(line.removeprefix(name).split()[0]) * unit
    except (OSError, StopIteration, ValueError, IndexError):
        return None


def memory_budget(gib: float | Literal["auto"]) -> float:
    """Bytes of memory for frames: as given, or half of what was free."""
    return SHARE * free_memory() if gib == "auto" else gib * _GIB


def give_back_freed() -> None:
    """Give freed memory back to the system, which the C library of Linux (glibc) keeps in gaps between what is used."""
    with suppress(OSError, AttributeError, TypeError):  # other systems
        ctypes.CDLL(None).malloc_trim(0)


def refuse_if_too_large(what: str, needed_bytes: float, *, hint: str) -> None:
    """Raise ``DataError`` if something cannot be held in memory.

    Args:
        what: Beginning of the message, with ``needs`` or ``need`` as its last word.
        needed_bytes: Least memory that it needs.
        hint: The way out.
    """
    available = physical_memory()
    if available is not None and needed_bytes > available:
        raise DataError(
            f"{what} {needed_bytes / _GIB:.3g} GiB of memory, but this machine has {available / _GIB:.3g} GiB.",
            hint=hint,
        )
