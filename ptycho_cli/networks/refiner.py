"""The refiner: the physics alone until it hardly moves, then one U-Net on what it found."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.networks.blocks import CanvasUNet, in_strips, turned, turned_back
from ptycho_cli.networks.contract import PhysicsInitialised
from ptycho_cli.physics.frame_source import ALL, FrameSource
from ptycho_cli.physics.relaxation import Relaxation
from ptycho_cli.progress_callback import Progress

# Noise and errors of the start are a tenth of an object that is about 1; the U-Net sees and gives them enlarged.
GAIN = 4.0


class Refiner(PhysicsInitialised):
    """``O = O_physics + CNN(O_physics, coverage)``, the mean over the eight symmetries of a square.

    The physics is the ``relaxation`` of the frames, or the source's ``start``, which training makes from whole
    scans once an epoch. No gradient goes through it, so that it costs little and may take as many steps as it
    needs. With a physics_only CNN this is the relaxation alone.

    Training shows each canvas under one symmetry, reconstruction averages all eight: what the object looks like
    in a mirror is as likely as the object, and the mean is less noisy. What it shows is the window on which the
    group's frames lie; canvases are as large as the largest group needs, and the rest would be computed for nothing.

    Args:
        relaxation: The physics.
        width: Channels of the U-Net's first level.
        levels: Its resolutions.
    """

    def __init__(self, *, relaxation: Relaxation, width: int, levels: int) -> None:
        super().__init__()
        self.relaxation = relaxation
        self.unet = CanvasUNet(3, width, 2, levels)

    def forward(self, source: FrameSource, *, physics_only: bool = False, progress: Progress | None = None) -> Tensor:
        """Reconstruct canvases; ``physics_only`` leaves the physics alone."""
        obj, photons = self.relaxation(source, progress) if source.start is None else source.start
        if physics_only:
            return obj
        known = photons / (photons + source.peak)
        channels = torch.stack((GAIN * (obj.real - 1), GAIN * obj.imag, known), 1)
        if source.turns is None:
            correction = sum((self._seen(channels, turn) for turn in range(8)), torch.zeros_like(channels[:, :2])) / 8
        else:
            windows = source.windows() if self.training else [(ALL, ALL)] * len(channels)
            views = zip(channels[:, None], source.turns.tolist(), windows, strict=True)
            correction = torch.zeros_like(channels[:, :2])
            for i, (canvas, turn, (rows, columns)) in enumerate(views):
                correction[i : i + 1, :, rows, columns] = self._seen(canvas[..., rows, columns], turn)
        return obj + torch.complex(correction[:, 0], correction[:, 1]) / GAIN

    def _seen(self, channels: Tensor, turn: int) -> Tensor:
        return turned_back(in_strips(self.unet, turned(channels, turn), self.unet.reach), turn)
