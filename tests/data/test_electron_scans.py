"""Electron scans from settings and files: every setting ends at wavelength, pixel, positions or probe."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.electron_optics import aperture_probe, electron_wavelength_m
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import DataError

SMALL = ("--preset", "electron", "--frames", "64", "--size", "32", "--defocus-m", "4e-9")
WAVELENGTH_M = electron_wavelength_m(80.0)
PIXEL_M = WAVELENGTH_M / (32 * 3.25e-3)
STEP_PX = 0.5e-10 / PIXEL_M


@pytest.fixture(scope="module")
def simulated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The scan of the preset in this program's layout."""
    path = tmp_path_factory.mktemp("native") / "scan.h5"
    assert main(["simulate", *SMALL, "-o", str(path), "--quiet"]) == 0
    return path


@pytest.fixture(scope="module")
def bare(simulated: Path) -> Path:
    """The frames alone, as a 4-D raster."""
    path = simulated.parent / "bare.h5"
    with h5py.File(simulated) as scan, h5py.File(path, "w") as file:
        file["data"] = scan["counts"][()].reshape(8, 8, 32, 32)
    return path


def converted(path: Path, *settings: str) -> Scan:
    """The scan that ``ptycho data convert`` makes of a file with settings."""
    out = path.parent / "converted.h5"
    words = [word for setting in settings for word in ("--set", setting)]
    assert main(["data", "convert", str(path), "-o", str(out), "--force", "--quiet", *words]) == 0
    return read_scan(out)


def likeness(one: np.ndarray, other: np.ndarray) -> float:
    return float(abs(np.vdot(one, other)) / np.linalg.norm(one) / np.linalg.norm(other))


ALL = ("data.voltage_kv=80", "data.angle_per_pixel_mrad=3.25", "data.scan_step_m=0.5e-10")


def test_voltage_angle_and_step_make_a_scan_of_a_bare_raster(simulated: Path, bare: Path) -> None:
    scan, truth = converted(bare, *ALL), read_scan(simulated)

    assert scan.wavelength_m == pytest.approx(4.1757e-12, rel=1e-4)
    assert scan.object_pixel_m == pytest.approx(PIXEL_M)
    assert scan.radiation == truth.radiation == "electron"
    np.testing.assert_allclose(scan.positions_px, truth.positions_px - truth.positions_px[0], atol=1e-9)
    np.testing.assert_array_equal(scan.counts, truth.counts)
    assert scan.probe is None


@pytest.mark.parametrize(
    ("settings", "wavelength_m", "pixel_m"),
    [
        (("data.voltage_kv=300",), 1.9687e-12, 1.9687e-12 / (32 * 3.25e-3)),
        (("data.radiation=electron", "data.energy_ev=200e3"), 2.5079e-12, 2.5079e-12 / (32 * 3.25e-3)),
        (("data.radiation=xray", "data.energy_ev=12398.4"), 1e-10, 1e-10 / (32 * 3.25e-3)),
        (("data.wavelength_m=3e-12",), 3e-12, 3e-12 / (32 * 3.25e-3)),
    ],
)
def test_radiation_and_voltage_decide_the_wavelength(
    bare: Path, settings: tuple[str, ...], wavelength_m: float, pixel_m: float
) -> None:
    scan = converted(bare, *settings, "data.angle_per_pixel_mrad=3.25", f"data.scan_step_m={2 * pixel_m}")

    assert scan.wavelength_m == pytest.approx(wavelength_m, rel=1e-4)
    assert scan.object_pixel_m == pytest.approx(pixel_m, rel=1e-4)


@pytest.mark.parametrize("name", ["scan/cube.h5", "cube.npz"])
def test_a_raster_of_another_name_is_found(bare: Path, tmp_path: Path, name: str) -> None:
    with h5py.File(bare) as file:
        frames = file["data"][()]
    numbers = {"voltage_kV": 80.0, "angle_per_pixel_mrad": 3.25, "step_A": 0.5}
    path = tmp_path / Path(name).name
    if path.suffix == ".npz":
        np.savez(path, stem=frames, **numbers)
    else:
        with h5py.File(path, "w") as file:
            file["scan/stem"] = frames
            file["scan"].attrs.update(numbers)

    assert read_scan(path).object_pixel_m == pytest.approx(PIXEL_M)


def test_a_number_that_replaces_the_files_is_told(bare: Path) -> None:
    path = bare.parent / "stated.h5"
    with h5py.File(bare) as file, h5py.File(path, "w") as other:
        other["data"] = file["data"][()]
        other["voltage_kv"], other["angle_per_pixel_mrad"], other["scan_step_angstrom"] = 80.0, 3.25, 0.5

    step = read_scan(path, ReadOptions(scan_step_m=1e-10)).assumptions
    assert "a step of 1e-10 m (data.scan_step_m) replaces the step in the file." in step
    same, changed = (read_scan(path, ReadOptions(voltage_kv=voltage)).assumptions for voltage in (80.0, 60.0))
    assert not any("in place of" in line for line in same)
    assert "data.voltage_kv is 60, in place of 80 in the file." in changed


def test_a_reciprocal_pixel_needs_no_voltage(bare: Path) -> None:
    reciprocal = 1e-10 / (32 * PIXEL_M)
    scan = converted(bare, f"data.reciprocal_pixel_per_angstrom={reciprocal}", "data.scan_step_m=0.5e-10")

    assert scan.object_pixel_m == pytest.approx(PIXEL_M)
    assert scan.wavelength_m is None


def test_bins_and_crops_keep_the_relation_of_angle_and_pixel(bare: Path) -> None:
    """Binned pixels are as fine as before, for they cover the same angle; a cropped detector makes them coarser."""
    assert converted(bare, *ALL, "data.bin=2").object_pixel_m == pytest.approx(PIXEL_M)
    assert converted(bare, *ALL, "data.crop_px=24").object_pixel_m == pytest.approx(PIXEL_M * 32 / 24)


def test_the_raster_has_the_shape_that_is_set_and_turns(tmp_path: Path, simulated: Path) -> None:
    with h5py.File(simulated) as scan, h5py.File(tmp_path / "stack.h5", "w") as file:
        file["data"] = scan["counts"][()]
    path = tmp_path / "stack.h5"

    wide = converted(path, *ALL, "data.scan_shape=4,16").positions_px
    np.testing.assert_allclose(wide[17] - wide[0], [STEP_PX, STEP_PX])
    assert np.ptp(wide, axis=0) == pytest.approx([3 * STEP_PX, 15 * STEP_PX])
    square = converted(path, *ALL).positions_px
    assert np.ptp(square, axis=0) == pytest.approx([7 * STEP_PX, 7 * STEP_PX])
    turned = converted(path, *ALL, "data.scan_rotation_deg=90").positions_px
    np.testing.assert_allclose(turned[8] - turned[0], [0, STEP_PX], atol=1e-9)


@pytest.mark.parametrize(
    ("shape", "says"), [("5,5", "no raster of 5 x 5"), ("8", "rows,columns"), ("0,64", "rows,columns")]
)
def test_a_raster_that_does_not_fit_is_refused(
    tmp_path: Path, simulated: Path, shape: str, says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with h5py.File(simulated) as scan, h5py.File(tmp_path / "stack.h5", "w") as file:
        file["data"] = scan["counts"][()]
    words = [word for setting in (*ALL, f"data.scan_shape={shape}") for word in ("--set", setting)]

    assert main(["data", "check", str(tmp_path / "stack.h5"), *words]) == 2
    assert says in " ".join(capsys.readouterr().err.split())


def test_a_raster_without_a_step_is_refused_with_the_setting(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(bare), "--voltage-kv", "80"]) == 2

    assert "data.scan_step_m" in " ".join(capsys.readouterr().err.split())


def test_the_first_frames_of_a_raster_keep_their_places(bare: Path) -> None:
    some, full = converted(bare, *ALL, "data.max_frames=20"), converted(bare, *ALL)

    np.testing.assert_array_equal(some.counts, full.counts[:20])
    np.testing.assert_allclose(some.positions_px, full.positions_px[:20])


def test_semi_angle_defocus_and_aberration_make_the_probe(simulated: Path, bare: Path) -> None:
    asked = ("probe.semi_angle_mrad=30", "probe.defocus_m=4e-9")
    scan, truth = converted(bare, *ALL, *asked), read_scan(simulated)
    aberrated = converted(bare, *ALL, *asked, "probe.cs_m=5e-6")
    assert scan.probe is not None
    assert truth.probe is not None
    assert aberrated.probe is not None

    assert likeness(scan.probe, truth.probe) == pytest.approx(1.0, abs=1e-6)
    expected = aperture_probe(32, PIXEL_M, WAVELENGTH_M, 30.0, 4e-9, 5e-6)
    assert likeness(aberrated.probe[0], expected) == pytest.approx(1.0, abs=1e-6)
    assert likeness(scan.probe, aberrated.probe) < 0.95
    assert np.sum(np.abs(scan.probe) ** 2) == pytest.approx(scan.counts.sum(axis=(1, 2)).mean(), rel=1e-3)


def test_the_probe_that_is_asked_for_replaces_the_files(simulated: Path) -> None:
    scan = converted(simulated, "data.voltage_kv=80", "probe.semi_angle_mrad=30", "probe.defocus_m=-4e-9")
    before = read_scan(simulated).probe
    assert scan.probe is not None
    assert before is not None

    np.testing.assert_allclose(scan.probe / np.abs(scan.probe).max(), np.conj(before) / np.abs(before).max(), atol=1e-5)


def test_a_probe_that_cannot_be_computed_says_what_is_missing(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data", "check", str(bare), "--scan-step-m", "0.5e-10", "--object-pixel-m", "4e-11",
                 "--semi-angle-mrad", "30"]) == 2  # fmt: skip
    assert "data.voltage_kv" in capsys.readouterr().err


def test_the_bright_disc_gives_the_angle_where_only_the_semi_angle_is_known(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scan.h5"
    assert main(["simulate", "--preset", "electron", "--frames", "64", "--layout", "electron", "-o", str(path)]) == 0
    with h5py.File(path, "a") as file:
        del file["calibration/angle_per_pixel"]
    scan = read_scan(path)

    assert scan.object_pixel_m == pytest.approx(WAVELENGTH_M / (64 * 3.25e-3), rel=0.03)
    assert any("from the semi-angle of 30 mrad and the radius of the bright disc" in line for line in scan.assumptions)


def test_an_electron_file_needs_no_flag(simulated: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = simulated.parent / "electron.h5"
    assert main(["simulate", *SMALL, "-o", str(path), "--layout", "electron", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["data", "check", str(path), "--json"]) == 0
    report: dict[str, Any] = json.loads(capsys.readouterr().out)
    assert [item for item in report["findings"] if item["severity"] != "note"] == []
    assert report["summary"]["radiation"] == "electron"

    scan, truth = read_scan(path), read_scan(simulated)
    assert scan.object_pixel_m == pytest.approx(PIXEL_M)
    assert scan.probe is not None
    assert truth.probe is not None
    assert truth.truth_origin_px is not None
    assert likeness(scan.probe, truth.probe) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_array_equal(scan.counts, truth.counts)
    offset = np.array(truth.truth_origin_px) - truth.positions_px[0]
    np.testing.assert_allclose(scan.truth_origin_px, offset)
    with pytest.raises(DataError, match="a raster of 8 x 8 frames, but data"):
        read_scan(path, ReadOptions(scan_shape="4,16"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--voltage-kv", "80"), "Add --preset electron"),
        (("--layout", "electron"), "Add --preset electron"),
        (("--object", "atoms"), "--preset electron"),
        (("--preset", "electron", "--layout", "electron", "--scan", "fermat"), "regular grid"),
        (("--preset", "electron", "--layout", "electron", "--frames", "60"), "Use 64 frames"),
        (("--preset", "electron", "--semi-angle-mrad", "500"), "expected 1 to 32"),
        (("--preset", "electron", "--defocus-m", "1e-6"), "wide on the object"),
        (("--preset", "electron", "--voltage-kv", "-1"), "positive"),
    ],
)
def test_simulations_that_make_no_sense_are_refused(
    words: tuple[str, ...], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["simulate", "-o", str(tmp_path / "no.h5"), *words]) == 2
    assert says in " ".join(capsys.readouterr().err.split())
    assert not (tmp_path / "no.h5").exists()


def test_settings_that_contradict_each_other_are_refused(bare: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for pair, says in (
        (("data.voltage_kv=80", "data.energy_ev=8e3"), "each of them fixes the wavelength"),
        (("data.voltage_kv=80", "data.radiation=xray"), "voltage of electrons"),
        (("data.angle_per_pixel_mrad=3", "data.reciprocal_pixel_per_angstrom=0.1"), "fixes the object pixel"),
        (("data.angle_per_pixel_mrad=3", "data.distance_m=1"), "fixes the angle"),
    ):
        words = [word for setting in pair for word in ("--set", setting)]
        assert main(["data", "check", str(bare), *words]) == 2
        assert says in " ".join(capsys.readouterr().err.split())
