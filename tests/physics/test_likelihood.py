"""What photon noise leaves, without drawing photons."""

import math

import pytest
import torch

from ptycho_cli.physics.likelihood import MAX_RATE, MIN_RATE, expected_deviance, poisson_deviance


def _summed(rate: float) -> float:
    """The expectation as a sum over all numbers of photons that can be."""
    counts = torch.arange(int(rate + 12 * math.sqrt(rate) + 30), dtype=torch.float64)
    probability = torch.exp(torch.xlogy(counts, torch.tensor(rate)) - rate - torch.lgamma(counts + 1))
    return float((probability * poisson_deviance(counts, torch.full_like(counts, rate))).sum())


@pytest.mark.parametrize("rate", [0.0, 1e-6, 1e-3, 0.02, 0.4, 1.0, 7.3, 60.0, 99.0, 101.0, 4e3])
def test_it_is_the_mean_over_photons(rate: float) -> None:
    found = expected_deviance(torch.tensor([rate], dtype=torch.float64))
    assert found.item() == pytest.approx(_summed(rate), rel=5e-5)
    assert expected_deviance(torch.tensor([rate])).item() == pytest.approx(found.item(), rel=1e-4)


def test_it_is_what_drawn_photons_leave() -> None:
    rate = torch.rand(400, 400, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 3
    drawn = poisson_deviance(torch.poisson(rate, torch.Generator().manual_seed(1)), rate)
    error = float(drawn.std()) / math.sqrt(drawn.numel())
    assert float(drawn.mean()) == pytest.approx(float(expected_deviance(rate).mean()), abs=4 * error)


@pytest.mark.parametrize("rate", [math.nan, math.inf, 1e300, MAX_RATE])
def test_rates_of_a_diverged_fit_are_limited(rate: float) -> None:
    assert expected_deviance(torch.tensor([rate], dtype=torch.float64)).item() == pytest.approx(0.5)


def test_the_dark_leaves_nothing_but_the_least_rate() -> None:
    assert expected_deviance(torch.tensor([0.0, -1.0])).tolist() == pytest.approx([MIN_RATE] * 2)
