"""The unit of training: groups of neighbouring frames, each group on a canvas of its own."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, fields, replace

import torch
from torch import Tensor


def _empty() -> Tensor:
    return torch.empty(0)


@dataclass(frozen=True, eq=False, slots=True)
class Batch:
    """Groups of frames, collated. All canvases of one training have one size.

    Attributes:
        scan: Index of each group's scan, int64 ``(batch,)``; validation scans follow the training scans.
        counts: Photons that the network sees, ``(batch, patch, y, x)``, zero frequency at ``n // 2``; of the type
            of the scan's counts until the batch is on the device.
        target: Photons that the loss is computed on, same shape.
        photon_fractions: Fraction of a frame's photons in ``counts`` and in ``target``, ``(batch, 2)``; both are 1
            where the two are equal.
        corners: Corner (y, x) of each patch on its group's canvas, int64 ``(batch, patch, 2)``.
        shifts: Sub-pixel part (y, x) of each position in pixels, within half a pixel, ``(batch, patch, 2)``.
        frames: Index of each frame in its scan, -1 for padding, int64 ``(batch, patch)``.
        seen: Frames that the network may see, bool ``(batch, patch)``.
        scored: Frames that the loss is computed on, bool ``(batch, patch)``; a frame that is neither is padding.
        initial_object: Real and imaginary part of ``k`` initial objects, and photons, ``(batch, 2k + 1, y, x)`` on the
            canvas; without pixels where the network makes its own.
        symmetries: Index of the symmetry of a square, of eight, in which the network sees each group, int64
            ``(batch,)``.
        probe: Probe of each group's own instrument, complex ``(batch, mode, y, x)``; empty where all groups have the
            probe, mask, intensities and background of the objective.
        valid: True for valid pixels of its detector, bool ``(batch, y, x)``, zero frequency at ``n // 2``.
        intensities: Factor on the photons of each of its frames, ``(batch, patch)``.
        background: Its constant background in photons per pixel, ``(batch,)``.
        true_object: Object of each simulated scan on the canvas, complex ``(batch, y, x)``; empty where it is not
            known. Where it is, the loss is computed on it.
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
    true_object: Tensor = field(default_factory=_empty)

    @property
    def n_groups(self) -> int:
        """Number of groups in the batch."""
        return int(self.counts.shape[0])

    def to(self, device: torch.device | str, non_blocking: bool = False) -> Batch:
        """Return the same batch on ``device``."""
        return self.changed(lambda tensor: tensor.to(device, non_blocking=non_blocking))

    def pin_memory(self) -> Batch:
        """Return the same batch in page-locked memory, from which copies to a GPU are faster."""
        return self.changed(lambda tensor: tensor.pin_memory())

    def with_real_counts(self) -> Batch:
        """Return the same batch with counts and target of the type of its other real numbers."""
        dtype = self.photon_fractions.dtype
        counts = self.counts.to(dtype)
        return replace(self, counts=counts, target=counts if self.target is self.counts else self.target.to(dtype))

    def changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """Change every tensor; counts and target stay one tensor where they are one."""
        changed = {f.name: change(getattr(self, f.name)) for f in fields(self) if f.name != "target"}
        target = changed["counts"] if self.target is self.counts else change(self.target)
        return Batch(**changed, target=target)


def collate(groups: Sequence[Batch]) -> Batch:
    """Join batches along the batch axis; counts of several types become real numbers."""
    if len(groups) == 1:
        return groups[0]
    if len({group.counts.dtype for group in groups}) > 1:
        groups = [group.with_real_counts() for group in groups]
    joined = {f.name: torch.cat([getattr(group, f.name) for group in groups]) for f in fields(Batch)}
    same = all(group.target is group.counts for group in groups)
    return Batch(**{**joined, "target": joined["counts"]} if same else joined)
