"""The unit of training: groups of neighbouring frames, each group on a canvas of its own."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Groups of frames, collated. All canvases of one training have one size.

    Attributes:
        scan: Which training scan each group is from, int64 ``(batch,)``.
        counts: Measured photons, ``(batch, patch, y, x)``, zero frequency at ``n // 2``.
        corners: Corner (y, x) of each patch on its group's canvas, int64 ``(batch, patch, 2)``.
        shifts: Sub-pixel rest (y, x) of each position in pixels, within half a pixel, ``(batch, patch, 2)``.
        frames: Index of each frame in its scan, int64 ``(batch, patch)``.
        seen: Frames that the network may see, bool ``(batch, patch)``.
        scored: Frames that the loss is taken on, bool ``(batch, patch)``; a frame that is neither is padding.
    """

    scan: Tensor
    counts: Tensor
    corners: Tensor
    shifts: Tensor
    frames: Tensor
    seen: Tensor
    scored: Tensor
