"""The unrolled network: physics steps on one canvas, each followed by a small CNN that corrects it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptycho_cli.networks.blocks import CanvasBlock
from ptycho_cli.physics.update import Frames, object_update

# An update is a few hundredths of an object that is about 1; the CNN sees both at one scale.
UPDATE_GAIN = 16.0


class UnrolledNetwork(nn.Module):
    """``stages`` times: an update from one ordered subset of the frames, then ``O + step U + CNN(O, U, coverage)``.

    The object of a whole group of overlapping frames lives on one canvas, so overlap is exact by
    construction. With silent CNNs this is the regularised PIE with frames of a subset used together
    (Maiden et al. 2017, doi:10.1364/OPTICA.4.000736), so training starts from a working reconstruction.

    Args:
        stages: Physics steps, each with a CNN of its own.
        subsets: Ordered subsets; stage k uses every ``subsets``-th frame, from ``k % subsets``.
        width: Channels of the CNNs.
        alpha: First value of each stage's regularisation, relative to the largest ``|P|^2``; learned.
    """

    def __init__(self, *, stages: int, subsets: int, width: int, alpha: float) -> None:
        super().__init__()
        self.subsets = subsets
        self.blocks = nn.ModuleList(CanvasBlock(5, width, 2) for _ in range(stages))
        self.step = nn.Parameter(torch.ones(stages))
        self.first_log_alpha = math.log(max(alpha, 1e-6))
        self.log_alpha = nn.Parameter(torch.full((stages,), self.first_log_alpha))

    def start(self, shape: tuple[int, int, int], like: Tensor) -> Tensor:
        """The first object: vacuum, complex ``(batch, y, x)``, of the precision of ``like``."""
        return torch.complex(like.new_ones(shape), like.new_zeros(shape))

    def forward(self, frames: Frames, shape: tuple[int, int], peak: Tensor, *, silent: bool = False) -> Tensor:
        """Reconstruct canvases.

        Args:
            frames: Frames on canvases; their order decides the subsets.
            shape: Shape (y, x) of a canvas.
            peak: Largest ``|P|^2`` of the probe, photons, ``(batch, 1, 1)``.
            silent: Leave out the CNNs and what was learned of steps and regularisation: the untrained network.

        Returns:
            Objects, complex ``(batch, y, x)``.
        """
        obj = self.start((frames.amplitude.shape[0], *shape), frames.amplitude)
        for stage in range(len(self.blocks)):
            obj = self.stage(stage, obj, frames, peak, silent=silent)
        return obj

    def stage(self, stage: int, obj: Tensor, frames: Frames, peak: Tensor, *, silent: bool) -> Tensor:
        """One physics step and its correction."""
        floor = (math.exp(self.first_log_alpha) if silent else self.log_alpha[stage].exp()) * peak
        update, photons = object_update(obj, frames.subset(slice(stage % self.subsets, None, self.subsets)), floor)
        if silent:
            return obj + update
        known = photons / (photons + peak)
        channels = (obj.real - 1, obj.imag, UPDATE_GAIN * update.real, UPDATE_GAIN * update.imag, known)
        correction = self.blocks[stage](torch.stack(channels, 1))
        return obj + self.step[stage] * update + torch.complex(correction[:, 0], correction[:, 1])
