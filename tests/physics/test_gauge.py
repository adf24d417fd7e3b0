"""The gauge of probe and object: what drifts if it is free, and that fixing it changes no frame. Initial probes."""

import math

import pytest
import torch
from torch import Tensor

from ptycho_cli.physics import pie
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.gauge import MAX_DRIFT, centre_of_mass, drift, fix_gauge
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.physics.probe import defocus_candidates, initial_probe
from ptycho_cli.physics.propagation import intensity, propagate

SIDE = 32


def spot(defocus: float = 0.0) -> Tensor:
    """A defocused probe with a soft disc as far field, complex ``(1, y, x)``, 1e5 photons."""
    q = torch.fft.fftshift(torch.fft.fftfreq(SIDE, dtype=torch.float64))
    pattern = 1 / (1 + torch.exp((torch.hypot(q[:, None], q) - 0.2) / 0.01))
    return initial_probe(pattern * (1e5 / pattern.sum()), defocus)


@pytest.fixture
def frames() -> ScanFrames:
    rng = torch.Generator().manual_seed(2)
    y, x = torch.meshgrid(torch.arange(72.0), torch.arange(72.0), indexing="ij")
    obj = torch.exp(0.8j * (torch.sin(y / 3) * torch.cos(x / 4)).double())
    corners = torch.randint(4, 36, (150, 2), generator=rng)
    shifts = torch.rand(150, 2, dtype=torch.float64, generator=rng) - 0.5
    blank = ScanFrames(torch.zeros(150, SIDE, SIDE, dtype=torch.float64), corners, shifts, (72, 72))
    return ScanFrames(expected_rate(blank, obj, spot(20.0)).sqrt(), corners, shifts, (72, 72))


def test_fixing_the_gauge_changes_no_frame(frames: ScanFrames) -> None:
    """Factor and shift go from the probe to the object; every rate stays the same."""
    obj = torch.ones(72, 72, dtype=torch.complex128)
    obj[30:40, 33:41] = 1j
    step = torch.arange(SIDE, dtype=torch.float64) - SIDE // 2
    inside = torch.exp(-(step[:, None] ** 2 + step**2) / 12 + 0.4j * step)[None] * 30
    stray = 1.3 * inside.roll((3, -4), (-2, -1))

    fixed_obj, fixed = fix_gauge(obj, stray, 1e5, drift(stray, centre_of_mass(inside)))

    assert float(intensity(fixed).sum()) == pytest.approx(1e5)
    assert float((centre_of_mass(fixed) - centre_of_mass(inside)).abs().max()) < MAX_DRIFT * SIDE
    # The tolerance is the part of the probe's tail that the edge of the frame cuts off.
    torch.testing.assert_close(
        expected_rate(frames, fixed_obj, fixed), expected_rate(frames, obj, stray), rtol=0, atol=0.01
    )


def test_photons_of_the_probe_drift_to_the_object_unless_they_are_fixed(
    frames: ScanFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The initial defocus is wrong, so the fit changes the probe."""
    rough = spot(14.0)

    def photons() -> float:
        vacuum = torch.ones(72, 72, dtype=torch.complex128)
        _, probe = run_pie(frames, vacuum, rough, iterations=8, update=ObjectUpdate(0.3), probe_step=1.0)
        return float(intensity(probe).sum() / intensity(rough).sum())

    kept = photons()
    monkeypatch.setattr(pie, "fix_gauge", lambda obj, probe, *_: (obj, probe))
    drifted = photons()

    assert kept == pytest.approx(1.0, rel=1e-9)
    assert abs(drifted - 1) > 0.01


def test_a_drifted_probe_stays_there_unless_its_gauge_is_fixed(
    frames: ScanFrames, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The initial probe is moved by (4, -3) px. An object moved with it explains the frames equally well."""
    centre = centre_of_mass(spot(20.0))
    monkeypatch.setattr(pie, "centre_of_mass", lambda probe: centre)
    vacuum = torch.ones(72, 72, dtype=torch.complex128)

    def distance_px() -> float:
        _, probe = run_pie(
            frames, vacuum, spot(20.0).roll((4, -3), (-2, -1)), iterations=8, update=ObjectUpdate(0.3), probe_step=1.0
        )
        return float((centre_of_mass(probe) - centre).norm())

    fixed = distance_px()
    monkeypatch.setattr(pie, "fix_gauge", lambda obj, probe, *_: (obj, probe))
    free = distance_px()

    assert fixed < math.sqrt(2) * MAX_DRIFT * SIDE
    assert free > 4


def test_a_probe_that_is_not_finite_is_not_moved() -> None:
    assert drift(torch.full_like(spot(), float("nan")), centre_of_mass(spot())) == (0, 0)


def test_the_frames_fix_the_phase_plane_of_the_probe(frames: ScanFrames) -> None:
    """A plane moves the far field by 1.5 detector pixels, which the frames contradict, so it is no gauge freedom."""
    cycles = 1.5 * torch.arange(SIDE, dtype=torch.float64) / SIDE
    tilted = spot(20.0) * torch.polar(torch.ones_like(cycles), 2 * math.pi * cycles)
    vacuum = torch.ones(72, 72, dtype=torch.complex128)

    def moved_px(probe: Tensor) -> float:
        return float((centre_of_mass(propagate(probe)) - centre_of_mass(propagate(spot(20.0)))).norm())

    _, left = run_pie(frames, vacuum, tilted, iterations=8, update=ObjectUpdate(0.3), probe_step=1.0)

    assert moved_px(tilted) == pytest.approx(1.5, abs=0.01)
    assert moved_px(left) < 0.1


def test_defocus_changes_the_probe_but_not_its_far_field_intensity() -> None:
    sharp, wide = spot(), spot(30.0)

    torch.testing.assert_close(propagate(wide).abs(), propagate(sharp).abs())
    assert float(intensity(wide).max()) < 0.2 * float(intensity(sharp).max())


def test_defocus_candidates_are_dense_and_reach_probes_that_fill_the_frame() -> None:
    """Every defocus is within 0.75 rad, at the rms frequency, of a candidate."""
    pattern = propagate(spot()).abs().square()[0]
    q = torch.fft.fftshift(torch.fft.fftfreq(SIDE, dtype=torch.float64))
    spread = math.sqrt(float((pattern * (q[:, None] ** 2 + q**2)).sum() / pattern.sum()))

    found = defocus_candidates(pattern)

    assert 0.0 in found
    assert found == [-d for d in reversed(found)]
    assert math.pi * (found[1] - found[0]) * spread**2 == pytest.approx(1.5)
    assert 0.2 * SIDE < found[-1] * spread < 0.35 * SIDE
