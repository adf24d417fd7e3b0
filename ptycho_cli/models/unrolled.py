"""``unrolled``: physics steps on one canvas, each followed by a small CNN."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pydantic import Field

from ptycho_cli.config.schema import Options
from ptycho_cli.extend.specs import NetworkContext, NetworkEntry

if TYPE_CHECKING:
    from ptycho_cli.networks.unrolled import UnrolledNetwork


class UnrolledOptions(Options):
    """How often, on which frames, and how wide."""

    stages: int = Field(8, ge=1, description="Stages, each a physics step and a small CNN.")
    subsets: int = Field(1, ge=1, description="Ordered subsets of the frames; each stage uses one, 1: all frames.")
    width: int = Field(24, ge=1, description="Channels of the CNN.")


def build_unrolled(context: NetworkContext, options: UnrolledOptions) -> UnrolledNetwork:
    """Its regularisation starts at the context's ``alpha`` and is learned."""
    from ptycho_cli.networks.unrolled import UnrolledNetwork

    return UnrolledNetwork(stages=options.stages, subsets=options.subsets, width=options.width, alpha=context.alpha)


UNROLLED = NetworkEntry(
    name="unrolled",
    summary="Physics steps on the canvas of a group of frames, each followed by a small CNN.",
    options=UnrolledOptions,
    build=build_unrolled,
)
