"""Positions of frames: the misfit of moved frames, and the Gauss-Newton move that reduces it."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from ptycho_cli.physics import position_update
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
def frames(obj: Tensor, probe: Tensor, rng: torch.Generator) -> ScanFrames:
    corners = torch.randint(8, 24, (40, 2), generator=rng)
    shifts = torch.rand(40, 2, dtype=torch.float64, generator=rng) - 0.5
    blank = ScanFrames(torch.zeros(40, SIDE, SIDE, dtype=torch.float64), corners, shifts, (CANVAS, CANVAS))
    return replace(blank, amplitude=expected_rate(blank, obj, probe).sqrt())


def displaced(frames: ScanFrames, by_px: float, rng: torch.Generator) -> tuple[ScanFrames, Tensor]:
    error = by_px * torch.randn(frames.shifts.shape, dtype=torch.float64, generator=rng)
    return replace(frames, shifts=frames.shifts + error), error


def test_the_misfit_vanishes_at_the_true_position_alone(
    frames: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    """Positions are wrong by whole pixels."""
    error = torch.randint(-2, 3, (40, 2), generator=rng)
    moved = replace(frames, corners=frames.corners + error)
    reach = torch.arange(-2, 3)

    misfit = misfit_at(moved, obj, probe, torch.cartesian_prod(reach, reach))

    assert misfit.shape == (40, 25)
    assert torch.equal(torch.cartesian_prod(reach, reach)[misfit.argmin(1)], -error)
    assert float(misfit.min(1).values.max()) < 1e-3 * float(misfit.median())


def test_the_misfit_of_large_frames_is_found_in_parts(
    frames: ScanFrames, obj: Tensor, probe: Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    moves = torch.cartesian_prod(torch.arange(-2, 3), torch.arange(-2, 3))
    whole = misfit_at(frames, obj, probe, moves)
    monkeypatch.setattr(position_update, "WAVES_AT_ONCE", 7 * probe.numel())

    torch.testing.assert_close(misfit_at(frames, obj, probe, moves), whole)


def test_gauss_newton_converges_to_the_true_positions(
    frames: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    moved, error = displaced(frames, 0.15, rng)

    for _ in range(4):
        moved = replace(moved, shifts=moved.shifts + gauss_newton_moves(moved, obj, probe)[0])

    assert float((moved.shifts - frames.shifts).norm(dim=1).median()) < 0.01 * float(error.norm(dim=1).median())
    assert float(gauss_newton_moves(frames, obj, probe)[0].abs().max()) < 1e-9


def test_gauss_newton_descends_the_misfit(frames: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator) -> None:
    """The derivative of the misfit along the move, by finite differences, is negative for every frame."""
    moved, _ = displaced(frames, 0.1, rng)
    step, _ = gauss_newton_moves(moved, obj, probe)
    small = 1e-4

    def misfit(by: float) -> Tensor:
        return misfit_at(replace(moved, shifts=moved.shifts + by * step), obj, probe, HERE)[:, 0]

    change, start = (misfit(small) - misfit(-small)) / (2 * small), misfit(0.0)
    assert bool((change < 0).all())
    # Near the truth the misfit is a parabola and the step leads to its minimum: the slope is twice the height.
    torch.testing.assert_close((change / start).median(), torch.tensor(-2.0, dtype=torch.float64), rtol=0.1, atol=0)


def test_invalid_pixels_do_not_move_a_frame(
    frames: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    moved, _ = displaced(frames, 0.2, rng)
    valid = (torch.rand(SIDE, SIDE, dtype=torch.float64, generator=rng) > 0.2).double()
    masked = replace(moved, valid=valid)
    spoilt = replace(masked, amplitude=torch.where(valid > 0, masked.amplitude, 500.0))

    torch.testing.assert_close(gauss_newton_moves(spoilt, obj, probe)[0], gauss_newton_moves(masked, obj, probe)[0])
    torch.testing.assert_close(misfit_at(spoilt, obj, probe, HERE), misfit_at(masked, obj, probe, HERE))


def test_the_variance_of_a_move_is_that_of_noisy_frames(
    frames: ScanFrames, obj: Tensor, probe: Tensor, rng: torch.Generator
) -> None:
    """At exact positions noise alone causes moves, with the variance that is computed from the frames."""
    counts = torch.poisson(frames.amplitude.square().repeat(10, 1, 1), generator=rng)
    noisy = ScanFrames(counts.sqrt(), frames.corners.repeat(10, 1), frames.shifts.repeat(10, 1), frames.shape)

    moves, variance = gauss_newton_moves(noisy, obj, probe)

    assert float(moves.square().sum(1).mean() / variance.mean()) == pytest.approx(1.0, abs=0.25)
