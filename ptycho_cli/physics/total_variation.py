"""A prior on the object that keeps what the counts do not determine smooth, and edges sharp: total variation."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

# Difference of neighbours, relative to vacuum, below which the prior is quadratic: about a third of the mean difference
# in a strong object, so that edges stay. For a weak object it is then a quadratic prior.
SMALL_DIFFERENCE = 0.05


@dataclass(frozen=True, slots=True, eq=False)
class TotalVariation:
    """``R = sum_r weight(r) sqrt(|grad O(r)|^2 + d^2)`` with ``d = SMALL_DIFFERENCE``, and differences of neighbours.

    Its gradient in ``O*`` is half of ``-div(weight grad O / sqrt(|grad O|^2 + d^2))``.

    Attributes:
        weight: Nats for a difference of 1 from the next pixels, of each pixel, real ``(..., y, x)``, in units of the
            peak illumination.

    Source: Rudin, Osher and Fatemi (1992), doi:10.1016/0167-2789(92)90242-F.
    """

    weight: Tensor

    @property
    def curvature(self) -> Tensor:
        """Upper bound of the derivative of the gradient on each pixel, in units of the peak illumination.

        Steps along ``gradient / curvature`` do not overshoot: the sum over a row of the second derivative is below it.
        """
        above, left = (torch.zeros_like(self.weight) for _ in range(2))
        above[..., 1:, :], left[..., 1:] = self.weight[..., :-1, :], self.weight[..., :-1]
        return (2 * self.weight + above + left) / SMALL_DIFFERENCE

    def gradient(self, obj: Tensor) -> Tensor:
        """Return ``dR / dO*``, complex ``(..., y, x)``."""
        waves = torch.view_as_real(obj)  # on a CPU twice as fast as complex numbers
        down, right = torch.zeros_like(waves), torch.zeros_like(waves)
        down[..., :-1, :, :] = waves[..., 1:, :, :] - waves[..., :-1, :, :]
        right[..., :-1, :] = waves[..., 1:, :] - waves[..., :-1, :]
        real, imaginary = (down.square() + right.square()).unbind(-1)
        factor = 0.5 * self.weight * (real + imaginary + SMALL_DIFFERENCE**2).rsqrt()
        down, right = factor[..., None] * down, factor[..., None] * right
        gradient = -down - right
        gradient[..., 1:, :, :] += down[..., :-1, :, :]
        gradient[..., 1:, :] += right[..., :-1, :]
        return torch.view_as_complex(gradient)
