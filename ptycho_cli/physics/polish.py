"""Polish: iterations of physics alone that improve an object which is nearly right, over small subsets of frames."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from ptycho_cli.physics.back_projection import likelihood_gradient
from ptycho_cli.physics.forward import illumination
from ptycho_cli.physics.frame_share import ALONE, FrameShare
from ptycho_cli.physics.frame_source import ScanFrameSource
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.total_variation import TotalVariation
from ptycho_cli.progress_callback import Progress

SUBSET_FRAMES = 32
# Factor on alpha: the first value for a share of the iterations, then rising to the second value.
FAST_SHARE = 0.3
ALPHA = (1.0, 32.0)
WEIGHT_POWER = 0.25  # of the illumination of a pixel, to which the weight of a prior there is proportional
MOMENTUM = 0.6  # at first, and 0 at the end; with 0.8 small subsets of a sparse scan diverge


@torch.no_grad()
def polish_object(
    frames: ScanFrames, obj: Tensor, probe: Tensor, *, update: ObjectUpdate, iterations: int, tv_weight: float = 0.0,
    seed: int = 0, share: FrameShare = ALONE, progress: Progress | None = None,
) -> Tensor:  # fmt: skip
    """Return an object after some iterations of physics alone, complex ``(y, x)``.

    ``V <- m V + U``, ``O <- O + V`` for each subset, where ``U`` is the regularised update from the gradient of the
    Poisson likelihood. At first, weak regularisation and momentum m correct smooth errors. Then the regularisation
    rises and the momentum falls to 0, which averages out the noise of small subsets.

    Args:
        frames: The frames of the scan.
        obj: Initial object, complex ``(y, x)``.
        probe: The probe, complex ``(mode, y, x)``, in square roots of photons.
        update: The regularised update, with the alpha of the network's physics for this scan.
        iterations: Passes through all frames.
        tv_weight: Weight of a total-variation prior beside the likelihood of all frames: nats for a difference of 1
            between two pixels of typical illumination, divided by the square root of the photons there. Noise in the
            gradient of the likelihood grows as that root. The weight is less where fewer photons fall.
        seed: Seed of the subsets, which are drawn anew in each iteration.
        share: The frames that this process computes with, where several reconstruct one scan together.
        progress: Called with (iterations done, iterations in all).

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736, with the updates of a subset summed.
    """
    source = ScanFrameSource(frames, probe, share=share)
    generator = torch.Generator().manual_seed(seed)
    subsets = -(-source.n_frames // SUBSET_FRAMES)
    alpha = torch.full_like(source.peak, update.alpha)
    if tv_weight:
        prior = TotalVariation(_local(tv_weight, source.illumination()) / (subsets * source.peak))
        update = replace(update, priors=(*update.priors, prior))
        alpha = torch.maximum(alpha, prior.curvature)  # enough regularisation for its steepest gradient
    obj = obj[None]
    velocity = torch.zeros_like(obj)
    for iteration in range(iterations):
        slowdown = _slowdown(iteration, iterations)
        regularisation = alpha * ALPHA[0] * (ALPHA[1] / ALPHA[0]) ** slowdown
        order = torch.randperm(source.n_frames, generator=generator).to(obj.device)
        for subset in range(subsets):
            gradient, photons = _sums(source, obj, order[subset::subsets])
            change = update(obj, gradient, photons, source.peak, alpha=regularisation)
            velocity = MOMENTUM * (1 - slowdown) * velocity + change
            obj = obj + velocity
        if progress is not None:
            progress(iteration + 1, iterations)
    return obj[0]


def _sums(source: ScanFrameSource, obj: Tensor, frames: Tensor) -> tuple[Tensor, Tensor]:
    """Gradient and illumination of the frames of a subset, int64 ``(k,)``, each a canvas ``(1, y, x)``."""
    own = source.share.frames(source.n_frames)
    frames = frames[(frames >= own.start) & (frames < own.stop)]
    if not len(frames):
        return source.share.total(torch.zeros_like(obj)), source.share.total(torch.zeros_like(obj.real))
    part = source.frames(frames[None])
    return source.share.total(likelihood_gradient(obj, part)), source.share.total(illumination(part, obj.shape))


def _local(tv_weight: float, illumination: Tensor) -> Tensor:
    """Weight of the prior on each pixel in nats, of the shape of ``illumination``.

    Where few photons fall, at the rim of a scan, the same weight smooths more away. Held-out frames, which lie in the
    middle, then choose weights that are too large for the rim (docs/lab/polish.md).
    """
    typical = illumination.square().sum() / illumination.sum()
    return tv_weight * typical**0.5 * (illumination / typical) ** WEIGHT_POWER


def _slowdown(iteration: int, iterations: int) -> float:
    """Return 0 for the fast iterations at first, then rising values up to 1 for the last iteration."""
    fast = round(FAST_SHARE * iterations)
    return max(0, iteration - fast) / max(iterations - fast - 1, 1)
