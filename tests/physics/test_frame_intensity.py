"""Maximum-likelihood intensities and background: roots of the gradient; a common factor belongs to the probe."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.data.simulation import simulate
from ptycho_cli.physics.forward import expected_rate, rates
from ptycho_cli.physics.frame_intensity import (
    fit_background,
    fit_background_pattern,
    fit_intensities,
    normalised_intensities,
)
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


def made(rng: torch.Generator, factor: Tensor, background: float) -> tuple[Tensor, Tensor, Tensor]:
    """Counts, rates at intensity 1 with many dark pixels, and a mask of valid pixels; other counts are wrong."""
    rate = 50 * torch.rand(len(factor), 12, 12, generator=rng, dtype=torch.float64).pow(6)
    valid = (torch.rand(12, 12, generator=rng) > 0.1).double()
    counts = torch.poisson(factor[:, None, None] * rate + background, generator=rng)
    return torch.where(valid > 0, counts, 1e4), rate, valid


@pytest.mark.parametrize("background", [0.0, 0.3, 20.0])
def test_intensities_maximise_the_likelihood(background: float, rng: torch.Generator) -> None:
    """The gradient in the factor of each frame is 0; without background the factor has a closed form."""
    counts, rate, valid = made(rng, torch.tensor([0.2, 1.0, 3.0, 40.0]), background)

    found = fit_intensities(counts, rate, background, valid)

    slope = rate * (counts / (found[:, None, None] * rate + background).clamp_min(1e-30) - 1) * valid
    torch.testing.assert_close(slope.sum((-2, -1)) / rate.sum((-2, -1)), torch.zeros(4).double(), atol=1e-6, rtol=0)
    if background == 0:
        closed = (counts * valid).sum((-2, -1)) / (rate * valid).sum((-2, -1))
        torch.testing.assert_close(found, closed)


@pytest.mark.parametrize("background", [0.02, 0.3, 20.0])
def test_the_background_maximises_the_likelihood(background: float, rng: torch.Generator) -> None:
    counts, rate, valid = made(rng, torch.ones(30), background)

    found = fit_background(counts, rate, valid)

    slope = ((counts / (rate + found) - 1) * valid).sum() / (valid.sum() * len(counts))
    assert float(slope) == pytest.approx(0, abs=1e-3)
    assert found == pytest.approx(background, abs=4 * (background / counts.numel() * 4) ** 0.5)
    assert fit_background(0.9 * rate, rate) == 0


def test_a_background_pattern_maximises_the_likelihood_of_each_pixel(rng: torch.Generator) -> None:
    """The gradient is 0 in every pixel, and intensities are found with a pattern as with a number."""
    rate = 50 * torch.rand(200, 12, 12, generator=rng, dtype=torch.float64).pow(6)
    pattern = torch.linspace(0.5, 20, 144, dtype=torch.float64).reshape(12, 12)
    counts = torch.poisson(rate + pattern, generator=rng)

    found = fit_background_pattern(counts, rate, torch.full_like(pattern, 5.0))

    assert float((counts / (rate + found) - 1).mean(0).abs().max()) < 0.01
    torch.testing.assert_close(found, pattern, atol=1.5, rtol=0.1)
    constant = torch.full_like(pattern, 0.3)
    torch.testing.assert_close(fit_intensities(counts, rate, constant), fit_intensities(counts, rate, 0.3))


def test_where_no_photon_is_counted_or_expected_intensities_and_pattern_stay_finite(rng: torch.Generator) -> None:
    """Masked pixels count nothing, and so does a dark corner; a pattern falls to 0 there."""
    rate = torch.rand(5, 6, 6, generator=rng)
    rate[:, :2] = 0
    counts = torch.poisson(10 * rate, generator=rng) * (rate > 0)

    pattern = fit_background_pattern(counts, rate, torch.ones(6, 6))

    assert (pattern > 0).all()
    assert (pattern[:2] < 1e-3).all()
    assert fit_intensities(counts, rate, torch.zeros(6, 6)).isfinite().all()
    torch.testing.assert_close(
        fit_intensities(counts, rate, torch.zeros(6, 6)), fit_intensities(counts, rate), rtol=0.01, atol=0
    )


def test_gradients_through_intensities_and_background_are_right(rng: torch.Generator) -> None:
    obj, probe = (torch.randn(*shape, 2, generator=rng, dtype=torch.float64) for shape in ((8, 8), (2, 4, 4)))
    corners, shifts = torch.tensor([[0, 0], [2, 3]]), torch.tensor([[0.2, -0.3], [0.4, 0.1]], dtype=torch.float64)

    def rate(obj: Tensor, probe: Tensor, intensities: Tensor, background: Tensor) -> Tensor:
        waves = torch.view_as_complex(obj), torch.view_as_complex(probe)
        return rates(*waves, corners, shifts, intensities, background)

    values = (obj, probe, torch.tensor([0.7, 1.6]).double(), torch.tensor(0.4).double())
    assert torch.autograd.gradcheck(rate, tuple(value.requires_grad_() for value in values))


def test_intensities_of_a_dark_and_of_a_very_bright_frame_are_bounded() -> None:
    found = normalised_intensities(torch.tensor([1.0, 1.0, 1.0, 0.0, 1e6]))

    assert float(found.log().mean()) == pytest.approx(0, abs=1e-6)
    assert float(found.max() / found.min()) == pytest.approx(64)


def test_a_common_factor_drifts_to_the_object_unless_intensities_are_normalised() -> None:
    """Initial intensities of 0.5, with an object that compensates for them, fit as well as the truth."""
    scan = simulate(n_frames=64, n_pixels=32, photons=1e6, object_kind="weak", seed=1)
    assert scan.probe is not None
    probe, frames = torch.from_numpy(scan.probe), scan_frames(scan, dtype=torch.float32)

    def after(normalise: bool) -> tuple[float, float]:
        scaled: ScanFrames = replace(frames, intensities=torch.full((64,), 0.5))
        obj = torch.ones(frames.shape, dtype=torch.complex64)
        for turn in range(5):
            obj, _ = run_pie(scaled, obj, probe, iterations=2, update=ObjectUpdate(0.1), seed=turn)
            found = fit_intensities(frames.amplitude.square(), expected_rate(frames, obj, probe))
            scaled = replace(frames, intensities=normalised_intensities(found) if normalise else found)
        middle = obj[12:-12, 12:-12].abs().median()
        assert scaled.intensities is not None
        return float(scaled.intensities.log().mean().exp()), float(middle)

    factor, modulus = after(normalise=False)
    assert factor < 0.6
    assert modulus > 1.3
    factor, modulus = after(normalise=True)
    assert factor == pytest.approx(1, abs=1e-5)
    assert modulus == pytest.approx(1, abs=0.03)
