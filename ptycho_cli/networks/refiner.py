"""The refiner: a relaxation by physics alone, then one U-Net that corrects its object."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.networks.blocks import CanvasUNet, apply_symmetry, in_strips, undo_symmetry
from ptycho_cli.networks.contract import PhysicsInitialised
from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.frame_tensors import ALL
from ptycho_cli.physics.relaxation import Relaxation
from ptycho_cli.progress_callback import Progress

# Noise and errors of the initial object are a tenth of an object that is about 1; the U-Net sees and returns them
# enlarged.
GAIN = 4.0
FEWEST_PHOTONS = 0.03  # added to those of a pixel, whose logarithm tells the U-Net how much noise to expect


class Refiner(PhysicsInitialised):
    """``O = O_physics + CNN(O_physics, coverage, dose)``, the mean over the eight symmetries of a square.

    ``O_physics`` is the initial object of the source, which training computes from whole scans once in an epoch, or
    else the ``relaxation`` of its frames. No gradient goes through the physics, so it costs little and may take as
    many steps as it needs.

    Training applies one symmetry to each canvas, reconstruction averages over all eight: an object and its mirror
    image are equally likely, and the mean is less noisy. In training the U-Net sees only the window of a canvas on
    which the group's frames lie, since canvases are as large as the largest group needs.

    Args:
        relaxation: The physics.
        width: Channels of the U-Net's first level.
        levels: Number of the U-Net's resolutions.
    """

    def __init__(self, *, relaxation: Relaxation, width: int, levels: int) -> None:
        super().__init__()
        self.relaxation = relaxation
        self.unet = CanvasUNet(4, width, 2, levels)

    def forward(self, source: FrameSource, *, physics_only: bool = False, progress: Progress | None = None) -> Tensor:
        """Reconstruct canvases; with ``physics_only`` the initial objects are the result."""
        obj, photons = self.relaxation(source, progress) if source.initial is None else source.initial
        if physics_only:
            return obj
        known = photons / (photons + source.peak)
        dose = torch.log10(photons + FEWEST_PHOTONS) / 4
        channels = torch.stack((GAIN * (obj.real - 1), GAIN * obj.imag, known, dose), 1)
        if source.symmetries is None:
            correction = sum((self._correct(channels, k) for k in range(8)), torch.zeros_like(channels[:, :2])) / 8
        else:
            windows = source.windows() if self.training else [(ALL, ALL)] * len(channels)
            views = zip(channels[:, None], source.symmetries.tolist(), windows, strict=True)
            correction = torch.zeros_like(channels[:, :2])
            for i, (canvas, symmetry, (rows, columns)) in enumerate(views):
                correction[i : i + 1, :, rows, columns] = self._correct(canvas[..., rows, columns], symmetry)
        return obj + torch.complex(correction[:, 0], correction[:, 1]) / GAIN

    def _correct(self, channels: Tensor, symmetry: int) -> Tensor:
        """Apply the U-Net under a symmetry: ``(batch, 4, y, x)`` to ``(batch, 2, y, x)``."""
        return undo_symmetry(in_strips(self.unet, apply_symmetry(channels, symmetry), self.unet.reach), symmetry)
