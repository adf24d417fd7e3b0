"""Built-in networks as users choose them: name, options and factory of each. Torch is imported inside the factories."""

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
    """How often, on which frames, and how wide."""

    stages: int = Field(8, ge=1, description="Stages, each a physics step and a small CNN.")
    subsets: int = Field(1, ge=1, description="Ordered subsets of the frames; each stage uses one, 1: all frames.")
    width: int = Field(24, ge=1, description="Channels of the CNN.")


def build_unrolled(context: NetworkContext, options: UnrolledOptions) -> UnrolledNetwork:
    """Its regularisation starts at that of the context's update and is learned."""
    from ptycho_cli.networks.unrolled import UnrolledNetwork

    return UnrolledNetwork(stages=options.stages, subsets=options.subsets, width=options.width, update=context.update)


UNROLLED = NetworkEntry(
    name="unrolled",
    summary="Physics steps on the canvas of a group of frames, each followed by a small CNN.",
    options=UnrolledOptions,
    build=build_unrolled,
)


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

    relaxation = Relaxation(
        options.physics_stages, options.subsets, options.momentum, context.update.with_alpha(options.alpha)
    )
    return Refiner(relaxation=relaxation, width=options.width, levels=options.levels)


REFINER = NetworkEntry(
    name="refiner",
    summary="Physics steps with momentum until they settle, then one U-Net on the canvas.",
    options=RefinerOptions,
    build=build_refiner,
)


class AutoencoderOptions(Options):
    """How many frames make a patch, what is seen of them, and how large the CNN is."""

    channels: int = Field(1, ge=1, description="Frames that a patch is made from: its own and its nearest neighbours.")
    depth: int = Field(3, ge=1, le=8, description="Times that the patch is halved on its way through the CNN.")
    width: int = Field(16, ge=1, description="Channels of the first layer of the CNN; doubled with each halving.")
    input: Literal["physics", "amplitude"] = Field(
        "physics", description="What the CNN sees: frames after one physics step, or their raw amplitudes."
    )


def build_autoencoder(context: NetworkContext, options: AutoencoderOptions) -> Autoencoder:
    """Build it for frames of the context's size.

    Raises:
        ConfigError: If a frame cannot be halved ``depth`` times.
    """
    if context.n_pixels % 2**options.depth:
        raise ConfigError(
            f"model.options.depth is {options.depth}, but frames of {context.n_pixels} px cannot be halved so often.",
            hint=f"Use at most {(context.n_pixels & -context.n_pixels).bit_length() - 1}.",
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


AUTOENCODER = NetworkEntry(
    name="autoencoder",
    summary="Each frame, alone or with its neighbours, through a CNN to a patch; for comparison, and without overlap.",
    options=AutoencoderOptions,
    build=build_autoencoder,
)


@hookimpl
def ptycho_networks() -> Iterable[NetworkEntry]:
    """Offer the built-in networks."""
    return (UNROLLED, REFINER, AUTOENCODER)
