"""``autoencoder``: the layout of PtychoPINN, for comparison and for frames without overlap."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from pydantic import Field

from ptycho_cli.config.schema import Options
from ptycho_cli.errors import ConfigError
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry

if TYPE_CHECKING:
    from ptycho_cli.networks.autoencoder import Autoencoder


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
        alpha=context.alpha,
    )


AUTOENCODER = NetworkEntry(
    name="autoencoder",
    summary="Each frame, alone or with its neighbours, through a CNN to a patch; for comparison, and without overlap.",
    options=AutoencoderOptions,
    build=build_autoencoder,
)
