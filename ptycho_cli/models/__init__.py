"""Built-in networks as users choose them: options and factory. The networks themselves are in ``networks``."""

from __future__ import annotations

from collections.abc import Iterable

from ptycho_cli.extend.specs import NetworkEntry, hookimpl
from ptycho_cli.models.autoencoder import AUTOENCODER
from ptycho_cli.models.refiner import REFINER
from ptycho_cli.models.unrolled import UNROLLED

__all__ = ["AUTOENCODER", "REFINER", "UNROLLED", "ptycho_networks"]


@hookimpl
def ptycho_networks() -> Iterable[NetworkEntry]:
    """The names that the program itself offers."""
    return (UNROLLED, REFINER, AUTOENCODER)
