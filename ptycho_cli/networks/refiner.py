"""The refiner: a relaxation by physics alone, then a U-Net that corrects its object, then both once more."""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import torch
from torch import Tensor, nn

from ptycho_cli.networks.blocks import CanvasUNet, apply_symmetry, in_strips, undo_symmetry
from ptycho_cli.networks.contract import PhysicsInitialised
from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.frame_tensors import ALL
from ptycho_cli.physics.relaxation import Relaxation
from ptycho_cli.progress_callback import Progress

# Noise and errors of the initial object are a tenth of an object that is about 1; a U-Net sees and returns them
# enlarged.
GAIN = 4.0
FEWEST_PHOTONS = 0.03  # added to those of a pixel, whose logarithm tells a U-Net how much noise to expect


class Refiner(PhysicsInitialised):
    """``O <- relaxation from O``, ``O <- O + CNN(O, coverage, dose)``, in turns: the passes.

    A pass begins where the one before ended, so its physics brings back what the frames know and the U-Net had lost,
    with less noise than from vacuum. Each pass has a U-Net of its own, and the mean over the eight symmetries of a
    square is added. From the second on, a U-Net also sees where its pass began: what the physics changed since is
    detail that the U-Net before had lost, or noise.

    No gradient goes through the physics, so it costs little and may take as many steps as it needs. So training
    reaches the last U-Net alone. What comes before it is the ``start``, which training computes from whole scans once
    in an epoch; its U-Nets keep the weights that they have.

    Training applies one symmetry to each canvas, reconstruction averages over all eight: an object and its mirror
    image are equally likely, and the mean is less noisy. In training the U-Net sees only the window of a canvas on
    which the group's frames lie, since canvases are as large as the largest group needs.

    Args:
        relaxation: The physics of the first pass, from vacuum.
        width: Channels of a U-Net's first level.
        levels: Number of a U-Net's resolutions.
        passes: Number of passes.
        pass_stages: Number of physics steps of each further pass.
    """

    def __init__(
        self, *, relaxation: Relaxation, width: int, levels: int, passes: int = 1, pass_stages: int = 0
    ) -> None:
        super().__init__()
        self.relaxation, self.further = relaxation, replace(relaxation, stages=pass_stages)
        self.unets = nn.ModuleList(CanvasUNet(inputs, width, 2, levels) for inputs in (4, *[6] * (passes - 1)))
        self.unets[:-1].requires_grad_(False)

    def forward(self, source: FrameSource, *, physics_only: bool = False, progress: Progress | None = None) -> Tensor:
        """Reconstruct canvases; with ``physics_only`` the objects of the first relaxation are the result."""
        if physics_only:
            return self.relaxation(source, progress)[0]
        objects, photons = self.start(source, progress) if source.initial is None else source.initial
        if source.symmetries is None:
            return self._corrected(self.unets[-1], objects, photons, source)
        channels = _channels(objects, photons, source)
        windows = source.windows() if self.training else [(ALL, ALL)] * len(channels)
        views = zip(channels[:, None], source.symmetries.tolist(), windows, strict=True)
        correction = torch.zeros_like(channels[:, :2])
        for i, (canvas, symmetry, (rows, columns)) in enumerate(views):
            part = _correction(self.unets[-1], canvas[..., rows, columns], symmetry)
            correction[i : i + 1, :, rows, columns] = part
        return _with(objects[:, 0], correction)

    @torch.no_grad()
    def start(self, source: FrameSource, progress: Progress | None = None) -> tuple[Tensor, Tensor]:
        """What the last U-Net corrects: all passes but its correction. It sees the object before its physics, too."""
        further = self.further.stages
        total = self.relaxation.stages + further * (len(self.unets) - 1)
        done = self.relaxation.stages

        def told(step: int, _: int) -> None:
            assert progress is not None
            progress(step, total)

        obj, photons = self.relaxation(source, None if progress is None else told)
        objects = obj[:, None]
        for unet in self.unets[:-1]:
            corrected = self._corrected(unet, objects, photons, source)
            obj, _ = self.further(source, start=corrected)
            objects = torch.stack((obj, corrected), 1)
            done += further
            if progress is not None:
                progress(done, total)
        return objects, photons

    def _corrected(self, unet: nn.Module, objects: Tensor, photons: Tensor, source: FrameSource) -> Tensor:
        """The first objects with the mean correction over the symmetries."""
        channels = _channels(objects, photons, source)
        corrections = (_correction(unet, channels, symmetry) for symmetry in range(8))
        return _with(objects[:, 0], sum(corrections, torch.zeros_like(channels[:, :2])) / 8)


def _channels(objects: Tensor, photons: Tensor, source: FrameSource) -> Tensor:
    """What a U-Net sees of objects ``(batch, k, y, x)``, ``(batch, 2k + 2, y, x)``."""
    known = photons / (photons + source.peak)
    dose = torch.log10(photons + FEWEST_PHOTONS) / 4
    first, *others = ((GAIN * (obj.real - 1), GAIN * obj.imag) for obj in objects.unbind(1))
    return torch.stack((*first, known, dose, *chain(*others)), 1)


def _correction(unet: nn.Module, channels: Tensor, symmetry: int) -> Tensor:
    """Apply a U-Net under a symmetry: ``(batch, inputs, y, x)`` to ``(batch, 2, y, x)``."""
    assert isinstance(unet, CanvasUNet)
    return undo_symmetry(in_strips(unet, apply_symmetry(channels, symmetry), unet.reach), symmetry)


def _with(obj: Tensor, correction: Tensor) -> Tensor:
    return obj + torch.complex(correction[:, 0], correction[:, 1]) / GAIN
