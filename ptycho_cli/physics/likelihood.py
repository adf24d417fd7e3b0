"""Measures of misfit between measured and expected photons."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from ptycho_cli.errors import ShapeError

# Photons added to every rate. They keep the logarithm and its gradient finite where the model is dark and a stray
# photon was counted.
MIN_RATE = 1e-3
SMALLEST_RATIO = 1e-30  # of counts to rate, for a logarithm that is multiplied by counts of 0
MAX_RATE = 1e9  # photons that a pixel may expect; a fit that diverged expects any number
MANY_PHOTONS = 100  # from here on, the expected deviance is a series in the rate
LOG_STEP = 0.01  # of the rates at which it is tabulated


def _check(counts: Tensor, rate: Tensor) -> None:
    if counts.shape != rate.shape:
        raise ShapeError(f"'counts' is {tuple(counts.shape)}, but 'rate' is {tuple(rate.shape)}; they must be equal.")


def poisson_deviance(counts: Tensor, rate: Tensor) -> Tensor:
    """Poisson negative log-likelihood of each pixel, minus that of the saturated model.

    0 is a perfect fit; where a pixel expects many photons the mean over pure noise is about 0.5. Differentiable once,
    in the rate.

    Args:
        counts: Measured photons, any shape, at least 0, without gradient.
        rate: Expected photons, same shape, at least 0.

    Returns:
        Nats per pixel, same shape, at least 0 (for rates above ``MIN_RATE``).

    Raises:
        ShapeError: If the shapes differ.

    Source: Thibault and Guizar-Sicairos (2012), doi:10.1088/1367-2630/14/6/063004.
    """
    _check(counts, rate)
    return _PoissonDeviance.apply(counts, rate)  # type: ignore[no-any-return, no-untyped-call]


class _PoissonDeviance(torch.autograd.Function):
    """``r - n + n log(n / r)``, whose gradient in the rate is ``1 - n / r``; both take one pass through few arrays."""

    @staticmethod
    def forward(ctx: Any, counts: Tensor, rate: Tensor) -> Tensor:
        rate = rate + MIN_RATE
        ratio = counts / rate
        if ctx.needs_input_grad[1]:
            ctx.save_for_backward(ratio)
        return rate.sub_(counts).add_(ratio.clamp_min(SMALLEST_RATIO).log_().mul_(counts))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (ratio,) = ctx.saved_tensors
        return None, torch.addcmul(gradient, gradient, ratio, value=-1)


def mean_deviance(counts: Tensor, rate: Tensor, valid: Tensor | None = None) -> float:
    """Mean ``poisson_deviance`` of frames over valid pixels, in nats per pixel.

    Args:
        counts: Measured photons, ``(frame, y, x)``.
        rate: Expected photons, same shape.
        valid: 1 for valid pixels, else 0, ``(y, x)``; None: all are valid.
    """
    found = MeanDeviance(valid)
    found.add(poisson_deviance(counts, rate))
    return found.value()


class MeanDeviance:
    """Mean deviance of frames that are added in parts.

    Args:
        valid: 1 for valid pixels, else 0, ``(y, x)``; None: all are valid.
    """

    def __init__(self, valid: Tensor | None = None) -> None:
        self._valid, self._total, self._frames = valid, torch.zeros((), dtype=torch.float64), 0

    def add(self, deviance: Tensor) -> None:
        """Add the deviance of each pixel of some frames, ``(frame, y, x)``."""
        self._valid = torch.ones_like(deviance[0]) if self._valid is None else self._valid
        total = (deviance * self._valid).sum(dtype=torch.float64)
        self._total = self._total.to(total.device).add_(total)
        self._frames += len(deviance)

    def value(self) -> float:
        """Mean over frames and valid pixels."""
        assert self._valid is not None
        return float(self._total / (self._valid.sum() * self._frames))


def expected_deviance(rate: Tensor) -> Tensor:
    """What photon noise alone leaves: the mean ``poisson_deviance`` of counts at the rates that are expected.

    Exact to some 1e-5 of itself. Rates that are not finite or out of range are limited first.

    Args:
        rate: Expected photons, any shape, without gradient.

    Returns:
        Nats per pixel, same shape: ``MIN_RATE`` in the dark, 0.5 where photons are many.
    """
    usable = torch.nan_to_num(rate, nan=MAX_RATE, posinf=MAX_RATE).clamp(0, MAX_RATE)
    place = usable.add_(MIN_RATE).log_().sub_(np.log(MIN_RATE)).mul_(1 / LOG_STEP)
    below = place.long().clamp_max_(len(_expected_deviances()) - 2)
    table = torch.from_numpy(_expected_deviances()).to(rate)
    return torch.lerp(table[below], table[below + 1], place.sub_(below))


@lru_cache(maxsize=1)
def _expected_deviances() -> NDArray[np.float64]:
    """``expected_deviance`` at evenly spaced logarithms of rate and ``MIN_RATE`` together, ``(rate,)``."""
    shifted = MIN_RATE * np.exp(LOG_STEP * np.arange(np.ceil(np.log(2 * MAX_RATE / MIN_RATE) / LOG_STEP)))
    rate = shifted - MIN_RATE
    few = rate < MANY_PHOTONS
    counts = np.arange(1, MANY_PHOTONS + 12 * np.sqrt(MANY_PHOTONS))[:, None]
    log_factorial = np.cumsum(np.log(counts), axis=0)
    with np.errstate(divide="ignore"):
        probability = np.exp(counts * np.log(rate[few]) - rate[few] - log_factorial)
    mean = 0.5 + 1 / (12 * np.maximum(rate, 1)) + 1 / (12 * np.maximum(rate, 1) ** 2)  # of many photons
    mean[few] = (probability * counts * np.log(counts)).sum(0) - rate[few] * np.log(np.maximum(rate[few], MIN_RATE**9))
    return mean + MIN_RATE - rate * np.log(shifted / np.maximum(rate, MIN_RATE**9))


def amplitude_error(counts: Tensor, rate: Tensor) -> Tensor:
    """Squared difference of amplitudes, the variance-stabilised loss: ``(sqrt(rate) - sqrt(counts))^2``.

    Its mean over pure noise is about 0.25 where a pixel expects many photons.

    Args:
        counts: Measured photons, any shape, at least 0.
        rate: Expected photons, same shape, at least 0.

    Returns:
        Photons per pixel, same shape.

    Raises:
        ShapeError: If the shapes differ.
    """
    _check(counts, rate)
    return ((rate + MIN_RATE).sqrt() - counts.sqrt()).square()
