"""Simulated scans: exact physics, honest noise, one seed one scan; and files that give back what was written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from ptycho_cli.cli.app import main
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import PATTERNS, read_probe, simulate, zone_plate_probe
from ptycho_cli.data.write import read_reconstruction, write_reconstruction, write_scan
from ptycho_cli.errors import DataError, OutputError
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.forward import rates
from ptycho_cli.physics.likelihood import poisson_deviance


def expected_counts(scan: Scan) -> np.ndarray:
    """The forward model at the truth."""
    assert scan.truth is not None
    assert scan.probe is not None
    assert scan.truth_origin_px is not None
    corners, shifts = split_positions(scan.positions_px, scan.n_pixels)
    corners = corners - np.array(scan.truth_origin_px, dtype=np.int64)
    arrays = (scan.truth.astype(np.complex128), scan.probe.astype(np.complex128), corners, shifts)
    return rates(*(torch.from_numpy(array) for array in arrays)).numpy()


@pytest.mark.parametrize("object_kind", ["siemens", "texture", "weak"])
def test_counts_are_poisson_about_the_forward_model_at_the_truth(object_kind: str) -> None:
    """The variance of counts about the true rate is the rate: chi squared per pixel is 1 within 3 sigma."""
    scan = simulate(n_frames=25, n_pixels=32, photons=1e6, object_kind=object_kind, seed=5)
    expected = expected_counts(scan)
    bright = expected > 20

    chi_squared = (scan.counts[bright] - expected[bright]) ** 2 / expected[bright]
    # the variance of (k - m)^2 / m is 2 + 1 / m
    assert chi_squared.mean() == pytest.approx(1.0, abs=3 * np.sqrt(2.05 / bright.sum()))


def test_positions_have_sub_pixel_parts_and_every_patch_lies_on_the_truth() -> None:
    for pattern in PATTERNS:
        scan = simulate(n_frames=30, n_pixels=16, pattern=pattern)

        assert np.abs(scan.positions_px % 1 - 0.5).std() > 0.1
        assert expected_counts(scan).shape == scan.counts.shape  # cutting outside the truth would raise


def test_the_probe_has_the_photons_asked_for_and_stays_off_the_edge_of_its_frame() -> None:
    probe = zone_plate_probe(64, 1e6)
    intensity = np.abs(probe) ** 2
    edge = intensity.sum() - intensity[4:-4, 4:-4].sum()

    assert intensity.sum() == pytest.approx(1e6)
    assert edge < 2e-3 * intensity.sum()


def test_the_seed_and_nothing_else_decides() -> None:
    first, again, other = (simulate(n_frames=9, n_pixels=16, seed=seed) for seed in (1, 1, 2))

    np.testing.assert_array_equal(first.counts, again.counts)
    np.testing.assert_array_equal(first.truth, again.truth)
    assert not np.array_equal(first.positions_px, other.positions_px)


@pytest.mark.parametrize(
    ("argument", "line"),
    [
        ({"n_pixels": 17}, "even number"),
        ({"photons": 0.0}, r"from 1 to 1e\+15"),
        ({"object_kind": "cat"}, "expected one of siemens"),
        ({"step_px": -1.0}, "positive number"),
    ],
)
def test_an_impossible_simulation_is_refused(argument: dict[str, float], line: str) -> None:
    with pytest.raises(DataError, match=line):
        simulate(**argument)  # type: ignore[arg-type]


def test_a_written_scan_is_read_back_exactly_with_its_truth_and_without_assumptions(tmp_path: Path) -> None:
    scan = simulate(n_frames=9, n_pixels=16, photons=1e7)
    scan.mask[3, 4] = False
    scan.counts[:, 3, 4] = 0
    write_scan(tmp_path / "scan.h5", scan)
    back = read_scan(tmp_path / "scan.h5")

    for name in ("counts", "positions_px", "mask", "probe", "truth"):
        stored, found = getattr(scan, name), getattr(back, name)
        np.testing.assert_array_equal(found, stored)
        assert found.dtype == stored.dtype
    for name in ("truth_origin_px", "object_pixel_m", "wavelength_m", "near_field"):
        assert getattr(back, name) == getattr(scan, name)
    assert back.assumptions == ()


def make_result(pixel_m: float | None) -> Reconstruction:
    rng = np.random.default_rng(0)
    image = (rng.standard_normal((20, 24)) + 1j).astype(np.complex64)
    return Reconstruction(
        object=image,
        probe=np.ones((2, 8, 8), np.complex64),
        positions_px=rng.uniform(-5, 5, (7, 2)),
        coverage=np.abs(image).astype(np.float32),
        object_origin_px=(-10.0, -12.0),
        frame_residual=np.arange(7, dtype=np.float32),
        object_pixel_m=pixel_m,
        wavelength_m=1e-10,
        run_record={"config": {"training": {"epochs": 3}}},
    )


@pytest.mark.parametrize("pixel_m", [None, 1e-8])
def test_a_written_reconstruction_is_read_back_and_has_the_layout_of_a_product(
    tmp_path: Path, pixel_m: float | None
) -> None:
    result = make_result(pixel_m)
    write_reconstruction(tmp_path / "r.h5", result)
    back = read_reconstruction(tmp_path / "r.h5")

    for name in ("object", "probe", "positions_px", "coverage", "frame_residual"):
        np.testing.assert_array_equal(getattr(back, name), getattr(result, name))
    for name in ("object_origin_px", "object_pixel_m", "wavelength_m", "run_record"):
        assert getattr(back, name) == getattr(result, name)
    with h5py.File(tmp_path / "r.h5") as file:
        assert file["object"].shape == (1, 20, 24)
        assert file["probe"].shape == (1, 2, 8, 8)
        unit, factor = ("px", 1.0) if pixel_m is None else ("m", pixel_m)
        np.testing.assert_allclose(file[f"probe_position_x_{unit}"][()], result.positions_px[:, 1] * factor)
        assert file["object"].attrs.get("pixel_width_m") == pixel_m
        assert file.attrs["photon_energy_eV"] == file.attrs["probe_energy_eV"] == pytest.approx(12398.4, rel=1e-5)
        assert file.attrs["detector_object_distance_m"] == 0.0, "unknown"


def test_a_scan_keeps_its_distance_which_its_product_states(tmp_path: Path) -> None:
    scan = replace(simulate(n_frames=9, n_pixels=16), wavelength_m=1e-10, distance_m=2.5)
    write_scan(tmp_path / "scan.h5", scan)
    assert read_scan(tmp_path / "scan.h5").distance_m == 2.5

    write_reconstruction(tmp_path / "r.h5", replace(make_result(1e-8), distance_m=2.5))
    assert read_reconstruction(tmp_path / "r.h5").distance_m == 2.5
    with h5py.File(tmp_path / "r.h5") as file:
        assert file.attrs["detector_object_distance_m"] == 2.5


def test_nothing_is_overwritten_unless_forced_and_no_half_file_is_left(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "r.h5"
    write_reconstruction(path, make_result(None))
    before = path.read_bytes()

    with pytest.raises(OutputError, match="exists already") as refused:
        write_reconstruction(path, make_result(1e-8))
    assert "in Python force=True" in (refused.value.hint or "")
    with pytest.raises(OutputError, match="this is a folder"):
        write_reconstruction(path.parent, make_result(1e-8), force=True)
    broken = Reconstruction(**{**vars(make_result(None)), "run_record": {"unserialisable": object()}})
    with pytest.raises(TypeError):
        write_reconstruction(path, broken, force=True)

    assert path.read_bytes() == before
    assert [entry.name for entry in path.parent.iterdir()] == ["r.h5"]
    write_reconstruction(path, make_result(1e-8), force=True)
    assert read_reconstruction(path).object_pixel_m == 1e-8


def test_an_unwritable_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")

    with pytest.raises(OutputError, match="cannot be written"):
        write_reconstruction(tmp_path / "file" / "r.h5", make_result(None))


def test_another_file_is_not_taken_for_a_reconstruction(tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.h5", simulate(n_frames=4, n_pixels=16))

    with pytest.raises(DataError, match="not a reconstruction"):
        read_reconstruction(tmp_path / "scan.h5")


def test_the_probe_of_a_scan_a_reconstruction_or_a_run_is_simulated_with(tmp_path: Path) -> None:
    """Scaled to the photons, with its pixel size; and the frames are those that it makes."""
    rng = np.random.default_rng(0)
    measured = simulate(n_frames=4, n_pixels=32, seed=1)
    assert measured.probe is not None
    modes = np.stack([measured.probe[0], 0.3 * np.roll(measured.probe[0], 3, axis=0)]).astype(np.complex64)
    scan = replace(measured, probe=modes, object_pixel_m=3e-9, wavelength_m=2e-12)
    write_scan(tmp_path / "scan.h5", scan)
    obj, coverage = np.ones((60, 60), np.complex64), np.ones((60, 60), np.float32)
    found = Reconstruction(obj, modes, scan.positions_px, coverage, (0, 0))
    (tmp_path / "run").mkdir()
    write_reconstruction(tmp_path / "run" / "reconstruction.h5", replace(found, object_pixel_m=3e-9))

    for place in ("scan.h5", "run", "run/reconstruction.h5"):
        source = read_probe(tmp_path / place)
        made = simulate(n_frames=30, n_pixels=32, photons=7e4, measured_probe=source, seed=int(rng.integers(99)))

        assert made.object_pixel_m == 3e-9
        assert made.probe is not None
        assert np.sum(np.abs(made.probe) ** 2) == pytest.approx(7e4, rel=1e-5)
        ratio = made.probe / modes
        np.testing.assert_allclose(ratio[np.abs(modes) > 1], ratio[0, 16, 16], rtol=1e-4)
        rate = torch.from_numpy(expected_counts(made)).float()
        assert float(poisson_deviance(torch.from_numpy(made.counts), rate).mean()) < 0.6


def test_a_probe_that_is_not_there_or_of_another_size_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_scan(tmp_path / "scan.h5", simulate(n_frames=4, n_pixels=32))
    write_scan(tmp_path / "bare.h5", replace(simulate(n_frames=4, n_pixels=32), probe=None))
    words = ["simulate", "-o", str(tmp_path / "out.h5"), "--frames", "9", "--probe-from"]

    assert main([*words, str(tmp_path / "scan.h5"), "--size", "64"]) == 2
    assert "the probe in" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "bare.h5")]) == 2
    assert "no probe in the file" in capsys.readouterr().err
    assert main([*words, str(tmp_path / "nothing.h5")]) == 2
    assert not (tmp_path / "out.h5").exists()
    assert main([*words, str(tmp_path / "scan.h5"), "--quiet"]) == 0
    assert read_scan(tmp_path / "out.h5").n_pixels == 32
