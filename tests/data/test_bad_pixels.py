"""Hot and dead pixels: found where they are, and no good pixel with them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.bad_pixels import find_bad_pixels
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.simulated_imperfections import Imperfections
from ptycho_cli.data.simulation import MeasuredProbe, simulate
from ptycho_cli.data.write import write_scan


def places(pixels: np.ndarray) -> set[tuple[int, int]]:
    return {(y, x) for y, x in np.argwhere(pixels).tolist()}


@pytest.mark.parametrize("photons", [1e4, 1e6])
def test_hot_stuck_and_dead_pixels_are_found_and_no_others(photons: float) -> None:
    """Three hot ones in contact, in the dark; one stuck and two dead ones amid light."""
    scan = simulate(n_frames=100, n_pixels=32, photons=photons, seed=1)
    counts, rng = scan.counts.copy(), np.random.default_rng(0)
    hot, dead = {(2, 3), (2, 4), (3, 3)}, {(14, 12), (19, 21)}
    for y, x in hot:
        counts[:, y, x] += rng.poisson(photons / 1e3, len(counts))
    for y, x in dead:
        counts[:, y, x] = 0
    counts[:, 12, 18] = 3

    found = find_bad_pixels(counts, scan.mask)

    assert places(found.hot) == hot | {(12, 18)}
    assert places(found.dead) == dead


@pytest.mark.parametrize("photons", [1e2, 1e4, 1e6, 1e9])
@pytest.mark.parametrize("object_kind", ["siemens", "texture", "weak"])
def test_no_good_pixel_is_lost_at_any_dose(object_kind: str, photons: float) -> None:
    """Also where most pixels count nothing, and whole rows by chance."""
    for n_pixels, n_frames in ((32, 100), (16, 25)):
        scan = simulate(n_frames=n_frames, n_pixels=n_pixels, photons=photons, object_kind=object_kind, seed=3)

        found = find_bad_pixels(scan.counts, scan.mask)

        assert not found.hot.any()
        assert not found.dead.any()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("dead", [np.s_[:12], np.s_[:, 27:], np.s_[:20, :16], np.s_[:17]], ids=str)
def test_a_dead_part_at_the_edge_of_the_detector_is_found_and_the_fading_of_light_is_not(dead: Any, seed: int) -> None:
    scan = simulate(n_frames=100, n_pixels=40, photons=1e5, seed=seed)
    counts = scan.counts.copy()
    counts[:, *(dead if isinstance(dead, tuple) else (dead,))] = 0
    expected = np.zeros_like(scan.mask)
    expected[dead] = True

    found = find_bad_pixels(counts, scan.mask)

    np.testing.assert_array_equal(found.dead[expected], True)
    assert found.dead[~expected].sum() <= 3  # of the pixels beside it, which may be dark by chance
    assert not find_bad_pixels(scan.counts, scan.mask).dead.any()


def test_a_sharp_bright_field_disc_is_not_cut_off() -> None:
    """Electrons that an aperture lets pass, and nothing beside it; also a pixel off the middle."""
    rows = np.arange(48) - 24
    for middle in (0.0, 0.5, 1.0):
        disc = np.hypot(rows[:, None] - middle, rows) <= 9
        counts = np.random.default_rng(0).poisson(np.where(disc, 40.0, 0.0), (64, 48, 48)).astype(np.float64)

        assert not find_bad_pixels(counts, np.ones((48, 48), np.bool_)).dead.any()


def test_the_direct_beam_of_a_wide_pinhole_is_no_hot_pixel() -> None:
    """Of a weak object under a flat probe as wide as the frame, most light is in one pixel; also off the middle."""
    rows = np.arange(64) - 32
    pinhole = 1 / (1 + np.exp((np.hypot(rows[:, None], rows) - 28) / 2)) + 0j
    scan = simulate(
        n_frames=49, photons=1e6, object_kind="weak", measured_probe=MeasuredProbe(pinhole[None]), step_px=4
    )
    beam = scan.counts.mean(0)
    assert beam[32, 32] > 4 * beam[32, 33]

    for moved in ((0, 0), (10, 7)):
        assert not find_bad_pixels(np.roll(scan.counts, moved, (1, 2)), scan.mask).hot.any()


def test_a_flash_in_one_frame_and_the_edge_of_a_beam_stop_are_left_alone() -> None:
    scan = simulate(n_frames=64, n_pixels=32, photons=1e6, object_kind="texture", seed=2)
    counts = scan.counts.copy()
    counts[5, 3, 3] = 1e6
    rows = np.arange(32) - 16
    counts[:, np.hypot(rows[:, None], rows) < 5.5] = 0

    found = find_bad_pixels(counts, scan.mask)

    assert not found.hot.any()
    assert not found.dead.any()


def test_measured_scans_lose_what_is_hot_and_nothing_else(measured: Path) -> None:
    """The one counts 14 photons a frame, evenly, among neighbours that count 0.3; the others none among thousands."""
    for name in ("siemens_star/siemens_star_small.npz", "star64/star64_train1024_1e6.npz", "star64/star64_low_1e4.npz"):
        assert read_scan(measured / name).mask.all()
    truncated = read_scan(measured / "aps_26id_235" / "test235_truncated.npz", ReadOptions(object_pixel_m=1e-8))
    pixels = {finding.id: finding.pixels for finding in truncated.findings}
    assert pixels["pixels-hot"] == ((114, 331),)
    assert len(pixels["pixels-dead"]) == 14
    assert pixels["pixels-dead"][0] == (215, 194)


@pytest.mark.long
def test_the_places_are_told_as_stored_and_the_search_can_be_turned_off(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = simulate(n_frames=100, n_pixels=32, photons=1e6, seed=1)
    counts = scan.counts.copy()
    counts[:, 2, 3] += 1000
    counts[:, 14, 12] = 0
    write_scan(tmp_path / "scan.h5", replace(scan, counts=counts))
    corner = np.fft.ifftshift(counts, axes=(1, 2))
    np.savez(tmp_path / "corner.npz", diffraction=corner, scan_yx_px=scan.positions_px)

    assert main(["data", "check", str(tmp_path / "scan.h5")]) == 0
    out = capsys.readouterr().out
    assert "fixed     1 hot pixel masked (row, column): (2, 3)." in out
    assert "fixed     1 dead pixel masked (row, column): (14, 12)." in out
    assert "pixels-hot: --set data.mask_bad_pixels=false" in out
    assert main(["data", "check", str(tmp_path / "corner.npz")]) == 0
    out = capsys.readouterr().out
    assert "1 hot pixel masked (row, column): (18, 19)." in out
    assert "1 dead pixel masked (row, column): (30, 28)." in out
    assert main(["data", "check", str(tmp_path / "scan.h5"), "--keep-bad-pixels"]) == 0
    assert "masked" not in capsys.readouterr().out
    kept = read_scan(tmp_path / "scan.h5", ReadOptions(mask_bad_pixels=False))
    np.testing.assert_array_equal(kept.counts, counts)


def test_a_simulated_scan_has_the_defects_asked_for_and_the_same_object(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clean = simulate(n_frames=100, n_pixels=32, photons=1e6, seed=4)
    made = tmp_path / "made.h5"
    more = ["--intensity-jitter", "0.1", "--background", "2", "--hot-pixels", "3", "--dead-pixels", "2"]
    assert main(["simulate", "-o", str(made), "--frames", "100", "--size", "32", "--seed", "4", *more]) == 0
    scan = read_scan(made)

    assert scan.assumptions == ()
    assert [(finding.id, len(finding.pixels)) for finding in scan.findings] == [("pixels-hot", 3), ("pixels-dead", 2)]
    np.testing.assert_array_equal(scan.truth, clean.truth)
    photons = [np.where(scan.mask, s.counts, 0).sum((1, 2)) for s in (scan, clean)]
    factors = Imperfections(0.1).intensities(100, 4)
    assert np.log(factors).mean() == pytest.approx(0, abs=1e-12)
    assert np.log(factors).std() == pytest.approx(0.1, rel=0.2)
    # photons of a frame scatter by a few times 1e-3
    np.testing.assert_allclose(photons[0] - 2 * scan.mask.sum(), photons[1] * factors, rtol=0.01)
    assert main(["simulate", "-o", str(tmp_path / "no.h5"), "--background", "-1"]) == 2
    assert "a background of -1 photons, expected 0 to 1e9" in capsys.readouterr().err
