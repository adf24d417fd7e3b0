"""The gradient of the likelihood in the object, and the relaxation that follows it with momentum."""

from __future__ import annotations

from dataclasses import replace

import torch

from ptycho_cli.extend.network_conformance import misfit, small_source
from ptycho_cli.physics.back_projection import batch_rate, likelihood_gradient
from ptycho_cli.physics.forward import detector_intensity
from ptycho_cli.physics.object_update import DARK_PHOTONS, likelihood_change, modulus_change
from ptycho_cli.physics.propagation import intensity
from ptycho_cli.physics.relaxation import Relaxation


def test_the_likelihood_gradient_is_that_of_autograd() -> None:
    """Up to a factor of 4, with ``DARK_PHOTONS`` added to counts and rate."""
    source = small_source()
    obj = Relaxation(stages=8)(source)[0].requires_grad_()
    frames = source.frames(slice(None))
    rate = batch_rate(obj, frames)
    ratio = 3 * torch.rand(rate.shape, dtype=rate.dtype, generator=torch.Generator().manual_seed(0))
    frames = replace(frames, amplitude=(ratio * rate.detach()).sqrt())  # so near that no change is bounded

    likelihood = ((frames.amplitude.square() + DARK_PHOTONS) * (rate + DARK_PHOTONS).log() - rate).sum()
    (gradient,) = torch.autograd.grad(likelihood, obj)  # d/dx + i d/dy, twice the derivative by conj(z)

    torch.testing.assert_close(likelihood_gradient(obj.detach(), frames), gradient / 4)


def test_both_changes_of_a_wave_agree_near_the_counts_and_that_of_the_likelihood_is_bounded() -> None:
    rng = torch.Generator().manual_seed(0)
    waves = torch.randn(4, 1, 8, 8, dtype=torch.complex128, generator=rng) * 30
    rate = detector_intensity(waves)

    def both(factor: float) -> tuple[torch.Tensor, torch.Tensor]:
        amplitude = (factor * (rate + DARK_PHOTONS) - DARK_PHOTONS).clamp_min(0).sqrt()
        return likelihood_change(waves, amplitude), modulus_change(waves, amplitude)

    near, far, bright = both(1.01), both(30.0), both(1e4)

    torch.testing.assert_close(near[0], near[1], rtol=1e-2, atol=0)
    torch.testing.assert_close(far[0], 5 * waves)
    torch.testing.assert_close(bright[0], bright[1])


def test_the_change_along_the_likelihood_has_no_bias_at_few_photons() -> None:
    """At the true rate its mean is zero; the modulus change shrinks the wave, since E sqrt(n) < sqrt(rate)."""
    waves = torch.full((1, 1, 8, 8), 0.0, dtype=torch.complex128)
    waves[..., 0, 0] = 8.0  # a point: one photon in every detector pixel
    counts = torch.poisson(torch.ones(4000, 8, 8, dtype=torch.float64), torch.Generator().manual_seed(0))
    repeated = waves.expand(4000, -1, -1, -1)

    by_likelihood = likelihood_change(repeated, counts.sqrt()).mean(0)[0, 0, 0].real
    by_modulus = modulus_change(repeated, counts.sqrt()).mean(0)[0, 0, 0].real

    assert abs(float(by_likelihood)) < 0.02 * 8
    assert float(by_modulus) < -0.1 * 8


def test_momentum_reduces_the_misfit_faster() -> None:
    source = small_source()

    slow, fast = (misfit(source, Relaxation(stages=40, momentum=m)(source)[0]) for m in (0.0, 0.9))

    assert float(fast) < 0.8 * float(slow)


def test_the_photons_of_a_relaxation_are_those_of_the_frames() -> None:
    source = small_source(1)
    frames = source.frames(slice(None))

    _, photons = Relaxation(stages=2)(source)

    expected = torch.zeros_like(photons[0])
    for (y, x), photons_of_frame in zip(frames.corners[0].tolist(), intensity(frames.probes)[0], strict=True):
        expected[y : y + len(photons_of_frame), x : x + len(photons_of_frame)] += photons_of_frame
    torch.testing.assert_close(photons[0], expected)
