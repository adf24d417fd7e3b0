"""Memory of this machine, so that a mistyped number is refused before it takes all of it."""

from __future__ import annotations

import os

from ptycho_cli.errors import DataError

_GIB = 2.0**30


def physical_memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not report it."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


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
