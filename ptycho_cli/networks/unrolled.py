"""The unrolled network: physics steps on one canvas, each followed by a small CNN that corrects it."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from ptycho_cli.networks.blocks import CanvasBlock
from ptycho_cli.physics.update import Frames, back_project

# An update is a few hundredths of an object that is about 1; the CNN sees both at one scale.
UPDATE_GAIN = 16.0
# Rows of a canvas that the CNN takes at once where no gradient is kept; bounds the memory of large scans.
STRIP_ROWS = 512


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

    first_log_alpha: Tensor

    def __init__(self, *, stages: int, subsets: int, width: int, alpha: float) -> None:
        super().__init__()
        self.stages, self.subsets = stages, subsets
        self.blocks = nn.ModuleList(CanvasBlock(5, width, 2) for _ in range(stages))
        self.step = nn.Parameter(torch.ones(stages))
        first = torch.tensor(math.log(max(alpha, 1e-6)))
        self.register_buffer("first_log_alpha", first)
        self.log_alpha = nn.Parameter(first.repeat(stages))

    def subset(self, stage: int) -> slice:
        """Which frames a stage looks at, as a slice of their order."""
        return slice(stage % self.subsets, None, self.subsets)

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
        for stage in range(self.stages):
            change, photons = back_project(obj, frames.subset(self.subset(stage)))
            obj = self.advance(stage, obj, change, photons, peak, silent=silent)
        return obj

    def advance(
        self, stage: int, obj: Tensor, change: Tensor, photons: Tensor, peak: Tensor, *, silent: bool
    ) -> Tensor:
        """Apply what ``back_project`` found and the correction of the stage; ``peak`` as in ``forward``."""
        log_alpha = self.first_log_alpha if silent else self.log_alpha[stage]
        update = change / (photons + log_alpha.exp() * peak)
        if silent:
            return obj + update
        known = photons / (photons + peak)
        channels = (obj.real - 1, obj.imag, UPDATE_GAIN * update.real, UPDATE_GAIN * update.imag, known)
        correction = self._correct(stage, torch.stack(channels, 1))
        return obj + self.step[stage] * update + torch.complex(correction[:, 0], correction[:, 1])

    def _correct(self, stage: int, channels: Tensor) -> Tensor:
        block = self.blocks[stage]
        rows = channels.shape[-2]
        if torch.is_grad_enabled() or rows <= STRIP_ROWS:
            return block(channels)  # type: ignore[no-any-return]
        # Strips that overlap by the reach of the CNN and are cut back join without a seam.
        parts = []
        for first in range(0, rows, STRIP_ROWS):
            top, last = max(0, first - CanvasBlock.REACH), min(rows, first + STRIP_ROWS)
            strip = block(channels[..., top : last + CanvasBlock.REACH, :])
            parts.append(strip[..., first - top : last - top, :])
        return torch.cat(parts, -2)
