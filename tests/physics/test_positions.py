"""Positions from frames: the misfit around a place, and the move that lessens it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.position_update import gauss_newton_moves, gaussian_blur, misfit_at

SIDE, CANVAS = 16, 48
HERE = torch.zeros(1, 2, dtype=torch.int64)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(5)


@pytest.fixture
def obj(rng: torch.Generator) -> Tensor:
    noise = torch.randn(CANVAS, CANVAS, dtype=torch.complex128, generator=rng)
    return torch.exp(1j * 3 * gaussian_blur(noise, 2.0).real)


@pytest.fixture
def probe() -> Tensor:
    step = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    squared = step[:, None] ** 2 + step**2
    return (100 * torch.exp(-squared / 12 + 0.15j * squared))[None]


@pytest.fixture
def exposure(obj: Tensor, probe: Tensor, rng: torch.Generator) -> ScanFrames:
    corners = torch.randint(8, 24, (40, 2), generator=rng)
    shifts = torch.rand(40, 2, dtype=torch.float64, generator=rng) - 0.5
    blank = ScanFrames(torch.zeros(40, SIDE, SIDE, dtype=torch.float64), corners, shifts, (CANVAS, CANVAS))
    return replace(blank, amplitude=expected_rate(blank, obj, probe).sqrt())


def drift(exposure: ScanFrames, by_px: float, rng: torch.Generator) -> tuple[ScanFrames, Tensor]:
    error = by_px * torch.randn(exposure.shifts.shape, dtype=torch.float64, generator=rng)
    return replace(exposure, shifts=exposure.shifts + error), error


def test_the_misfit_vanishes_where_a_frame_was_taken(
    exposure: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    """The way back leads over whole pixels; the misfit vanishes there and nowhere else."""
    error = torch.randint(-2, 3, (40, 2), generator=rng)
    moved = replace(exposure, corners=exposure.corners + error)
    reach = torch.arange(-2, 3)

    misfit = misfit_at(moved, obj, probe, torch.cartesian_prod(reach, reach))

    assert misfit.shape == (40, 25)
    assert torch.equal(torch.cartesian_prod(reach, reach)[misfit.argmin(1)], -error)
    assert float(misfit.min(1).values.max()) < 1e-3 * float(misfit.median())


def test_gauss_newton_walks_back_to_where_a_frame_was_taken(
    exposure: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    moved, error = drift(exposure, 0.15, rng)

    for _ in range(4):
        moved = replace(moved, shifts=moved.shifts + gauss_newton_moves(moved, obj, probe)[0])

    assert float((moved.shifts - exposure.shifts).norm(dim=1).median()) < 0.01 * float(error.norm(dim=1).median())
    assert float(gauss_newton_moves(exposure, obj, probe)[0].abs().max()) < 1e-9


def test_gauss_newton_goes_down_the_gradient_of_the_misfit(
    exposure: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    """Its slope is that of finite differences: the first-order change of the misfit along the move is negative."""
    moved, _ = drift(exposure, 0.1, rng)
    step, _ = gauss_newton_moves(moved, obj, probe)
    small = 1e-4

    def misfit(by: float) -> Tensor:
        return misfit_at(replace(moved, shifts=moved.shifts + by * step), obj, probe, HERE)[:, 0]

    change, start = (misfit(small) - misfit(-small)) / (2 * small), misfit(0.0)
    assert bool((change < 0).all())
    # near the truth the misfit is a parabola whose bottom the step reaches: its slope is twice its height
    torch.testing.assert_close((change / start).median(), torch.tensor(-2.0, dtype=torch.float64), rtol=0.1, atol=0)


def test_dead_pixels_do_not_move_a_frame(
    exposure: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    moved, _ = drift(exposure, 0.2, rng)
    valid = (torch.rand(SIDE, SIDE, dtype=torch.float64, generator=rng) > 0.2).double()
    masked = replace(moved, valid=valid)
    spoilt = replace(masked, amplitude=torch.where(valid > 0, masked.amplitude, 500.0))

    torch.testing.assert_close(gauss_newton_moves(spoilt, obj, probe)[0], gauss_newton_moves(masked, obj, probe)[0])
    torch.testing.assert_close(misfit_at(spoilt, obj, probe, HERE), misfit_at(masked, obj, probe, HERE))


def test_the_spread_of_a_move_is_that_of_noisy_frames(
    exposure: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    """Moves that noise alone makes at exact positions have the variance that the frames themselves tell."""
    counts = torch.poisson(exposure.amplitude.square().repeat(10, 1, 1), generator=rng)
    noisy = ScanFrames(counts.sqrt(), exposure.corners.repeat(10, 1), exposure.shifts.repeat(10, 1), exposure.shape)

    moves, variance = gauss_newton_moves(noisy, obj, probe)

    assert float(moves.square().sum(1).mean() / variance.mean()) == pytest.approx(1.0, abs=0.25)
