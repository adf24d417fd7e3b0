"""Convolutional blocks that networks share."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from ptycho_cli.physics.frame_parts import computed_again

# Most pixels of a canvas that a CNN takes at once where no gradient is kept; bounds the memory of large scans.
STRIP_PIXELS, STRIP_PIXELS_CPU = 2**20, 2**18
# Most pixels of canvases for which the results of an activation are kept for the gradient; for larger ones they are
# computed again, which takes a fiftieth more time and halves the memory of a CNN.
KEPT_PIXELS = 2**16


def in_strips(block: Callable[[Tensor], Tensor], channels: Tensor, reach: int) -> Tensor:
    """Apply a CNN to canvases, strip by strip where they are large and no gradient is kept.

    Args:
        block: The CNN, from ``(batch, inputs, y, x)`` to ``(batch, outputs, y, x)``.
        channels: Its input.
        reach: Distance in pixels from an output to the furthest input that it depends on, a multiple of the CNN's
            coarsest pixel. Strips overlap by it, so that they join without a seam.

    Returns:
        Output of the CNN, ``(batch, outputs, y, x)``.
    """
    rows, columns = channels.shape[-2:]
    most = STRIP_PIXELS_CPU if channels.device.type == "cpu" else STRIP_PIXELS
    if torch.is_grad_enabled() or rows * columns <= most:
        return block(channels)
    at_once = max(2, most // columns // reach) * reach
    parts = []
    for first in range(0, rows, at_once):
        top, last = max(0, first - reach), min(rows, first + at_once)
        strip = block(channels[..., top : last + reach, :])
        parts.append(strip[..., first - top : last - top, :])
    return torch.cat(parts, -2)


class CanvasBlock(nn.Module):
    """Three 3x3 convolutions; the last starts at zero, so an untrained block returns 0.

    There is no normalisation over the batch: a canvas must not depend on the others of its batch.

    The convolutions see squares of ``fold`` times ``fold`` pixels as channels of one pixel (sub-pixel convolution).
    With 2 they take a third of the time on a CPU, and reach twice as far.

    Args:
        inputs: Number of input channels.
        width: Number of channels between the convolutions.
        outputs: Number of output channels.
        fold: Pixels along one side of such a square; 1 leaves the canvas as it is.

    Attributes:
        reach: Distance in pixels from an output to the furthest input at most, a multiple of ``fold``.

    Source: Shi et al. (2016), doi:10.1109/CVPR.2016.207.
    """

    def __init__(self, inputs: int, width: int, outputs: int, *, fold: int = 1) -> None:
        super().__init__()
        self.fold, self.reach = fold, 4 * fold if fold > 1 else 3
        last = nn.Conv2d(width, outputs * fold**2, 3, padding=1)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)  # type: ignore[arg-type]
        first = nn.Conv2d(inputs * fold**2, width, 3, padding=1)
        self.layers = nn.Sequential(first, nn.SiLU(), nn.Conv2d(width, width, 3, padding=1), nn.SiLU(), last)

    def forward(self, canvas: Tensor) -> Tensor:
        """Map channels ``(batch, inputs, y, x)`` to ``(batch, outputs, y, x)``, for any y and x."""
        height, width = canvas.shape[-2:]
        if self.fold > 1:
            canvas = nn.functional.pad(canvas, (0, -width % self.fold, 0, -height % self.fold))
            canvas = nn.functional.pixel_unshuffle(canvas, self.fold)
        # With channels last, 3x3 convolutions of few channels are three times faster on a CPU.
        first, _, middle, _, last = self.layers
        features = first(canvas.contiguous(memory_format=torch.channels_last))
        corrected = _activated(last, _activated(middle, features))
        return corrected if self.fold == 1 else nn.functional.pixel_shuffle(corrected, self.fold)[..., :height, :width]


def _activated(layer: nn.Module, features: Tensor) -> Tensor:
    """Apply SiLU and a layer, which are one step so that the gradient can do without the result of SiLU."""

    def step(values: Tensor) -> Tensor:
        return layer(nn.functional.silu(values))  # type: ignore[no-any-return]

    few = len(features) * features.shape[-2] * features.shape[-1] <= KEPT_PIXELS
    return step(features) if few else computed_again(step, features)


class CanvasUNet(nn.Module):
    """A U-Net of 3x3 convolutions; the last starts at zero, so an untrained one returns 0.

    Each level has half the resolution and twice the channels of the one above. As in ``CanvasBlock`` there is no
    normalisation over the batch. Instead, initial weights keep the variance from layer to layer: with torch's default
    the signal fades, and learning starts slowly.

    Args:
        inputs: Number of input channels.
        width: Channels of the first level.
        outputs: Number of output channels.
        levels: Number of resolutions.

    Attributes:
        reach: Distance in pixels from an output to the furthest input at most, a multiple of the coarsest pixel.

    Source: Ronneberger et al. (2015), doi:10.1007/978-3-319-24574-4_28; initial weights: He et al. (2015),
        doi:10.1109/ICCV.2015.123.
    """

    def __init__(self, inputs: int, width: int, outputs: int, levels: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(levels)]
        self._coarsest = 2 ** (levels - 1)
        self.reach = 8 * self._coarsest
        before = [inputs, *widths]
        self.down = nn.ModuleList(
            _pair(before[level], widths[level], stride=1 if level == 0 else 2) for level in range(levels)
        )
        self.up = nn.ModuleList(
            _pair(widths[level + 1] + widths[level], widths[level]) for level in range(levels - 1)
        )  # fmt: skip
        self.last = nn.Conv2d(width, outputs, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, canvas: Tensor) -> Tensor:
        """Map channels ``(batch, inputs, y, x)`` to ``(batch, outputs, y, x)``, for any y and x."""
        height, width = canvas.shape[-2:]
        features = nn.functional.pad(canvas, (0, -width % self._coarsest, 0, -height % self._coarsest))
        features = features.contiguous(memory_format=torch.channels_last)
        finer = []
        for layers in self.down:
            features = layers(features)
            finer.append(features)
        for level in range(len(self.up) - 1, -1, -1):
            features = nn.functional.interpolate(features, scale_factor=2.0, mode="nearest")
            features = self.up[level](torch.cat((features, finer[level]), 1))
        return self.last(features)[..., :height, :width]  # type: ignore[no-any-return]


def _pair(inputs: int, outputs: int, stride: int = 1) -> nn.Sequential:
    layers = nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride), nn.SiLU(),
        nn.Conv2d(outputs, outputs, 3, padding=1), nn.SiLU(),
    )  # fmt: skip
    for layer in layers:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]
    return layers


def apply_symmetry(canvas: Tensor, symmetry: int) -> Tensor:
    """Apply one of the eight symmetries of a square, 0 to 7, to ``(..., y, x)``; 0 is the identity."""
    return torch.rot90(canvas.flip(-1) if symmetry >= 4 else canvas, symmetry % 4, (-2, -1))


def undo_symmetry(canvas: Tensor, symmetry: int) -> Tensor:
    """Apply the inverse of ``apply_symmetry``."""
    rotated = torch.rot90(canvas, -(symmetry % 4), (-2, -1))
    return rotated.flip(-1) if symmetry >= 4 else rotated
