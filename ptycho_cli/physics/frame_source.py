"""Frames on canvases, given out as a network asks for them: groups at once, whole scans a portion at a time."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import torch
from torch import Tensor

from ptycho_cli.physics.forward import illumination
from ptycho_cli.physics.frame_tensors import FrameBatch, ScanFrames
from ptycho_cli.physics.object_update import back_project, likelihood_gradient
from ptycho_cli.physics.propagation import intensity

ALL = slice(None)
# Frames of a whole scan whose exit waves are in memory at once; their sums do not depend on it.
FRAMES_AT_ONCE = 256


class FrameSource(ABC):
    """What a network reconstructs: some frames of each of ``batch`` canvases.

    The order of the frames is random, and the same in every canvas.

    Attributes:
        shape: ``(batch, y, x)`` of the canvases.
        peak: Largest ``|P|^2`` of the probe, photons, ``(batch, 1, 1)``.
        size: Pixels along one side of a frame.
        corners: Corner (y, x) of each frame's patch on its canvas, int64 ``(batch, patch, 2)``.
        present: 1 for frames, 0 for padding, ``(batch, patch)``; None where nothing is padded.
        start: Objects found beforehand from more frames than these, complex ``(batch, y, x)``, and the photons
            that those put on each pixel; None where there are none.
        turns: Which of the eight symmetries of a square each canvas is seen under in this step, int64 ``(batch,)``;
            None where a network that knows of them should use them all.
    """

    shape: tuple[int, int, int]
    peak: Tensor
    size: int
    corners: Tensor
    present: Tensor | None = None
    start: tuple[Tensor, Tensor] | None = None
    turns: Tensor | None = None
    _illumination: dict[tuple[int | None, int | None, int | None], Tensor]

    @property
    def n_frames(self) -> int:
        """Frames of a canvas, padding included."""
        return int(self.corners.shape[1])

    @abstractmethod
    def frames(self, which: slice | Tensor) -> FrameBatch:
        """Some frames: the same of every canvas (a slice), or of each its own, int64 ``(batch, k)``."""

    @abstractmethod
    def parts(self, which: slice = ALL) -> Iterator[slice]:
        """Slices that make up ``which``, each of as many frames as fit into memory at once."""

    def windows(self) -> list[tuple[slice, slice]]:
        """Rows and columns of each canvas that its frames lie on."""
        first, last = self.corners.amin(1).tolist(), (self.corners.amax(1) + self.size).tolist()
        return [
            (slice(top, bottom), slice(left, right)) for (top, left), (bottom, right) in zip(first, last, strict=True)
        ]

    def vacuum(self) -> Tensor:
        """An object of ones, complex ``(batch, y, x)``."""
        return torch.complex(self.peak.new_ones(self.shape), self.peak.new_zeros(self.shape))

    def illumination(self, which: slice = ALL) -> Tensor:
        """``physics.object_update.illumination`` of some frames, summed over portions; kept, for stages ask again."""
        key = (which.start, which.stop, which.step)
        if key not in self._illumination:
            photons = self.peak.new_zeros(self.shape)
            for part in self.parts(which):
                photons = photons + illumination(self.frames(part), self.shape)
            self._illumination[key] = photons
        return self._illumination[key]

    def likelihood_gradient(self, obj: Tensor, which: slice = ALL) -> Tensor:
        """``physics.object_update.likelihood_gradient`` of some frames, summed over portions."""
        change = torch.zeros_like(obj)
        for part in self.parts(which):
            change = change + likelihood_gradient(obj, self.frames(part))
        return change

    def back_project(self, obj: Tensor, which: slice = ALL) -> tuple[Tensor, Tensor]:
        """``physics.object_update.back_project`` of some frames, summed over portions, and their ``illumination``."""
        change = torch.zeros_like(obj)
        for part in self.parts(which):
            change = change + back_project(obj, self.frames(part))
        return change, self.illumination(which)


class GroupFrameSource(FrameSource):
    """Groups of frames that are in memory, for training.

    Args:
        frames: The frames.
        shape: Shape (y, x) of a canvas.
        peak: As in ``FrameSource``.
        start: As there.
        turns: As there.
    """

    def __init__(
        self, frames: FrameBatch, shape: tuple[int, int], peak: Tensor, *,
        start: tuple[Tensor, Tensor] | None = None, turns: Tensor | None = None,
    ) -> None:  # fmt: skip
        self._frames, self.peak, self.present, self.start, self.turns = frames, peak, frames.present, start, turns
        self.shape, self.size = (len(frames.amplitude), *shape), frames.amplitude.shape[-1]
        self._illumination = {}
        first = frames.index[:, :, 0, 0] % (shape[0] * shape[1])
        self.corners = torch.stack((first // shape[1], first % shape[1]), -1)

    def frames(self, which: slice | Tensor) -> FrameBatch:
        """Views where ``which`` is a slice."""
        return self._frames.subset(which) if isinstance(which, slice) else self._frames.take(which)

    def parts(self, which: slice = ALL) -> Iterator[slice]:
        """All at once."""
        yield which


class ScanFrameSource(FrameSource):
    """A whole scan on one canvas, for reconstruction; probes are shifted where they are used, or once if they fit.

    Args:
        frames: The frames of the scan, in random order.
        probe: The probe, complex ``(mode, y, x)``.
        frames_at_once: Most frames in a part.
    """

    def __init__(self, frames: ScanFrames, probe: Tensor, *, frames_at_once: int = FRAMES_AT_ONCE) -> None:
        self._scan_frames, self._probe, self._at_once = frames, probe, frames_at_once
        self._shifted = frames.probes_if_they_fit(probe)
        self.shape, self.size = (1, *frames.shape), frames.amplitude.shape[-1]
        self.peak = intensity(probe).max()[None, None, None]
        self._illumination = {}
        self.corners = frames.corners[None]

    def frames(self, which: slice | Tensor) -> FrameBatch:
        """The frames with their probes."""
        which = which if isinstance(which, slice) else which[0]
        part = self._scan_frames.select(which)
        probes = part.probes(self._probe) if self._shifted is None else self._shifted[which]
        return part.batch(probes)

    def parts(self, which: slice = ALL) -> Iterator[slice]:
        """Up to ``frames_at_once`` frames at a time."""
        chosen = range(self.n_frames)[which]
        for first in range(0, len(chosen), self._at_once):
            part = chosen[first : first + self._at_once]
            yield slice(part.start, part.stop, part.step)
