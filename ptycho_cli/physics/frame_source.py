"""Sources of frames, which networks are called with: groups of frames in memory, and a whole scan in parts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from ptycho_cli.physics.back_projection import back_project, likelihood_gradient
from ptycho_cli.physics.forward import illumination
from ptycho_cli.physics.frame_parts import in_parts, waves_at_once
from ptycho_cli.physics.frame_share import ALONE, FrameShare
from ptycho_cli.physics.frame_tensors import ALL, DeferredFrames, FrameBatch, ScanFrames
from ptycho_cli.physics.propagation import intensity

# Most complex pixels of waves that groups keep for the gradient on a CPU, in memory of 12 bytes each; the others are
# computed again. To compute all of them again would take an eighth of the time of a training step.
KEPT_PIXELS_CPU = 2**23


class FrameSource(ABC):
    """Measured frames on a batch of canvases, which a network reconstructs.

    The order of the frames is random; ordered subsets are slices of it, the same for all canvases.

    Attributes:
        shape: ``(batch, y, x)`` of the canvases.
        peak: Largest ``|P|^2`` of the probe, in photons, ``(batch, 1, 1)``.
        n_pixels: Pixels along one side of a frame.
        corners: Corner (y, x) of each frame's patch on its canvas, int64 ``(batch, patch, 2)``.
        present: 1 for frames, 0 for padding, ``(batch, patch)``. None: no padding.
        initial: Initial objects, complex ``(batch, k, y, x)``, found from all frames of the scan, of which the first
            is corrected, and the photons that those frames put on each pixel, real ``(batch, y, x)``. None: there are
            none.
        symmetries: Which of the eight symmetries of a square is applied to each canvas in this training step, int64
            ``(batch,)``, 0 to 7. None: a network that uses them averages over all eight.
        share: The frames that this process adds up in the sums below, where several reconstruct one scan together.
    """

    shape: tuple[int, int, int]
    peak: Tensor
    n_pixels: int
    corners: Tensor
    present: Tensor | None = None
    initial: tuple[Tensor, Tensor] | None = None
    symmetries: Tensor | None = None
    share: FrameShare = ALONE
    _illumination: dict[tuple[int | None, int | None, int | None], Tensor]

    @property
    def n_frames(self) -> int:
        """Number of frames on a canvas, padding included."""
        return int(self.corners.shape[1])

    @abstractmethod
    def frames(self, which: slice | Tensor) -> FrameBatch:
        """Return some frames: a slice for the same of every canvas, int64 ``(batch, k)`` for others of each canvas."""

    @abstractmethod
    def parts(self, which: slice = ALL) -> Iterator[slice]:
        """Split ``which`` into slices of as many frames as fit into memory at once."""

    def windows(self) -> list[tuple[slice, slice]]:
        """Return, for each canvas, the rows and the columns on which its frames lie."""
        first, last = self.corners.amin(1).tolist(), (self.corners.amax(1) + self.n_pixels).tolist()
        return [
            (slice(top, bottom), slice(left, right)) for (top, left), (bottom, right) in zip(first, last, strict=True)
        ]

    def vacuum(self) -> Tensor:
        """Return objects of ones, complex ``(batch, y, x)``."""
        return torch.complex(self.peak.new_ones(self.shape), self.peak.new_zeros(self.shape))

    def illumination(self, which: slice = ALL) -> Tensor:
        """Return ``physics.forward.illumination`` of some frames; computed once for each slice."""
        key = (which.start, which.stop, which.step)
        if key not in self._illumination:
            photons = self.peak.new_zeros(self.shape)
            for part in self._own_parts(which):
                photons = photons + illumination(self.frames(part), self.shape)
            self._illumination[key] = self.share.total(photons)
        return self._illumination[key]

    def likelihood_gradient(self, obj: Tensor, which: slice = ALL) -> Tensor:
        """Return ``physics.object_update.likelihood_gradient`` of some frames, complex ``(batch, y, x)``."""
        change = torch.zeros_like(obj)
        for part in self._own_parts(which):
            change = change + likelihood_gradient(obj, self.frames(part))
        return self.share.total(change)

    def back_project(self, obj: Tensor, which: slice = ALL) -> tuple[Tensor, Tensor]:
        """Return ``physics.object_update.back_project`` of some frames, and their ``illumination``."""
        change = torch.zeros_like(obj)
        for part in self._own_parts(which):
            frames = self.frames(part)
            change = change + back_project(obj, frames, keep_waves=self._keeps(frames.probes.numel()))
        return self.share.total(change), self.illumination(which)

    def _own_parts(self, which: slice) -> Iterator[slice]:
        """``parts`` of those frames that are in the share of this process."""
        return self.parts(which if self.share is ALONE else self.share.within(which, self.n_frames))

    def _keeps(self, pixels: int) -> bool:
        """Whether waves of so many complex pixels are kept for a gradient."""
        return True


class GroupFrameSource(FrameSource):
    """Groups of frames that are in memory, for training.

    Args:
        frames: The frames, or what they are made from when they are asked for.
        shape: Shape (y, x) of a canvas.
        peak: As in ``FrameSource``.
        initial: As there.
        symmetries: As there.
    """

    def __init__(
        self, frames: FrameBatch | DeferredFrames, shape: tuple[int, int], peak: Tensor, *,
        initial: tuple[Tensor, Tensor] | None = None, symmetries: Tensor | None = None,
    ) -> None:  # fmt: skip
        self._frames, self.peak, self.present = frames, peak, frames.present
        self.initial, self.symmetries = initial, symmetries
        self.shape, self.n_pixels = (len(frames.corners), *shape), frames.one.shape[-1]
        self._illumination = {}
        self._kept_pixels = 0
        self._views: dict[tuple[int | None, int | None, int | None], FrameBatch] = {}
        self.corners = frames.corners

    def frames(self, which: slice | Tensor) -> FrameBatch:
        """Return some frames; of frames that are made already, the same views of all for the same slice.

        Gradients of all stages then add up in a view before they are put among those of all frames.
        """
        if not isinstance(which, slice):
            return self._frames.take(which).subset(ALL)
        if isinstance(self._frames, DeferredFrames):
            return self._frames.subset(which)
        key = (which.start, which.stop, which.step)
        if key not in self._views:
            self._views[key] = self._frames.subset(which)
        return self._views[key]

    def parts(self, which: slice = ALL) -> Iterator[slice]:
        """Split ``which`` into slices of as many frames as ``waves_at_once`` allows."""
        return in_parts(range(self.n_frames)[which], waves_at_once(self._frames.one))

    def _keeps(self, pixels: int) -> bool:
        """As there; on a CPU the first ``KEPT_PIXELS_CPU`` are."""
        self._kept_pixels += pixels
        return self.peak.device.type != "cpu" or self._kept_pixels <= KEPT_PIXELS_CPU


class ScanFrameSource(FrameSource):
    """A whole scan on one canvas, for reconstruction.

    The probe is shifted for all frames at once where that fits into memory, else for each part.

    Args:
        frames: The frames of the scan, in random order.
        probe: The probe, complex ``(mode, y, x)``, in square roots of photons.
        frames_at_once: Most frames in a part; by default as many as fit into memory.
        share: As in ``FrameSource``.
    """

    def __init__(
        self, frames: ScanFrames, probe: Tensor, *, frames_at_once: int | None = None, share: FrameShare = ALONE
    ) -> None:
        self._scan_frames, self._probe, self.share = frames, probe, share
        self._at_once = frames_at_once or waves_at_once(probe)
        own = share.frames(len(frames))
        self._shifted = frames.probes_if_they_fit(probe, slice(own.start, own.stop))
        self.shape, self.n_pixels = (1, *frames.shape), frames.amplitude.shape[-1]
        self.peak = intensity(probe).max()[None, None, None]
        self._illumination = {}
        self.corners = frames.corners[None]

    def frames(self, which: slice | Tensor) -> FrameBatch:
        """Return some frames with their probes."""
        which = which if isinstance(which, slice) else which[0]
        part = self._scan_frames.select(which)
        kept = self._kept_probes(which)
        return part.batch(part.probes(self._probe) if kept is None else kept)

    def _kept_probes(self, which: slice | Tensor) -> Tensor | None:
        """The shifted probes of some frames; None if they are not kept, as those of frames of other processes."""
        if self._shifted is None or self.share is ALONE:
            return None if self._shifted is None else self._shifted[which]
        own = self.share.frames(self.n_frames)
        numbers = torch.arange(self.n_frames, device=self.corners.device)[which]
        inside = bool(((numbers >= own.start) & (numbers < own.stop)).all())
        return self._shifted[numbers - own.start] if inside else None

    def parts(self, which: slice = ALL) -> Iterator[slice]:
        """Split ``which`` into slices of up to ``frames_at_once`` frames."""
        return in_parts(range(self.n_frames)[which], self._at_once)
