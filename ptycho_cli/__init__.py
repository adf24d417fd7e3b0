"""Ptychographic reconstruction with physics-informed networks."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# OpenMP reads this once, when torch is loaded. Threads that wait for work then sleep; by default they spin, which
# slows a machine whose cores are busy many times over.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

if TYPE_CHECKING:
    from ptycho_cli.api import infer, reconstruct, train
    from ptycho_cli.reporting.notebook_view import load

__version__ = "0.1.0"
__all__ = ["__version__", "infer", "load", "reconstruct", "train"]


def __getattr__(name: str) -> Any:
    """Load the library interface when it is used; the command line starts without it."""
    if name in ("infer", "reconstruct", "train"):
        from ptycho_cli import api

        return getattr(api, name)
    if name == "load":
        from ptycho_cli.reporting.notebook_view import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
