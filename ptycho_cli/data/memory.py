"""How much memory there is, asked before a mistyped number takes it all."""

from __future__ import annotations

import os

from ptycho_cli.errors import DataError

_GIB = 2.0**30


def physical_memory() -> int | None:
    """Bytes of memory of this machine; None where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def refuse_if_too_large(what: str, needed_bytes: float, *, hint: str) -> None:
    """Raise ``DataError`` if something cannot be held in memory.

    Args:
        what: Beginning of the message, up to and with ``needs`` or ``need``.
        needed_bytes: How much it needs at the very least.
        hint: The way out.
    """
    there = physical_memory()
    if there is not None and needed_bytes > there:
        raise DataError(
            f"{what} {needed_bytes / _GIB:.3g} GiB of memory, but this machine has {there / _GIB:.3g} GiB.", hint=hint
        )
