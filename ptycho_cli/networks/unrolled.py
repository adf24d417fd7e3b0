"""The unrolled network: physics steps on one canvas, each followed by a small CNN that corrects the object."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from ptycho_cli.networks.blocks import CanvasBlock, in_strips
from ptycho_cli.networks.contract import Network
from ptycho_cli.physics.frame_source import FrameSource
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.progress_callback import Progress

# An update is a few hundredths of an object that is about 1; the CNN sees both on one scale.
UPDATE_GAIN = 16.0


class UnrolledNetwork(Network):
    """``stages`` times ``O <- O + step U + CNN(O, U, coverage)``, with the update ``U`` of one ordered subset.

    The object of a whole group of overlapping frames lies on one canvas, so overlap is exact by construction. Without
    CNNs this is the regularised PIE with the frames of a subset used together, so training starts from a working
    reconstruction.

    Args:
        stages: Number of physics steps, each with a CNN of its own.
        subsets: Number of ordered subsets; stage k uses every ``subsets``-th frame, from ``k % subsets``.
        width: Channels of the CNNs.
        fold: Pixels along one side of the squares that the CNNs see as channels; see ``CanvasBlock``.
        update: The regularised update. Its alpha is the initial value of each stage's alpha, which is learned.

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736, for the physics.
    """

    polish_by_default = True
    first_log_alpha: Tensor

    def __init__(self, *, stages: int, subsets: int, width: int, update: ObjectUpdate, fold: int = 1) -> None:
        super().__init__()
        self.stages, self.subsets, self.update = stages, subsets, update
        self.blocks = nn.ModuleList(CanvasBlock(5, width, 2, fold=fold) for _ in range(stages))
        self.step = nn.Parameter(torch.ones(stages))
        first = torch.tensor(math.log(max(update.alpha, 1e-6)))
        self.register_buffer("first_log_alpha", first)
        self.log_alpha = nn.Parameter(first.repeat(stages))

    def transferable_state(self) -> dict[str, Tensor]:
        """The state with the alpha of each stage relative to the initial one, which follows from the dose."""
        state = super().transferable_state()
        state["log_alpha"] = state["log_alpha"] - state.pop("first_log_alpha")
        return state

    def load_transferable_state(self, state: Mapping[str, Tensor]) -> None:
        """Take over such a state; the initial alpha stays."""
        first = self.first_log_alpha
        self.load_state_dict({**state, "log_alpha": state["log_alpha"].to(first) + first, "first_log_alpha": first})

    def subset(self, stage: int, n_frames: int) -> slice:
        """Return the frames of a stage as a slice of their order; it is never empty."""
        subsets = max(1, min(self.subsets, n_frames))
        return slice(stage % subsets, None, subsets)

    def forward(self, source: FrameSource, *, physics_only: bool = False, progress: Progress | None = None) -> Tensor:
        """Reconstruct canvases; ``physics_only`` leaves out the CNNs, and takes steps of 1 and the initial alpha."""
        obj = source.vacuum()
        for stage in range(self.stages):
            change, photons = source.back_project(obj, self.subset(stage, source.n_frames))
            obj = self._advance(stage, obj, change, photons, source.peak, physics_only=physics_only)
            if progress is not None:
                progress(stage + 1, self.stages)
        return obj

    def _advance(
        self, stage: int, obj: Tensor, change: Tensor, photons: Tensor, peak: Tensor, *, physics_only: bool
    ) -> Tensor:
        """Return the objects after a stage; arguments as in ``ObjectUpdate``."""
        log_alpha = self.first_log_alpha if physics_only else self.log_alpha[stage]
        update = self.update(obj, change, photons, peak, alpha=log_alpha.exp())
        if physics_only:
            return obj + update
        known = photons / (photons + peak)
        channels = (obj.real - 1, obj.imag, UPDATE_GAIN * update.real, UPDATE_GAIN * update.imag, known)
        block = self.blocks[stage]
        assert isinstance(block, CanvasBlock)
        correction = in_strips(block, torch.stack(channels, 1), block.reach)
        return obj + self.step[stage] * update + torch.complex(correction[:, 0], correction[:, 1])
