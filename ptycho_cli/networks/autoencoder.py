"""The autoencoder: each frame alone, or with its neighbours as channels, to a complex patch; patches are merged."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptycho_cli.networks.contract import Network
from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.frame_tensors import FrameBatch
from ptycho_cli.physics.object_update import ObjectUpdate, modulus_change
from ptycho_cli.physics.patches import scatter
from ptycho_cli.physics.propagation import add_modes, intensity
from ptycho_cli.progress_callback import Progress

# Weight of vacuum where patches are merged, relative to the largest |P|^2: light below it says nothing.
VACUUM_WEIGHT = 1e-3
# A back-projected step is a few hundredths of an object that is about 1; amplitudes are brought to that scale too.
STEP_GAIN = 4.0
# Pixels that the CNN takes at once where no gradient is kept; bounds the memory of large frames.
PIXELS_AT_ONCE = 2**20


class Autoencoder(Network):
    """Patches from an encoder and a decoder, merged with ``|P|^2`` weights onto the canvas.

    The layout of PtychoPINN and PtychoNN: a CNN that halves the patch ``depth`` times and doubles it again maps
    the diffraction of a frame to its patch of the object, and the forward model judges the merged patches. Overlap is
    a matter of the merging and the loss alone, so frames without neighbours are reconstructed as well. Here the
    network corrects a first patch, and its last layer starts at zero; there is no BatchNorm.

    Args:
        n_pixels: Pixels along one side of a frame; a multiple of ``2 ** depth``.
        channels: FrameBatch that a patch is made from: its own and its nearest neighbours.
        depth: Times that the patch is halved.
        width: Channels of the first layer; doubled with each halving.
        physics: Whether the network sees frames after one physics step, registered to the patch; else their amplitudes.
        update: The regularised update of that step.

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
        """Reconstruct canvases; ``physics_only`` merges the first patches."""
        vacuum = VACUUM_WEIGHT * source.peak
        total, weight = vacuum * source.vacuum(), vacuum.expand(source.shape).clone()
        around = None if self.channels == 1 or physics_only else neighbours(source, self.channels)
        done = 0
        for part in source.parts():
            frames = source.frames(part)
            patches = self._patches(
                source, frames, None if around is None else around[:, part], physics_only=physics_only
            )
            light = _light(frames)
            total = total + scatter(light * patches, frames.index, source.shape)
            weight = weight + scatter(light, frames.index, source.shape)
            done += frames.amplitude.shape[1]
            if progress is not None:
                progress(done, source.n_frames)
        return total / weight

    def _patches(self, source: FrameSource, frames: FrameBatch, around: Tensor | None, *, physics_only: bool) -> Tensor:
        """One patch a frame, complex ``(batch, patch, y, x)``."""
        step = self._step(source, frames)
        first = 1 + step if self.physics else torch.ones_like(step)
        if physics_only:
            return first
        light = _light(frames) / source.peak[..., None]
        seen = [light[:, :, None], self._view(source, frames, step)]
        for which in range(0 if around is None else around.shape[-1]):
            assert around is not None
            other = source.frames(around[..., which])
            view = self._view(source, other, self._step(source, other))
            seen.append(_moved(view, other, frames, source.shape[2]) if self.physics else view)
        images = torch.cat(seen, 2)
        found = self._coded(images.flatten(0, 1)).reshape(*images.shape[:2], 2, *images.shape[-2:])
        return first + torch.complex(found[:, :, 0], found[:, :, 1])

    def _coded(self, images: Tensor) -> Tensor:
        """What the CNN makes of images, a few at a time where no gradient is kept."""
        if torch.is_grad_enabled():
            return self.coder(images)  # type: ignore[no-any-return]
        at_once = max(1, PIXELS_AT_ONCE // (images.shape[-2] * images.shape[-1]))
        return torch.cat([self.coder(part) for part in torch.split(images, at_once)])

    def _view(self, source: FrameSource, frames: FrameBatch, step: Tensor) -> Tensor:
        """What the network sees of frames, ``(batch, patch, channel, y, x)``."""
        if self.physics:
            known = _light(frames) / (_light(frames) + source.peak[..., None])
            return torch.stack((STEP_GAIN * step.real, STEP_GAIN * step.imag, known), 2)
        brightest: Tensor = torch.fft.fft2(frames.probes, norm="ortho").abs().amax((-3, -2, -1))[..., None, None]
        amplitude = (frames.amplitude.square() - frames.background).clamp_min(0).sqrt()
        shown: Tensor = torch.fft.fftshift(amplitude / brightest, dim=(-2, -1))
        return shown.unsqueeze(2)

    def _step(self, source: FrameSource, frames: FrameBatch) -> Tensor:
        """What each frame alone says of vacuum: ``conj(P) dpsi / (|P|^2 + alpha max|P|^2)``."""
        change = modulus_change(frames.probes, frames.amplitude, frames.valid, frames.background)
        back, photons = add_modes(frames.probes.conj() * change), intensity(frames.probes)
        return self.update(torch.ones_like(back), back, photons, source.peak[..., None], alpha=self.alpha)


class Coder(nn.Module):
    """Halves an image ``depth`` times and doubles it again; what was seen at each size is passed across.

    Args:
        inputs: Channels in; two come out, and an untrained coder returns 0.
        depth: Halvings.
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
        """Channels ``(image, inputs, y, x)`` to ``(image, 2, y, x)``."""
        passed: list[Tensor] = []
        image = image.contiguous(memory_format=torch.channels_last)
        for level, layers in enumerate(self.down):
            image = layers(image if level == 0 else nn.functional.avg_pool2d(image, 2))
            passed.append(image)
        passed.pop()
        for layers in self.up:
            image = layers(torch.cat((nn.functional.interpolate(image, scale_factor=2.0), passed.pop()), 1))
        return self.last(image)  # type: ignore[no-any-return]


def _pair(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, 3, padding=1), nn.SiLU(), nn.Conv2d(outputs, outputs, 3, padding=1), nn.SiLU()
    )


def neighbours(source: FrameSource, count: int) -> Tensor:
    """The nearest ``count - 1`` frames of each frame of its canvas, nearest first, int64 ``(batch, patch, count - 1)``.

    Where a canvas has too few frames, the nearest are repeated; a frame without any neighbour is its own.
    """
    places = source.corners.to(torch.float32)
    found = []
    for first in range(0, source.n_frames, 1024):
        distance = torch.cdist(places[:, first : first + 1024], places)
        rows = torch.arange(distance.shape[1], device=distance.device)
        distance[:, rows, rows + first] = -1.0  # a frame at the same place is no nearer than the frame itself
        if source.present is not None:
            distance = distance.masked_fill(source.present[:, None] == 0, math.inf)
        near = distance.topk(min(count, source.n_frames), largest=False)
        own = rows[:, None] + first
        found.append(torch.where(near.values.isfinite(), near.indices, own))
    order = torch.cat(found, 1)
    others = order[..., 1:] if order.shape[-1] > 1 else order
    repeat = torch.arange(count - 1, device=others.device) % others.shape[-1]
    return others[..., repeat]


def _light(frames: FrameBatch) -> Tensor:
    """``|P|^2`` of each frame, 0 for padding, ``(batch, patch, y, x)``."""
    light = intensity(frames.probes)
    return light if frames.present is None else light * frames.present[..., None, None]


def _moved(view: Tensor, others: FrameBatch, frames: FrameBatch, width: int) -> Tensor:
    """Views of other frames, each cut at the place of one of ``frames`` on canvases of ``width``; 0 elsewhere."""
    size = view.shape[-1]
    (y, x), (target_y, target_x) = (_corners(each, width) for each in (others, frames))
    step = torch.arange(size, device=view.device)
    rows, columns = step + (target_y - y)[..., None], step + (target_x - x)[..., None]
    inside = ((rows >= 0) & (rows < size))[..., :, None] & ((columns >= 0) & (columns < size))[..., None, :]
    flat = rows.clamp(0, size - 1)[..., :, None] * size + columns.clamp(0, size - 1)[..., None, :]
    index = flat.flatten(-2)[:, :, None].expand(-1, -1, view.shape[2], -1)
    return view.flatten(-2).gather(-1, index).reshape(view.shape) * inside[:, :, None]


def _corners(frames: FrameBatch, width: int) -> tuple[Tensor, Tensor]:
    """Corner (y, x) of each frame on the stack of canvases of ``width``, int64 ``(batch, patch)`` each."""
    first = frames.index[:, :, 0, 0]
    return first // width, first % width
