"""Entries of the built-in networks: name, options and factory of each.

A new network needs its own module, an entry here and a place in ``ptycho_networks``. Importing this module must not
import torch, so the factories do.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ptycho_cli.extend import ConfigError, NetworkContext, NetworkEntry, Options, hookimpl

if TYPE_CHECKING:
    from ptycho_cli.networks.autoencoder import Autoencoder
    from ptycho_cli.networks.refiner import Refiner
    from ptycho_cli.networks.unrolled import UnrolledNetwork


class UnrolledOptions(Options):
    """Options of the unrolled network."""

    stages: int = Field(8, ge=1, le=1000, description="Number of stages, each a physics step and a small CNN.")
    subsets: int = Field(
        1, ge=1, le=1000, description="Number of ordered subsets of the frames; a stage uses one subset. 1: all frames."
    )
    width: int = Field(24, ge=1, le=1000, description="Number of channels of each CNN.")
    fold: int = Field(
        1, ge=1, le=2, description="Each CNN sees squares of so many pixels along a side as channels; 2 is faster."
    )


def build_unrolled(context: NetworkContext, options: UnrolledOptions) -> UnrolledNetwork:
    """Build the unrolled network; each stage learns its alpha, which starts at the context's."""
    from ptycho_cli.networks.unrolled import UnrolledNetwork

    return UnrolledNetwork(**options.model_dump(), update=context.update)


class RefinerOptions(Options):
    """Options of the refiner."""

    physics_stages: int = Field(
        96, ge=1, le=10_000, description="Number of physics steps from vacuum, each over one subset of the frames."
    )
    subsets: int = Field(4, ge=1, le=1000, description="Number of ordered subsets of the frames.")
    momentum: float = Field(0.9, ge=0.0, lt=1.0, description="Share of a physics step that is added to the next.")
    alpha: float = Field(
        4.0, ge=0.0, description="Regularisation of the physics steps; with momentum the default suits every dose."
    )
    width: int = Field(
        16, ge=1, le=500, description="Number of channels of the U-Net's first level; doubled at each level."
    )
    levels: int = Field(3, ge=1, le=6, description="Number of resolutions of the U-Net.")
    passes: int = Field(
        2, ge=1, le=8, description="Number of times that physics and a U-Net of its own follow; the last is trained."
    )
    pass_stages: int = Field(48, ge=1, le=10_000, description="Number of physics steps of each pass but the first.")


def build_refiner(context: NetworkContext, options: RefinerOptions) -> Refiner:
    """Build the refiner; its alpha is an option, since with momentum the best alpha hardly depends on the dose."""
    from ptycho_cli.networks.refiner import Refiner
    from ptycho_cli.physics.relaxation import Relaxation

    relaxation = Relaxation(
        options.physics_stages, options.subsets, options.momentum, context.update.with_alpha(options.alpha)
    )
    return Refiner(
        relaxation=relaxation, width=options.width, levels=options.levels,
        passes=options.passes, pass_stages=options.pass_stages,
    )  # fmt: skip


class AutoencoderOptions(Options):
    """Options of the autoencoder."""

    channels: int = Field(
        1, ge=1, le=1000, description="Number of frames that a patch is made from: its own and its nearest neighbours."
    )
    depth: int = Field(3, ge=1, le=8, description="Number of times that the CNN halves the patch.")
    width: int = Field(
        16, ge=1, le=500, description="Number of channels of the CNN's first layer; doubled with each halving."
    )
    input: Literal["physics", "amplitude"] = Field(
        "physics", description="Input of the CNN: the update of one physics step, or the measured amplitudes."
    )


def build_autoencoder(context: NetworkContext, options: AutoencoderOptions) -> Autoencoder:
    """Build the autoencoder for frames of the context's size.

    Raises:
        ConfigError: If a frame cannot be halved ``depth`` times.
    """
    most = (context.n_pixels & -context.n_pixels).bit_length() - 1
    if options.depth > most:
        crop = f"rop the frames to a multiple of {2**options.depth} px."
        raise ConfigError(
            f"model.options.depth is {options.depth}, but frames of {context.n_pixels} px can be halved {most} times.",
            hint=f"Use a depth of at most {most}, or c{crop}" if most else f"C{crop}",
        )
    from ptycho_cli.networks.autoencoder import Autoencoder

    return Autoencoder(
        n_pixels=context.n_pixels,
        channels=options.channels,
        depth=options.depth,
        width=options.width,
        physics=options.input == "physics",
        update=context.update,
    )


UNROLLED = NetworkEntry(
    "unrolled",
    "Physics steps on the canvas of a group of frames, each followed by a small CNN.",
    UnrolledOptions,
    build_unrolled,
)
REFINER = NetworkEntry(
    "refiner",
    "Physics steps with momentum until the object converges, then a U-Net on the canvas, and both once more.",
    RefinerOptions,
    build_refiner,
)
AUTOENCODER = NetworkEntry(
    "autoencoder",
    "A CNN maps each frame, alone or with neighbours, to a patch; for comparison and without overlap.",
    AutoencoderOptions,
    build_autoencoder,
)


@hookimpl
def ptycho_networks() -> Iterable[NetworkEntry]:
    """Offer the built-in networks."""
    return (UNROLLED, REFINER, AUTOENCODER)
