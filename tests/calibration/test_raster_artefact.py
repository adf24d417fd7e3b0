"""The pattern that repeats with a regular raster, which probe and object can exchange."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from ptycho_cli.calibration import probe_rounds
from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.probe_refinement import refine_probe
from ptycho_cli.calibration.raster_artefact import remove_raster_artefact
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.data import simulation
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import raster_steps_px
from ptycho_cli.inference.results import coverage_of
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.polish import polish_object
from ptycho_cli.registration import align

STEP_PX = 6.0


def grid(n_frames: int, step_px: float, rng: np.random.Generator) -> np.ndarray:
    side = int(np.sqrt(n_frames))
    return np.stack(np.divmod(np.arange(n_frames), side), axis=1) * step_px


def scan_on(pattern: str, monkeypatch: pytest.MonkeyPatch, object_kind: str = "texture") -> Scan:
    monkeypatch.setitem(simulation.PATTERNS, "grid", grid)
    return simulation.simulate(
        n_frames=144, n_pixels=32, photons=1e6, object_kind=object_kind, pattern=pattern, step_px=STEP_PX, seed=2
    )


def harmonics(scan: Scan, probe: Tensor) -> tuple[float, float]:
    """Relative error of the object at the frequencies of the raster up to the second, and halfway between them."""
    exposure = scan_frames(scan, dtype=torch.float32)
    obj = polish_object(
        exposure,
        torch.ones(exposure.shape, dtype=torch.complex64),
        probe,
        iterations=16,
        update=ObjectUpdate(auto_alpha(scan)),
    )
    assert scan.truth is not None
    found = align(obj.numpy(), scan.truth, coverage=coverage_of(exposure, probe).numpy())
    rows, columns = np.nonzero(found.covered)
    inside = (slice(rows.min() + 6, rows.max() - 5), slice(columns.min() + 6, columns.max() - 5))
    truth, error = found.reference[inside], (found.object - found.reference)[inside]
    window = np.hanning(truth.shape[0])[:, None] * np.hanning(truth.shape[1])
    y, x = (np.arange(side) / STEP_PX for side in truth.shape)

    def size(ky: float, kx: float) -> float:
        wave = np.exp(-2j * np.pi * ky * y)[:, None] * np.exp(-2j * np.pi * kx * x)
        return float(np.abs(np.sum(window * truth.conj() * error * wave)) / np.sum(window * np.abs(truth) ** 2))

    both = [(a, b) for a in range(-2, 3) for b in range(-2, 3) if (a, b) != (0, 0)]
    at, between = ([size(a + off, b + off) for a, b in both] for off in (0.0, 0.5))
    return float(np.linalg.norm(at)), float(np.linalg.norm(between))


def refined(scan: Scan) -> Tensor:
    unknown = replace(scan, probe=None)
    return refine_probe(
        unknown,
        np.arange(0, 144, 20),
        "auto",
        update=ObjectUpdate(auto_alpha(scan)),
        seed=0,
        dtype=torch.float32,
        modes=1,
    ).probe


def test_a_regular_raster_leaves_its_period_in_the_object_where_it_is_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """From no probe; the jittered scan has no more at those frequencies than between them."""
    scan, jittered = scan_on("grid", monkeypatch), scan_on("raster", monkeypatch)

    held, between = harmonics(scan, refined(scan))
    never, _ = harmonics(jittered, refined(jittered))
    monkeypatch.setattr(probe_rounds, "remove_raster_artefact", lambda *_: None)
    free, _ = harmonics(scan, refined(scan))

    assert free > 6 * between
    assert held < 0.5 * free
    assert never < 2 * between


def test_a_probe_settled_on_a_raster_changes_no_frame(monkeypatch: pytest.MonkeyPatch) -> None:
    """A known pattern is given to the object, and taken back in part; the light of all frames stays."""
    scan = scan_on("grid", monkeypatch, "weak")
    assert scan.truth is not None
    assert scan.probe is not None
    exposure = scan_frames(scan, dtype=torch.float64)
    probe = torch.from_numpy(scan.probe).to(torch.complex128)
    obj = torch.from_numpy(scan.truth[2:-2, 2:-2]).to(torch.complex128)
    y, x = ((torch.arange(side) - exposure.corners.min()) / STEP_PX for side in exposure.shape)
    ripple = (0.1 * torch.cos(2 * torch.pi * y)[:, None] + 0.1j * torch.cos(2 * torch.pi * x)).exp()
    # the raster's steps are whole pixels, so every frame cuts the same pattern
    corner = int(exposure.corners[0, 0]), int(exposure.corners[0, 1])
    given = probe / ripple[corner[0] : corner[0] + 32, corner[1] : corner[1] + 32]

    reduced = remove_raster_artefact(exposure, obj * ripple, given)

    assert reduced is not None
    before, after = expected_rate(exposure, obj * ripple, given), expected_rate(exposure, *reduced[:2])
    torch.testing.assert_close(after, before, rtol=0, atol=1e-6 * float(before.max()))
    assert float((reduced[0] / obj).abs().std()) < 0.25 * float(ripple.abs().std())


@pytest.mark.parametrize("staggered", [False, True])
def test_a_raster_is_told_from_its_positions(staggered: bool) -> None:
    """Tilted, staggered, with places left out and in any order; not one that is jittered."""
    rng = np.random.default_rng(3)
    turn = np.array([[np.cos(0.2), np.sin(0.2)], [-np.sin(0.2), np.cos(0.2)]])
    steps = np.array([[5.0, 2.5 * staggered], [0.0, 5.0]]) @ turn
    numbers = np.stack(np.divmod(rng.permutation(400)[:360], 20), axis=1)
    positions = numbers @ steps + rng.normal(0, 0.02, (360, 2))

    found = raster_steps_px(positions)

    assert found is not None
    np.testing.assert_allclose(np.abs(np.linalg.det(found)), 25.0, rtol=1e-3)
    whole = steps @ np.linalg.inv(found)
    np.testing.assert_allclose(whole, np.rint(whole), atol=1e-3)
    assert raster_steps_px(positions + rng.normal(0, 0.3, (360, 2))) is None
    assert raster_steps_px(positions[:5]) is None
