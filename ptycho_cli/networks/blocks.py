"""Small convolutional parts that networks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

# Rows of a canvas that a CNN takes at once where no gradient is kept; bounds the memory of large scans.
STRIP_ROWS = 512


def in_strips(block: Callable[[Tensor], Tensor], channels: Tensor, reach: int) -> Tensor:
    """Apply a CNN to a canvas, strip by strip where the canvas is large and no gradient is kept.

    Args:
        block: Channels ``(batch, inputs, y, x)`` to ``(batch, outputs, y, x)``.
        channels: What it is applied to.
        reach: Pixels that an output looks to each side. Strips that overlap by it join without a seam.
    """
    rows = channels.shape[-2]
    if torch.is_grad_enabled() or rows <= STRIP_ROWS:
        return block(channels)
    parts = []
    for first in range(0, rows, STRIP_ROWS):
        top, last = max(0, first - reach), min(rows, first + STRIP_ROWS)
        strip = block(channels[..., top : last + reach, :])
        parts.append(strip[..., first - top : last - top, :])
    return torch.cat(parts, -2)


class CanvasBlock(nn.Module):
    """Three 3x3 convolutions that end in silence: the last starts at zero, so an untrained block returns 0.

    There is no normalisation over the batch: what a canvas becomes must not depend on its neighbours in a batch.

    Args:
        inputs: Channels in.
        width: Channels between.
        outputs: Channels out.
    """

    REACH = 3  # pixels that an output looks to each side

    def __init__(self, inputs: int, width: int, outputs: int) -> None:
        super().__init__()
        last = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        self.layers = nn.Sequential(
            nn.Conv2d(inputs, width, 3, padding=1), nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), last
        )

    def forward(self, canvas: Tensor) -> Tensor:
        """Channels ``(batch, inputs, y, x)`` to ``(batch, outputs, y, x)``."""
        # Channels last makes 3x3 convolutions of few channels three times faster on a CPU.
        return self.layers(canvas.contiguous(memory_format=torch.channels_last))  # type: ignore[no-any-return]
