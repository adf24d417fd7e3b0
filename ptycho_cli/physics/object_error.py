"""The error of an object whose truth is known, as networks are trained on simulated scans to lower it."""

from __future__ import annotations

import torch
from torch import Tensor

SMALLEST_ERROR = 1e-12  # whose logarithm is taken


def log_object_error(obj: Tensor, truth: Tensor, known: Tensor) -> Tensor:
    """Logarithm of the mean squared error of objects, without a global phase, which no frame determines.

    The logarithm makes the relative change count, so that scans of all doses count alike.

    Args:
        obj: Objects, complex ``(batch, y, x)``.
        truth: The true objects, same shape.
        known: Weight of each pixel, real, same shape, at least 0 and above 0 somewhere.

    Returns:
        ``log(sum known |c obj - truth|^2 / sum known)`` of each object with the best ``c`` of modulus 1, ``(batch,)``;
        not below ``log(SMALLEST_ERROR)``.
    """
    overlap = (known * obj.conj() * truth).sum((-2, -1), keepdim=True)
    phase = torch.polar(torch.ones_like(overlap.real), overlap.angle())
    squared = (known * (phase * obj - truth).abs().square()).sum((-2, -1)) / known.sum((-2, -1))
    return squared.clamp_min(SMALLEST_ERROR).log()
