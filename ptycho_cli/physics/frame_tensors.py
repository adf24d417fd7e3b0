"""Measured frames as tensors: those of one scan, and batches of frames with the probes that illuminate them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ptycho_cli.physics.patches import gather
from ptycho_cli.physics.probe import shift_waves
from ptycho_cli.physics.propagation import corner_first

# Most memory for the shifted probes of all frames, where they are kept because the probe does not change.
SHIFTED_BYTES, SHIFTED_AT_ONCE = 2**28, 64
ALL = slice(None)
PIXELS_AT_ONCE = 2**22  # of frames whose counts, rates and the like are in memory together
MOST_READ = 1024  # most frames of a whole scan that are read at once


@dataclass(frozen=True, eq=False, slots=True)
class FrameBatch:
    """Frames on a batch of canvases, with the probe of each frame.

    Attributes:
        amplitude: Square root of the counts, ``(batch, patch, y, x)``, zero frequency at the corner.
        corners: Corner (y, x) of each frame's patch on its canvas, int64 ``(batch, patch, 2)``.
        probes: Probe shifted to each frame's sub-pixel rest, complex ``(batch, patch, mode, y, x)``, in square roots
            of photons.
        valid: 1 for valid detector pixels, 0 for those to ignore, ``(y, x)`` or ``(batch, 1, y, x)``, zero frequency
            at the corner. None: all pixels are valid.
        present: 1 for frames, 0 for padding, which has no effect, ``(batch, patch)``. None: no padding.
        background: Photons per pixel that do not come from the waves, a number or a tensor that broadcasts likewise:
            ``(batch, 1, 1, 1)`` or ``(batch, 1, y, x)``, zero frequency at the corner.
    """

    amplitude: Tensor
    corners: Tensor
    probes: Tensor
    valid: Tensor | None = None
    present: Tensor | None = None
    background: Tensor | float = 0.0

    def patches(self, obj: Tensor) -> Tensor:
        """Patches ``(batch, patch, y, x)`` of objects ``(batch, y, x)`` where the frames lie."""
        return gather(obj, self.corners, self.amplitude.shape[-1])

    @property
    def one(self) -> Tensor:
        """Probes of one frame of each canvas, complex ``(batch, 1, mode, y, x)``."""
        return self.probes[:, :1]

    def with_counts(self, counts: Tensor) -> FrameBatch:
        """Return the frames with other counts, ``(batch, patch, y, x)``, zero frequency at ``n // 2``."""
        return replace(self, amplitude=corner_first(counts).sqrt())

    def with_share(self, share: Tensor) -> FrameBatch:
        """Return the frames as a share of their photons is expected, ``(batch,)``."""
        probes = self.probes * share.sqrt()[:, None, None, None, None]
        return replace(self, probes=probes, background=self.background * share[:, None, None, None])

    def subset(self, which: slice | Tensor) -> FrameBatch:
        """Select the same frames of every canvas: a slice, or int64 ``(k,)``."""
        present = None if self.present is None else self.present[:, which]
        parts = (self.amplitude[:, which], self.corners[:, which], self.probes[:, which])
        return FrameBatch(*parts, self.valid, present, self.background)

    def take(self, which: Tensor) -> FrameBatch:
        """Select other frames of each canvas, by number: int64 ``(batch, k)``."""
        probes = torch.view_as_complex(_taken(torch.view_as_real(self.probes), which))
        present = None if self.present is None else _taken(self.present, which)
        return FrameBatch(
            _taken(self.amplitude, which), _taken(self.corners, which), probes, self.valid, present, self.background
        )  # fmt: skip


@dataclass(frozen=True, eq=False, slots=True)
class DeferredFrames:
    """Frames on a batch of canvases; amplitudes and shifted probes are made of those that ``subset`` selects.

    Attributes:
        counts: Measured photons, ``(batch, patch, y, x)``, zero frequency at ``n // 2``.
        corners: As in ``FrameBatch``, like ``valid``, ``present`` and ``background``.
        probe: Probe of each canvas, complex ``(batch, mode, y, x)``, in square roots of photons.
        shifts: Sub-pixel rest (y, x) of each position in pixels, ``(batch, patch, 2)``.
        scale: Factor on the probe in each frame, ``(batch, patch)``.
    """

    counts: Tensor
    corners: Tensor
    probe: Tensor
    shifts: Tensor
    scale: Tensor
    valid: Tensor | None = None
    present: Tensor | None = None
    background: Tensor | float = 0.0

    @property
    def one(self) -> Tensor:
        """As in ``FrameBatch``."""
        return self.probe[:, None]

    def with_counts(self, counts: Tensor) -> DeferredFrames:
        """As in ``FrameBatch``."""
        return replace(self, counts=counts)

    def with_share(self, share: Tensor) -> DeferredFrames:
        """As in ``FrameBatch``."""
        scale, background = self.scale * share.sqrt()[:, None], self.background * share[:, None, None, None]
        return replace(self, scale=scale, background=background)

    def subset(self, which: slice | Tensor) -> FrameBatch:
        """Make the same frames of every canvas: a slice, or int64 ``(k,)``."""
        probes = shift_waves(self.probe[:, None], self.shifts[:, which]) * self.scale[:, which, None, None, None]
        amplitude = corner_first(self.counts[:, which]).sqrt()
        present = None if self.present is None else self.present[:, which]
        return FrameBatch(amplitude, self.corners[:, which], probes, self.valid, present, self.background)

    def take(self, which: Tensor) -> DeferredFrames:
        """Select other frames of each canvas, by number: int64 ``(batch, k)``."""
        present = None if self.present is None else _taken(self.present, which)
        counts, corners, shifts, scale = (
            _taken(values, which) for values in (self.counts, self.corners, self.shifts, self.scale)
        )
        return replace(self, counts=counts, corners=corners, shifts=shifts, scale=scale, present=present)


def _taken(values: Tensor, which: Tensor) -> Tensor:
    """Entries ``(batch, k, ...)`` of values ``(batch, patch, ...)`` by number, int64 ``(batch, k)``."""
    index = which.reshape(*which.shape, *(1,) * (values.dim() - 2)).expand(-1, -1, *values.shape[2:])
    return values.gather(1, index)


class DeferredAmplitude:
    """Amplitudes of frames that are read when so few of them are selected that their copies fit into memory.

    Args:
        read: Reads the amplitudes of some frames by their numbers, int64 ``(frame,)`` on the CPU.
        rows: Numbers of the frames, int64 ``(frame,)`` on the CPU.
        like: An empty tensor of the type and on the device of the amplitudes, ``(0, y, x)``.
    """

    def __init__(self, read: Callable[[Tensor], Tensor], rows: Tensor, like: Tensor) -> None:
        self._read, self._rows, self._like = read, rows, like
        self.shape, self.dtype, self.device = (len(rows), *like.shape[1:]), like.dtype, like.device

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, which: Tensor | slice) -> Tensor | DeferredAmplitude:
        rows = self._rows[which if isinstance(which, slice) else which.cpu()]
        if len(rows) <= frames_at_once(self.shape[-1]):
            return self._read(rows)
        return DeferredAmplitude(self._read, rows, self._like)


def frames_at_once(n_pixels: int) -> int:
    """Frames of ``n_pixels`` along each side of which whole copies may be in memory."""
    return min(MOST_READ, max(16, PIXELS_AT_ONCE // n_pixels**2))


@dataclass(frozen=True, eq=False, slots=True)
class ScanFrames:
    """All frames of one scan, on one canvas.

    Attributes:
        amplitude: Square root of the counts, ``(frame, y, x)``, zero frequency at the corner. On a CPU, and of
            scans that do not fit into memory, those of more than ``frames_at_once`` are deferred.
        corners: Corner (y, x) of each frame's patch on the canvas, int64 ``(frame, 2)``.
        shifts: Sub-pixel rest (y, x) of each position in pixels, ``(frame, 2)``.
        shape: Shape (y, x) of the canvas.
        valid: 1 for valid detector pixels, 0 for those to ignore, ``(y, x)``, zero frequency at the corner. None: all
            pixels are valid.
        intensities: Factor on the photons of the probe in each frame, ``(frame,)``. None: 1 in all frames.
        background: Photons per pixel that do not come from the waves: a number, or ``(y, x)``, zero frequency at the
            corner.
    """

    amplitude: Tensor | DeferredAmplitude
    corners: Tensor
    shifts: Tensor
    shape: tuple[int, int]
    valid: Tensor | None = None
    intensities: Tensor | None = None
    background: Tensor | float = 0.0

    def __len__(self) -> int:
        """Return the number of frames."""
        return len(self.amplitude)

    def select(self, which: Tensor | slice) -> ScanFrames:
        """Select frames; the canvas stays the same."""
        intensities = None if self.intensities is None else self.intensities[which]
        return replace(
            self,
            amplitude=self.amplitude[which],
            corners=self.corners[which],
            shifts=self.shifts[which],
            intensities=intensities,
        )

    def parts(self, at_once: int | None = None) -> Iterator[ScanFrames]:
        """Split the frames into parts, in order; by default of so many frames that several copies may be in memory."""
        at_once = at_once or frames_at_once(self.amplitude.shape[-1])
        yield from (self.select(slice(first, first + at_once)) for first in range(0, len(self), at_once))

    def measured(self) -> Tensor:
        """Return the amplitudes of one part, ``(frame, y, x)``."""
        assert isinstance(self.amplitude, Tensor)
        return self.amplitude

    def with_intensities(self, waves: Tensor) -> Tensor:
        """Multiply waves ``(frame, ...)`` by the square root of each frame's intensity."""
        if self.intensities is None:
            return waves
        return waves * self.intensities.sqrt().reshape(-1, *(1,) * (waves.dim() - 1))

    def in_order(self, order: Tensor) -> ScanFrames:
        """Return the frames in another order, int64 ``(frame,)``, without a copy of the amplitudes if they are many."""
        amplitude = self.amplitude
        if isinstance(amplitude, Tensor):
            amplitude = DeferredAmplitude(amplitude.__getitem__, torch.arange(len(self)), amplitude[:0])
        return replace(self, amplitude=amplitude).select(order)

    def probes(self, probe: Tensor) -> Tensor:
        """Return a probe ``(mode, y, x)`` as each frame has it: shifted and scaled, ``(frame, mode, y, x)``."""
        return self.with_intensities(shift_waves(probe, self.shifts))

    def probes_if_they_fit(self, probe: Tensor, which: slice = ALL) -> Tensor | None:
        """Return ``probes`` of some frames, to be shifted once and kept; None for more than ``SHIFTED_BYTES``."""
        shifts, intensities = self.shifts[which], None if self.intensities is None else self.intensities[which]
        if len(shifts) * probe.numel() * probe.element_size() > SHIFTED_BYTES:
            return None
        shifted = probe.new_empty((len(shifts), *probe.shape))
        for first in range(0, len(shifts), SHIFTED_AT_ONCE):  # all at once would take three times the memory
            part = slice(first, first + SHIFTED_AT_ONCE)
            shifted[part] = shift_waves(probe, shifts[part])
            if intensities is not None:
                shifted[part] *= intensities[part].sqrt()[:, None, None, None]
        return shifted

    def batch(self, probes: Tensor) -> FrameBatch:
        """Return the frames as a batch of one canvas; ``probes`` is complex ``(frame, mode, y, x)``."""
        return FrameBatch(
            self.measured()[None], self.corners[None], probes[None], self.valid, background=self.background
        )

    def vacuum(self) -> Tensor:
        """Return an object of ones, complex ``(y, x)``."""
        zeros = self.corners.new_zeros(self.shape, dtype=self.amplitude.dtype)
        return torch.complex(zeros + 1, zeros)
