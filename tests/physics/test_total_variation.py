"""The total-variation prior: its gradient, and what it keeps of an object where masked gaps take light."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.inference.results import result_of, scores
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.physics.polish import polish_object
from ptycho_cli.physics.total_variation import SMALL_DIFFERENCE, TotalVariation


def test_the_gradient_is_that_of_the_length_of_the_gradient_of_the_object() -> None:
    obj = torch.randn(2, 5, 6, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    obj.requires_grad_()
    weight = torch.rand(5, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    down = torch.diff(obj, dim=-2, append=obj[:, -1:])
    right = torch.diff(obj, dim=-1, append=obj[..., -1:])
    value = (weight * torch.sqrt(down.abs() ** 2 + right.abs() ** 2 + SMALL_DIFFERENCE**2)).sum()

    (twice,) = torch.autograd.grad(value, obj)  # torch returns twice the derivative in the conjugate

    torch.testing.assert_close(TotalVariation(weight).gradient(obj.detach()), twice / 2)


def test_no_gradient_is_steeper_than_the_curvature() -> None:
    """A checkerboard of small differences is the steepest object."""
    board = torch.ones(8, 8, dtype=torch.complex128)
    board[::2, 1::2] = board[1::2, ::2] = -1
    weight = torch.rand(8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    weight[4:, 4:] = 0
    prior = TotalVariation(weight)

    slope = (prior.gradient(1e-6 * board) / (1e-6 * board)).real

    inside = slice(1, -1), slice(1, -1)
    torch.testing.assert_close(slope[inside], prior.curvature[inside])
    assert (slope <= prior.curvature * (1 + 1e-9)).all()


def test_with_the_prior_masked_gaps_that_take_light_cost_less_than_a_decibel_and_a_half() -> None:
    good = simulate(n_frames=64, n_pixels=32, photons=1e6, object_kind="siemens", seed=6)
    mask = good.mask.copy()
    mask[7:9], mask[:, 7:9] = False, False
    gaps = replace(good, mask=mask, counts=good.counts * mask)

    without, with_prior = (_snr(gaps, tv_weight) for tv_weight in (0.0, 0.05))

    assert with_prior > without + 1
    assert with_prior > _snr(good, 0.0) - 1.5


@pytest.mark.parametrize("photons", [1e5, 1e7])
def test_the_same_weight_suits_few_photons_and_many(photons: float) -> None:
    scan = simulate(n_frames=64, n_pixels=32, photons=photons, object_kind="siemens", seed=6)

    weak, right, strong = (_snr(scan, tv_weight) for tv_weight in (0.01, 0.14, 1.0))

    assert right > weak + 0.5
    assert right > strong + 3


def _snr(scan: Scan, tv_weight: float) -> float:
    """SNR in dB of physics alone with the true probe."""
    assert scan.probe is not None
    frames, probe, alpha = scan_frames(scan, dtype=torch.float32), torch.from_numpy(scan.probe), auto_alpha(scan)
    start, _ = run_pie(frames, frames.vacuum(), probe, update=ObjectUpdate(4 * alpha), iterations=24, momentum=0.8)
    obj = polish_object(frames, start, probe, update=ObjectUpdate(alpha), iterations=32, tv_weight=tv_weight)
    return float(scores(result_of(frames, scan, obj, probe), scan)["complex_snr_db"])
