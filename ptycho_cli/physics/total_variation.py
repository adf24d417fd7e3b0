"""A prior on the object that keeps what the counts do not determine smooth, and edges sharp: total variation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Difference of neighbours, relative to vacuum, below which the prior is quadratic: about a third of the mean difference
# in a strong object, so that edges stay. For a weak object it is then a quadratic prior.
SMALL_DIFFERENCE = 0.05
# Largest eigenvalue of minus the Laplacian of a raster.
STEEPEST = 8.0


@dataclass(frozen=True, slots=True)
class TotalVariation:
    """``R = weight sum_r sqrt(|grad O(r)|^2 + d^2)`` with ``d = SMALL_DIFFERENCE``, and differences of neighbours.

    Its gradient in ``O*`` is half of ``-weight div(grad O / sqrt(|grad O|^2 + d^2))``.

    Attributes:
        weight: Nats for a difference of 1 between two pixels, in units of the peak illumination.

    Source: Rudin, Osher and Fatemi (1992), doi:10.1016/0167-2789(92)90242-F.
    """

    weight: float

    @property
    def curvature(self) -> float:
        """Upper bound of the derivative of the gradient, in units of the peak illumination."""
        return 0.5 * STEEPEST * self.weight / SMALL_DIFFERENCE

    def gradient(self, obj: Tensor) -> Tensor:
        """Return ``dR / dO*``, complex ``(..., y, x)``."""
        down, right = torch.diff(obj, dim=-2, append=obj[..., -1:, :]), torch.diff(obj, dim=-1, append=obj[..., -1:])
        length = torch.sqrt(down.abs().square() + right.abs().square() + SMALL_DIFFERENCE**2)
        down, right = down / length, right / length
        divergence = torch.diff(down, dim=-2, prepend=torch.zeros_like(down[..., :1, :]))
        divergence = divergence + torch.diff(right, dim=-1, prepend=torch.zeros_like(right[..., :1]))
        return -0.5 * self.weight * divergence
