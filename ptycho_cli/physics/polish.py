"""The physics alone, from an object that is nearly right: uphill in the Poisson likelihood over small subsets."""

from __future__ import annotations

import torch
from torch import Tensor

from ptycho_cli.physics.forward import illumination
from ptycho_cli.physics.frame_source import ScanFrameSource
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.object_update import ObjectUpdate, likelihood_gradient
from ptycho_cli.progress_callback import Progress

SUBSET_FRAMES = 32
# It moves fast for a share of its iterations, with the first of these times alpha; the rest slow down to the second.
FAST = 0.3
ALPHA = (1.0, 32.0)
MOMENTUM = 0.6  # at first, and none at the end; with 0.8 small subsets of a sparse scan run away


@torch.no_grad()
def polish_object(
    frames: ScanFrames, obj: Tensor, probe: Tensor, *, update: ObjectUpdate, iterations: int, seed: int = 0,
    progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """An object after some iterations of the physics alone, complex ``(y, x)``.

    ``V <- m V + U``, ``O <- O + V`` for each subset, ``U`` the regularised PIE's update from the gradient of the
    Poisson likelihood. Little regularisation and momentum m move what is smooth; then the regularisation grows
    and the momentum falls to none, which settles the noise that small subsets of frames bring in.

    Args:
        frames: The frames of the scan.
        obj: The object to begin with.
        probe: The probe, complex ``(mode, y, x)``.
        update: The regularised update with the regularisation of the network's physics for this scan.
        iterations: Passes through all frames.
        seed: Seed of the subsets, which are drawn anew each iteration.
        progress: Called with (iterations done, of how many).

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736, with the updates of a subset summed.
    """
    source = ScanFrameSource(frames, probe)
    generator = torch.Generator().manual_seed(seed)
    subsets = -(-source.n_frames // SUBSET_FRAMES)
    obj = obj[None]
    velocity = torch.zeros_like(obj)
    for iteration in range(iterations):
        calm = _calm(iteration, iterations)
        regularised = update.scaled(ALPHA[0] * (ALPHA[1] / ALPHA[0]) ** calm)
        order = torch.randperm(source.n_frames, generator=generator).to(obj.device)
        for subset in range(subsets):
            part = source.frames(order[None, subset::subsets])
            gradient, photons = likelihood_gradient(obj, part), illumination(part, obj.shape)
            velocity = MOMENTUM * (1 - calm) * velocity + regularised(obj, gradient, photons, source.peak)
            obj = obj + velocity
        if progress is not None:
            progress(iteration + 1, iterations)
    return obj[0]


def _calm(iteration: int, iterations: int) -> float:
    """0 while it moves fast, 1 in the last iteration."""
    fast = round(FAST * iterations)
    return max(0, iteration - fast) / max(iterations - fast - 1, 1)
