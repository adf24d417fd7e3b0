"""Ptychographic reconstruction with physics-informed networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ptycho_cli.api import infer, train

__version__ = "0.1.0"
__all__ = ["__version__", "infer", "train"]


def __getattr__(name: str) -> Any:
    """Load the library interface when it is used; the command line starts without it."""
    if name in ("infer", "train"):
        from ptycho_cli import api

        return getattr(api, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
