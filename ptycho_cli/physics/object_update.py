"""The physics step: the change of the exit waves that the counts ask for, and the regularised update of the object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

import torch
from torch import Tensor

from ptycho_cli.physics.propagation import intensity

# Photons added to counts and rate before their ratio is taken, as in Anscombe's transform (3/8 there). They bound the
# change of a dark wave by a stray photon and keep the gradient small; where the rate equals the counts they change
# nothing.
DARK_PHOTONS = 0.1
# Largest relative change of a far field along the gradient of the likelihood; beyond it the square root of
# ``modulus_change`` is the better step.
STEEPEST = 5.0


class Prior(Protocol):
    """A prior ``R`` on the object, minus the logarithm of its probability density up to a constant.

    A prior is a frozen dataclass of numbers, so that it can be compared and sent to worker processes.
    """

    def gradient(self, obj: Tensor) -> Tensor:
        """Return the gradient ``dR / dO*`` at objects, complex ``(..., y, x)``, in units of the peak illumination.

        It is differentiated where networks are trained, so it must be a differentiable function of ``obj``. Where no
        frame illuminates a pixel, an update moves it by ``gradient / alpha``. The object oscillates if such a move is
        larger than the range in which the gradient changes its sign; so smooth a gradient that jumps, as that of a
        modulus does.
        """
        ...


@dataclass(frozen=True, slots=True)
class ObjectUpdate:
    """The regularised update of an object, the same for every engine and every network.

    ``U = (sum_j conj(P_j) dpsi_j - peak dR/dO*) / (sum_j |P_j|^2 + alpha peak)`` with ``peak = max |P|^2``: the
    regularised PIE, for the frames of one subset together, with the gradients of the priors ``R``.

    Attributes:
        alpha: Regularisation, relative to the largest ``|P|^2``.
        priors: Priors on the object; none leave the data alone.

    Source: Maiden et al. (2017), doi:10.1364/OPTICA.4.000736.
    """

    alpha: float
    priors: tuple[Prior, ...] = ()

    def __call__(
        self, obj: Tensor, change: Tensor, illumination: Tensor, peak: Tensor, *, alpha: Tensor | None = None
    ) -> Tensor:
        """Return the update ``U`` of objects.

        Args:
            obj: Objects, complex ``(..., y, x)``.
            change: ``sum_j conj(P_j) dpsi_j`` there, as ``back_project`` and ``likelihood_gradient`` give it.
            illumination: ``sum_j |P_j|^2`` of the same frames, real ``(..., y, x)``.
            peak: Largest ``|P|^2`` of the probe, which broadcasts against ``illumination``.
            alpha: A learned regularisation in place of the attribute.

        Returns:
            Complex ``(..., y, x)``.
        """
        for prior in self.priors:
            change = change - peak * prior.gradient(obj)
        return change / (illumination + (self.alpha if alpha is None else alpha) * peak)

    def with_alpha(self, alpha: float) -> ObjectUpdate:
        """Return the same update with another regularisation."""
        return replace(self, alpha=alpha)

    def scaled(self, factor: float) -> ObjectUpdate:
        """Return the same update with ``factor`` times the regularisation."""
        return replace(self, alpha=self.alpha * factor)


def modulus_change(
    waves: Tensor, amplitude: Tensor, valid: Tensor | None = None, background: Tensor | float = 0.0
) -> Tensor:
    """Change of exit waves that gives them the measured modulus.

    The far field is multiplied by ``sqrt((n + d) / (rate + d))`` for ``n`` counts, ``d`` being ``DARK_PHOTONS``.

    Args:
        waves: Exit waves, complex ``(..., mode, y, x)``.
        amplitude: Measured amplitude ``(..., y, x)``, zero frequency at the corner.
        valid: 1 for pixels to use, which broadcasts against ``amplitude``; elsewhere the far field stays as it is.
        background: Part of the rate that does not come from the waves, in photons, which broadcasts likewise.

    Returns:
        The change, shaped as ``waves``.
    """
    far = torch.fft.fft2(waves, norm="ortho")
    rate = intensity(far) + background
    factor = ((amplitude.square() + DARK_PHOTONS) / (rate + DARK_PHOTONS)).sqrt() - 1
    return _back_propagated(far, factor, valid)


def likelihood_change(
    waves: Tensor, amplitude: Tensor, valid: Tensor | None = None, background: Tensor | float = 0.0
) -> Tensor:
    """Change of exit waves along the gradient of the Poisson likelihood, scaled to that of ``modulus_change``.

    Not differentiable: it is computed in place.

    The far field is multiplied by ``1 + (n - rate) / (2 (rate + d))``. Where the rate nears the counts this is
    ``modulus_change``; unlike it, it is zero on average at the true rate also where a pixel counts a photon
    or none, for which ``E sqrt(n) < sqrt(rate)``.

    Args:
        waves: As in ``modulus_change``.
        amplitude: As there.
        valid: As there.
        background: As there.

    Returns:
        The change, shaped as ``waves``.

    Source: Thibault and Guizar-Sicairos (2012), doi:10.1088/1367-2630/14/6/063004, section 2.
    """
    far = torch.fft.fft2(waves, norm="ortho")
    ratio = amplitude.square().add_(DARK_PHOTONS).div_(intensity(far).add_(background + DARK_PHOTONS))
    steepest = ratio.sqrt().sub_(1).clamp_min_(STEEPEST)
    factor = torch.minimum(ratio.sub_(1).mul_(0.5), steepest, out=ratio)
    return _back_propagated(far, factor, valid)


def _back_propagated(far: Tensor, factor: Tensor, valid: Tensor | None) -> Tensor:
    """Exit waves of a far field ``(..., mode, y, x)`` times a real factor ``(..., y, x)``, 0 for invalid pixels."""
    if valid is not None:
        factor = factor * valid
    # A complex times a real number is twice as slow on a CPU as to make it complex first.
    into = None if torch.is_grad_enabled() else far
    waves: Tensor = torch.fft.ifft2(torch.mul(far, factor.to(far.dtype)[..., None, :, :], out=into), norm="ortho")
    return waves
