"""Positions from frames: the misfit around a place, and the move that lessens it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptycho_cli.physics.engine import Exposure, expected
from ptycho_cli.physics.positions import gauss_newton, misfit_at, smoothed

SIDE, CANVAS = 16, 48


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture
def obj(rng: torch.Generator) -> Tensor:
    noise = torch.randn(CANVAS, CANVAS, dtype=torch.complex128, generator=rng)
    return torch.exp(1j * 3 * smoothed(noise, 2.0).real)


@pytest.fixture
def probe() -> Tensor:
    step = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    squared = step[:, None] ** 2 + step**2
    return (100 * torch.exp(-squared / 12 + 0.15j * squared))[None]


@pytest.fixture
def exposure(obj: Tensor, probe: Tensor, rng: torch.Generator) -> Exposure:
    corners = torch.randint(8, 24, (40, 2), generator=rng)
    shifts = torch.rand(40, 2, dtype=torch.float64, generator=rng) - 0.5
    blank = Exposure(torch.zeros(40, SIDE, SIDE, dtype=torch.float64), corners, shifts, (CANVAS, CANVAS))
    return replace(blank, amplitude=expected(blank, obj, probe).sqrt())


def astray(exposure: Exposure, by_px: float, rng: torch.Generator) -> tuple[Exposure, Tensor]:
    error = by_px * torch.randn(exposure.shifts.shape, dtype=torch.float64, generator=rng)
    return replace(exposure, shifts=exposure.shifts + error), error


def test_the_misfit_vanishes_where_a_frame_was_taken(
    exposure: Exposure, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    """Also where the way back leads over whole pixels, and only there."""
    moved, error = astray(exposure, 1.5, rng)
    moves = torch.stack([-error, torch.zeros_like(error)], 1)

    misfit = misfit_at(moved, obj, probe, moves)

    assert misfit.shape == (40, 2)
    assert float(misfit[:, 0].max()) < 1e-3 * float(misfit[:, 1].median())


def test_gauss_newton_walks_back_to_where_a_frame_was_taken(
    exposure: Exposure, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    moved, error = astray(exposure, 0.15, rng)

    for _ in range(4):
        moved = replace(moved, shifts=moved.shifts + gauss_newton(moved, obj, probe))

    assert float((moved.shifts - exposure.shifts).norm(dim=1).median()) < 0.01 * float(error.norm(dim=1).median())
    assert float(gauss_newton(exposure, obj, probe).abs().max()) < 1e-9


def test_gauss_newton_goes_down_the_gradient_of_the_misfit(
    exposure: Exposure, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    """Its slope is that of finite differences: the first-order change of the misfit along the move is negative."""
    moved, _ = astray(exposure, 0.1, rng)
    step = gauss_newton(moved, obj, probe)
    small = 1e-4

    misfit = misfit_at(moved, obj, probe, torch.stack([-small * step, small * step], 1))

    change = (misfit[:, 1] - misfit[:, 0]) / (2 * small)
    start = misfit_at(moved, obj, probe, torch.zeros(40, 1, 2, dtype=torch.float64))[:, 0]
    assert bool((change < 0).all())
    # near the truth the misfit is a parabola whose bottom the step reaches: its slope is twice its height
    torch.testing.assert_close((change / start).median(), torch.tensor(-2.0, dtype=torch.float64), rtol=0.1, atol=0)


def test_dead_pixels_do_not_move_a_frame(exposure: Exposure, obj: Tensor, probe: Tensor, rng: torch.Generator) -> None:
    moved, _ = astray(exposure, 0.2, rng)
    trusted = (torch.rand(SIDE, SIDE, dtype=torch.float64, generator=rng) > 0.2).double()
    masked = replace(moved, trusted=trusted)
    spoilt = replace(masked, amplitude=torch.where(trusted > 0, masked.amplitude, 500.0))
    nowhere = torch.zeros(40, 1, 2, dtype=torch.float64)

    torch.testing.assert_close(gauss_newton(spoilt, obj, probe), gauss_newton(masked, obj, probe))
    torch.testing.assert_close(misfit_at(spoilt, obj, probe, nowhere), misfit_at(masked, obj, probe, nowhere))
