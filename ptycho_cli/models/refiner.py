"""``refiner``: the physics alone until it hardly moves, then one U-Net."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ptycho_cli.config.schema import Options
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry

if TYPE_CHECKING:
    from ptycho_cli.networks.refiner import Refiner


class RefinerOptions(Options):
    """How long the physics runs, and how large the U-Net is."""

    physics_stages: int = Field(96, ge=1, description="Physics steps before the U-Net, each over one subset.")
    subsets: int = Field(4, ge=1, description="Ordered subsets of the frames.")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Share of a physics step's motion that the next keeps.")
    alpha: float = Field(
        4.0, ge=0.0, description="Regularisation of the physics steps; with the momentum it fits every dose."
    )
    width: int = Field(16, ge=1, description="Channels of the U-Net's first level, doubled on each below.")
    levels: int = Field(3, ge=1, le=6, description="Resolutions of the U-Net.")


def build_refiner(context: NetworkContext, options: RefinerOptions) -> Refiner:
    """Its regularisation is its own: with momentum, what the dose asks of a single step has no say."""
    from ptycho_cli.networks.refiner import Refiner
    from ptycho_cli.physics.relaxation import Relaxation

    relaxation = Relaxation(options.physics_stages, options.subsets, options.momentum, options.alpha)
    return Refiner(relaxation=relaxation, width=options.width, levels=options.levels)


REFINER = NetworkEntry(
    name="refiner",
    summary="Physics steps with momentum until they settle, then one U-Net on the canvas.",
    options=RefinerOptions,
    build=build_refiner,
)
