"""Laws of probe modes: a unitary combination changes nothing that can be measured, and modes are orthogonal."""

from __future__ import annotations

import pytest
import torch

from ptycho_cli.data.simulation import zone_plate_probe
from ptycho_cli.physics.modes import orthogonal_modes, with_modes
from ptycho_cli.physics.propagation import intensity


def random_modes(count: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(count)
    return torch.randn(count, 8, 8, dtype=torch.complex128, generator=generator)


def overlaps(probe: torch.Tensor) -> torch.Tensor:
    """Scalar products of all modes, relative to all photons."""
    flat = probe.flatten(1)
    return (flat @ flat.mH).abs() / probe.abs().square().sum()


def shares(probe: torch.Tensor) -> list[float]:
    """Share of the photons in each mode."""
    found: list[float] = overlaps(probe).diagonal().tolist()
    return found


@pytest.mark.parametrize("count", [2, 3, 7])
def test_orthogonal_modes_change_neither_frames_nor_the_mutual_intensity(count: int) -> None:
    probe = random_modes(count)
    probe[1] = 0.3 * probe[0] + 0.1 * probe[1]

    made = orthogonal_modes(probe)

    off = overlaps(made) - torch.diag(overlaps(made).diagonal())
    assert float(off.max()) < 1e-12
    assert shares(made) == sorted(shares(made), reverse=True)
    mutual, before = (torch.einsum("ma,mb->ab", each.flatten(1), each.flatten(1).conj()) for each in (made, probe))
    torch.testing.assert_close(mutual, before)
    obj = random_modes(1)[0]
    torch.testing.assert_close(intensity(torch.fft.fft2(made * obj)), intensity(torch.fft.fft2(probe * obj)))


def test_modes_that_are_orthogonal_and_sorted_stay_as_they_are() -> None:
    made = orthogonal_modes(random_modes(3))

    torch.testing.assert_close(orthogonal_modes(made), made)
    assert torch.equal(orthogonal_modes(made[:1]), made[:1])


def test_a_mode_without_photons_stays_without_photons() -> None:
    probe = torch.cat([random_modes(2), torch.zeros(1, 8, 8, dtype=torch.complex128)])

    made = orthogonal_modes(probe)

    assert torch.isfinite(torch.view_as_real(made)).all()
    assert shares(made)[2] == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("count", [2, 3, 16])
def test_added_modes_are_weak_and_orthogonal_and_take_their_photons_from_the_others(count: int) -> None:
    probe = torch.from_numpy(zone_plate_probe(32, 1e6)).to(torch.complex64)[None]

    made = with_modes(probe, count)

    assert made.shape == (count, 32, 32)
    assert float(made.abs().square().sum()) == pytest.approx(float(probe.abs().square().sum()), rel=1e-5)
    assert sum(shares(made)[1:]) == pytest.approx(0.03, rel=1e-4)
    assert float((overlaps(made) - torch.diag(overlaps(made).diagonal())).abs().max()) < 1e-6


def test_the_strongest_modes_are_kept() -> None:
    probe = orthogonal_modes(random_modes(3))
    mixed = torch.linalg.qr(random_modes(3)[:, 0, :3])[0] @ probe.flatten(1)

    made = with_modes(mixed.reshape(probe.shape), 2)

    assert float(made.abs().square().sum()) == pytest.approx(float(probe.abs().square().sum()))
    torch.testing.assert_close(made.abs() / made.abs().max(), probe[:2].abs() / probe[:2].abs().max())
