"""The autoencoder: each frame alone, or with its neighbours as channels, to a complex patch; patches are merged."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptycho_cli.networks.contract import Network, Report
from ptycho_cli.physics.patches import scatter
from ptycho_cli.physics.propagation import add_modes, intensity
from ptycho_cli.physics.scene import Scene
from ptycho_cli.physics.update import Frames, modulus_change

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
        channels: Frames that a patch is made from: its own and its nearest neighbours.
        depth: Times that the patch is halved.
        width: Channels of the first layer; doubled with each halving.
        physics: Whether the network sees frames after one physics step, registered to the patch; else their amplitudes.
        alpha: Regularisation of that step, relative to the largest ``|P|^2``.

    Source: Hoidn et al. (2023), doi:10.1038/s41598-023-48351-7; Cherukara et al. (2020), doi:10.1063/5.0013065.
    """

    to_polish = True
    alpha: Tensor

    def __init__(self, *, n_pixels: int, channels: int, depth: int, width: int, physics: bool, alpha: float) -> None:
        super().__init__()
        if n_pixels % 2**depth:
            raise ValueError(f"{n_pixels} px cannot be halved {depth} times")
        self.channels, self.physics = channels, physics
        self.register_buffer("alpha", torch.tensor(float(alpha)))
        self.coder = Coder(channels * (3 if physics else 1) + 1, depth, width)

    def forward(self, scene: Scene, *, silent: bool = False, report: Report | None = None) -> Tensor:
        """Reconstruct canvases; ``silent`` merges the first patches."""
        vacuum = VACUUM_WEIGHT * scene.peak
        total, weight = vacuum * scene.vacuum(), vacuum.expand(scene.shape).clone()
        around = None if self.channels == 1 or silent else neighbours(scene, self.channels)
        done = 0
        for part in scene.parts():
            frames = scene.frames(part)
            patches = self._patches(scene, frames, None if around is None else around[:, part], silent=silent)
            light = _light(frames)
            total = total + scatter(light * patches, frames.index, scene.shape)
            weight = weight + scatter(light, frames.index, scene.shape)
            done += frames.amplitude.shape[1]
            if report is not None:
                report(done, scene.n_frames)
        return total / weight

    def _patches(self, scene: Scene, frames: Frames, around: Tensor | None, *, silent: bool) -> Tensor:
        """One patch a frame, complex ``(batch, patch, y, x)``."""
        step = self._step(scene, frames)
        first = 1 + step if self.physics else torch.ones_like(step)
        if silent:
            return first
        light = _light(frames) / scene.peak[..., None]
        seen = [light[:, :, None], self._view(scene, frames, step)]
        for which in range(0 if around is None else around.shape[-1]):
            assert around is not None
            other = scene.frames(around[..., which])
            view = self._view(scene, other, self._step(scene, other))
            seen.append(_moved(view, other, frames, scene.shape[2]) if self.physics else view)
        images = torch.cat(seen, 2)
        found = self._coded(images.flatten(0, 1)).reshape(*images.shape[:2], 2, *images.shape[-2:])
        return first + torch.complex(found[:, :, 0], found[:, :, 1])

    def _coded(self, images: Tensor) -> Tensor:
        """What the CNN makes of images, a few at a time where no gradient is kept."""
        if torch.is_grad_enabled():
            return self.coder(images)  # type: ignore[no-any-return]
        at_once = max(1, PIXELS_AT_ONCE // (images.shape[-2] * images.shape[-1]))
        return torch.cat([self.coder(part) for part in torch.split(images, at_once)])

    def _view(self, scene: Scene, frames: Frames, step: Tensor) -> Tensor:
        """What the network sees of frames, ``(batch, patch, channel, y, x)``."""
        if self.physics:
            known = _light(frames) / (_light(frames) + scene.peak[..., None])
            return torch.stack((STEP_GAIN * step.real, STEP_GAIN * step.imag, known), 2)
        brightest: Tensor = torch.fft.fft2(frames.probes, norm="ortho").abs().amax((-3, -2, -1))[..., None, None]
        amplitude = (frames.amplitude.square() - frames.background).clamp_min(0).sqrt()
        shown: Tensor = torch.fft.fftshift(amplitude / brightest, dim=(-2, -1))
        return shown.unsqueeze(2)

    def _step(self, scene: Scene, frames: Frames) -> Tensor:
        """What each frame alone says of vacuum: ``conj(P) dpsi / (|P|^2 + alpha max|P|^2)``."""
        change, _ = modulus_change(frames.probes, frames.amplitude, frames.trusted, frames.background)
        return add_modes(frames.probes.conj() * change) / (
            intensity(frames.probes) + self.alpha * scene.peak[..., None]
        )


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


def neighbours(scene: Scene, count: int) -> Tensor:
    """The nearest ``count - 1`` frames of each frame of its canvas, nearest first, int64 ``(batch, patch, count - 1)``.

    Where a canvas has too few frames, the nearest are repeated; a frame without any neighbour is its own.
    """
    places = scene.corners.to(torch.float32)
    found = []
    for first in range(0, scene.n_frames, 1024):
        distance = torch.cdist(places[:, first : first + 1024], places)
        rows = torch.arange(distance.shape[1], device=distance.device)
        distance[:, rows, rows + first] = -1.0  # a frame at the same place is no nearer than the frame itself
        if scene.present is not None:
            distance = distance.masked_fill(scene.present[:, None] == 0, math.inf)
        near = distance.topk(min(count, scene.n_frames), largest=False)
        own = rows[:, None] + first
        found.append(torch.where(near.values.isfinite(), near.indices, own))
    order = torch.cat(found, 1)
    others = order[..., 1:] if order.shape[-1] > 1 else order
    repeat = torch.arange(count - 1, device=others.device) % others.shape[-1]
    return others[..., repeat]


def _light(frames: Frames) -> Tensor:
    """``|P|^2`` of each frame, 0 for padding, ``(batch, patch, y, x)``."""
    light = intensity(frames.probes)
    return light if frames.present is None else light * frames.present[..., None, None]


def _moved(view: Tensor, source: Frames, target: Frames, width: int) -> Tensor:
    """Views of source frames, each cut at the place of its target on canvases of ``width``; 0 where the source ends."""
    size = view.shape[-1]
    (y, x), (target_y, target_x) = (_corners(frames, width) for frames in (source, target))
    step = torch.arange(size, device=view.device)
    rows, columns = step + (target_y - y)[..., None], step + (target_x - x)[..., None]
    inside = ((rows >= 0) & (rows < size))[..., :, None] & ((columns >= 0) & (columns < size))[..., None, :]
    flat = rows.clamp(0, size - 1)[..., :, None] * size + columns.clamp(0, size - 1)[..., None, :]
    index = flat.flatten(-2)[:, :, None].expand(-1, -1, view.shape[2], -1)
    return view.flatten(-2).gather(-1, index).reshape(view.shape) * inside[:, :, None]


def _corners(frames: Frames, width: int) -> tuple[Tensor, Tensor]:
    """Corner (y, x) of each frame on the stack of canvases of ``width``, int64 ``(batch, patch)`` each."""
    first = frames.index[:, :, 0, 0]
    return first // width, first % width
