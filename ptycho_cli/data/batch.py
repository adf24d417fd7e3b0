"""The unit of training: groups of neighbouring frames, each group on a canvas of its own."""

from __future__ import annotations

from dataclasses import dataclass, field, fields

import torch
from torch import Tensor


def _empty() -> Tensor:
    return torch.empty(0)


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Groups of frames, collated. All canvases of one training have one size.

    Attributes:
        scan: Index of each group's scan, int64 ``(batch,)``; validation scans follow the training scans.
        counts: Photons that the network sees, ``(batch, patch, y, x)``, zero frequency at ``n // 2``.
        target: Photons that the loss is computed on, same shape.
        photon_fractions: Fraction of a frame's photons in ``counts`` and in ``target``, ``(batch, 2)``; both are 1
            where the two are equal.
        corners: Corner (y, x) of each patch on its group's canvas, int64 ``(batch, patch, 2)``.
        shifts: Sub-pixel part (y, x) of each position in pixels, within half a pixel, ``(batch, patch, 2)``.
        frames: Index of each frame in its scan, -1 for padding, int64 ``(batch, patch)``.
        seen: Frames that the network may see, bool ``(batch, patch)``.
        scored: Frames that the loss is computed on, bool ``(batch, patch)``; a frame that is neither is padding.
        initial_object: Object that physics alone found: real part, imaginary part and photons, ``(batch, 3, y, x)``
            on the canvas; without pixels where the network makes its own.
        symmetries: Index of the symmetry of a square, of eight, in which the network sees each group, int64
            ``(batch,)``.
        probe: Probe of each group's own instrument, complex ``(batch, mode, y, x)``; empty where all groups have the
            probe, mask, intensities and background of the objective.
        valid: True for valid pixels of its detector, bool ``(batch, y, x)``, zero frequency at ``n // 2``.
        intensities: Factor on the photons of each of its frames, ``(batch, patch)``.
        background: Its constant background in photons per pixel, ``(batch,)``.
    """

    scan: Tensor
    counts: Tensor
    target: Tensor
    photon_fractions: Tensor
    corners: Tensor
    shifts: Tensor
    frames: Tensor
    seen: Tensor
    scored: Tensor
    initial_object: Tensor
    symmetries: Tensor
    probe: Tensor = field(default_factory=_empty)
    valid: Tensor = field(default_factory=_empty)
    intensities: Tensor = field(default_factory=_empty)
    background: Tensor = field(default_factory=_empty)

    @property
    def n_groups(self) -> int:
        """Number of groups in the batch."""
        return int(self.counts.shape[0])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the same batch on ``device``; Lightning calls this when it moves a batch."""
        return Batch(*(getattr(self, f.name).to(device, non_blocking=non_blocking) for f in fields(self)))

    def pin_memory(self) -> Batch:
        """Return the same batch in page-locked memory, from which copies to a GPU are faster."""
        return Batch(*(getattr(self, f.name).pin_memory() for f in fields(self)))
