"""The autoencoder: a CNN turns each frame, alone or with its neighbours, into a patch of the object."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptycho_cli.networks.contract import Network
from ptycho_cli.physics.forward import frame_illumination
from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.frame_tensors import FrameBatch
from ptycho_cli.physics.object_update import ObjectUpdate, modulus_change
from ptycho_cli.physics.patches import scatter
from ptycho_cli.physics.propagation import add_modes, intensity
from ptycho_cli.progress_callback import Progress

# Weight of vacuum where patches are merged, relative to the largest |P|^2: with less illumination a patch is unknown.
VACUUM_WEIGHT = 1e-3
# An update is a few hundredths of an object that is about 1; the CNN sees it enlarged.
UPDATE_GAIN = 4.0
# Most pixels that the CNN takes at once where no gradient is kept; bounds the memory of large frames.
PIXELS_AT_ONCE = 2**20


class Autoencoder(Network):
    """Patches from an encoder and a decoder, merged on the canvas with ``|P|^2`` as weight.

    The layout of PtychoPINN and PtychoNN: a CNN that halves a patch ``depth`` times and doubles it again maps the
    diffraction pattern of a frame to its patch of the object. The loss compares the merged patches with the counts.
    Overlap enters through merging and loss alone, so frames without neighbours are reconstructed as well. Unlike
    there, the network adds a correction to the patch of one physics step, its last layer starts at zero, and there is
    no BatchNorm.

    Args:
        n_pixels: Pixels along one side of a frame; a multiple of ``2 ** depth``.
        channels: Number of frames that a patch is made from: its own and the nearest neighbours.
        depth: Number of times that the patch is halved.
        width: Channels of the first layer; doubled with each halving.
        physics: True: the CNN sees the update of one physics step, registered to the patch. False: it sees amplitudes.
        update: The regularised update of that step.

    Raises:
        ValueError: If ``n_pixels`` cannot be halved ``depth`` times.

    Source: Hoidn et al. (2023), doi:10.1038/s41598-023-48351-7; Cherukara et al. (2020), doi:10.1063/5.0013065.
    """

    polish_by_default = True
    alpha: Tensor

    def __init__(
        self, *, n_pixels: int, channels: int, depth: int, width: int, physics: bool, update: ObjectUpdate
    ) -> None:
        super().__init__()
        if n_pixels % 2**depth:
            raise ValueError(f"{n_pixels} px cannot be halved {depth} times")
        self.channels, self.physics, self.update = channels, physics, update
        self.register_buffer("alpha", torch.tensor(float(update.alpha)))
        self.coder = Coder(channels * (3 if physics else 1) + 1, depth, width)

    def forward(self, source: FrameSource, *, physics_only: bool = False, progress: Progress | None = None) -> Tensor:
        """Reconstruct canvases; with ``physics_only`` the patches are those of the physics step."""
        vacuum = VACUUM_WEIGHT * source.peak
        total, weight = vacuum * source.vacuum(), vacuum.expand(source.shape).clone()
        nearest = None if self.channels == 1 or physics_only else neighbours(source, self.channels)
        done = 0
        for part in source.parts():
            frames = source.frames(part)
            others = None if nearest is None else nearest[:, part]
            patches = self._patches(source, frames, others, physics_only=physics_only)
            photons = frame_illumination(frames)
            total = total + scatter(photons * patches, frames.corners, source.shape)
            weight = weight + scatter(photons, frames.corners, source.shape)
            done += frames.amplitude.shape[1]
            if progress is not None:
                progress(done, source.n_frames)
        return total / weight

    def _patches(
        self, source: FrameSource, frames: FrameBatch, nearest: Tensor | None, *, physics_only: bool
    ) -> Tensor:
        """Reconstruct one patch for each frame, complex ``(batch, patch, y, x)``."""
        update = self._frame_updates(source, frames)
        initial = 1 + update if self.physics else torch.ones_like(update)
        if physics_only:
            return initial
        photons = frame_illumination(frames) / source.peak[..., None]
        channels = [photons[:, :, None], self._view(source, frames, update)]
        for which in range(0 if nearest is None else nearest.shape[-1]):
            assert nearest is not None
            others = source.frames(nearest[..., which])
            view = self._view(source, others, self._frame_updates(source, others))
            channels.append(_registered(view, others, frames) if self.physics else view)
        images = torch.cat(channels, 2)
        correction = self._run_coder(images.flatten(0, 1)).reshape(*images.shape[:2], 2, *images.shape[-2:])
        return initial + torch.complex(correction[:, :, 0], correction[:, :, 1])

    def _run_coder(self, images: Tensor) -> Tensor:
        """Apply the CNN to images ``(image, channel, y, x)``, a few at a time where no gradient is kept."""
        if torch.is_grad_enabled():
            return self.coder(images)  # type: ignore[no-any-return]
        at_once = max(1, PIXELS_AT_ONCE // (images.shape[-2] * images.shape[-1]))
        return torch.cat([self.coder(part) for part in torch.split(images, at_once)])

    def _view(self, source: FrameSource, frames: FrameBatch, update: Tensor) -> Tensor:
        """Return the channels of frames that the CNN sees, ``(batch, patch, channel, y, x)``."""
        if self.physics:
            known = frame_illumination(frames) / (frame_illumination(frames) + source.peak[..., None])
            return torch.stack((UPDATE_GAIN * update.real, UPDATE_GAIN * update.imag, known), 2)
        peak: Tensor = torch.fft.fft2(frames.probes, norm="ortho").abs().amax((-3, -2, -1))[..., None, None]
        amplitude = (frames.amplitude.square() - frames.background).clamp_min(0).sqrt()
        relative: Tensor = torch.fft.fftshift(amplitude / peak, dim=(-2, -1))
        return relative.unsqueeze(2)

    def _frame_updates(self, source: FrameSource, frames: FrameBatch) -> Tensor:
        """Return the regularised update of vacuum by each frame alone, complex ``(batch, patch, y, x)``."""
        change = modulus_change(frames.probes, frames.amplitude, frames.valid, frames.background)
        back, photons = add_modes(frames.probes.conj() * change), intensity(frames.probes)
        return self.update(torch.ones_like(back), back, photons, source.peak[..., None], alpha=self.alpha)


class Coder(nn.Module):
    """A CNN that halves an image ``depth`` times and doubles it again, with skip connections at each size.

    The last layer starts at zero, so an untrained coder returns 0.

    Args:
        inputs: Number of input channels; there are two output channels.
        depth: Number of halvings.
        width: Channels at full size.
    """

    def __init__(self, inputs: int, depth: int, width: int) -> None:
        super().__init__()
        widths = [width * 2**level for level in range(depth + 1)]
        self.down = nn.ModuleList(
            _pair(inputs if level == 0 else widths[level - 1], widths[level]) for level in range(depth + 1)
        )
        self.up = nn.ModuleList(
            _pair(widths[level + 1] + widths[level], widths[level]) for level in reversed(range(depth))
        )
        self.last = nn.Conv2d(width, 2, 3, padding=1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor) -> Tensor:
        """Map channels ``(image, inputs, y, x)`` to ``(image, 2, y, x)``."""
        skipped: list[Tensor] = []
        image = image.contiguous(memory_format=torch.channels_last)
        for level, layers in enumerate(self.down):
            image = layers(image if level == 0 else nn.functional.avg_pool2d(image, 2))
            skipped.append(image)
        skipped.pop()
        for layers in self.up:
            image = layers(torch.cat((nn.functional.interpolate(image, scale_factor=2.0), skipped.pop()), 1))
        return self.last(image)  # type: ignore[no-any-return]


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.SiLU()
    )


def neighbours(source: FrameSource, count: int) -> Tensor:
    """Return the ``count - 1`` frames nearest to each frame on its canvas, nearest first.

    Where a canvas has too few frames, the nearest are repeated; a frame without neighbours is its own neighbour.

    Returns:
        Numbers of frames, int64 ``(batch, patch, count - 1)``.
    """
    places = source.corners.to(torch.float32)
    found = []
    for first in range(0, source.n_frames, 1024):
        distance = torch.cdist(places[:, first : first + 1024], places)
        rows = torch.arange(distance.shape[1], device=distance.device)
        distance[:, rows, rows + first] = -1.0  # so that no frame at the same place is nearer
        if source.present is not None:
            distance = distance.masked_fill(source.present[:, None] == 0, math.inf)
        near = distance.topk(min(count, source.n_frames), largest=False)
        own = rows[:, None] + first
        found.append(torch.where(near.values.isfinite(), near.indices, own))
    order = torch.cat(found, 1)
    others = order[..., 1:] if order.shape[-1] > 1 else order
    repeat = torch.arange(count - 1, device=others.device) % others.shape[-1]
    return others[..., repeat]


def _registered(view: Tensor, others: FrameBatch, frames: FrameBatch) -> Tensor:
    """Cut the views of other frames where ``frames`` lie.

    Args:
        view: Channels of the other frames, ``(batch, patch, channel, y, x)``.
        others: The other frames.
        frames: As many frames as ``others``, in the same order.

    Returns:
        Channels at the pixels of ``frames``, shaped as ``view``; 0 outside the other frame.
    """
    size = view.shape[-1]
    (other_y, other_x), (y, x) = (each.corners.unbind(-1) for each in (others, frames))
    step = torch.arange(size, device=view.device)
    rows, columns = step + (y - other_y)[..., None], step + (x - other_x)[..., None]
    inside = ((rows >= 0) & (rows < size))[..., :, None] & ((columns >= 0) & (columns < size))[..., None, :]
    flat = rows.clamp(0, size - 1)[..., :, None] * size + columns.clamp(0, size - 1)[..., None, :]
    index = flat.flatten(-2)[:, :, None].expand(-1, -1, view.shape[2], -1)
    return view.flatten(-2).gather(-1, index).reshape(view.shape) * inside[:, :, None]
