"""Exported reconstructions: other programs find the arrays, the pixel size and the place in the scan."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

from ptycho_cli.cli.app import main
from ptycho_cli.data.exports.export_formats import export_format, format_names
from ptycho_cli.data.exports.export_result import export
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.write import write_reconstruction
from ptycho_cli.errors import DataError, OutputError

PIXEL_M = 1e-8


def make_result() -> Reconstruction:
    """An object whose phase climbs by 12 rad over the covered part; its rim is noise."""
    rng = np.random.default_rng(0)
    phase = np.linspace(0, 12, 48)[None, :] + 0.3 * rng.standard_normal((40, 1)).cumsum(axis=0)
    coverage = np.zeros((40, 48), np.float32)
    coverage[4:-4, 4:-4] = 100
    noise = rng.uniform(-np.pi, np.pi, (40, 48))
    amplitude = rng.uniform(0.8, 1.0, (40, 48))
    return Reconstruction(
        object=(amplitude * np.exp(1j * np.where(coverage > 0, phase, noise))).astype(np.complex64),
        probe=(rng.standard_normal((2, 16, 16)) + 1j).astype(np.complex64),
        positions_px=rng.uniform(-12, 12, (7, 2)),
        coverage=coverage,
        object_origin_px=(-20.0, -24.0),
        object_pixel_m=PIXEL_M,
        wavelength_m=1e-10,
        distance_m=2.0,
        stored_frames=np.arange(3, 10),
    )


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    write_reconstruction(tmp_path / "run" / "reconstruction.h5", make_result())
    return tmp_path / "run" / "reconstruction.h5"


def test_tiff_holds_the_values_and_the_pixel_size_where_other_programs_look(tmp_path: Path) -> None:
    result = make_result()
    files = export(result, "tiff", tmp_path / "out")

    assert {file.name for file in files} == {file.name for file in (tmp_path / "out").iterdir()}
    expected = {"object_amplitude": np.abs(result.object), "probe_phase": np.angle(result.probe)}
    for name, values in expected.items():
        with tifffile.TiffFile(tmp_path / "out" / f"{name}.tif") as file:
            np.testing.assert_array_equal(file.asarray(), values)
            assert file.imagej_metadata is not None
            assert file.imagej_metadata["unit"] == "cm"  # of ImageJ, which shows micrometres
            assert f"object_pixel_m = {PIXEL_M}" in file.imagej_metadata["Info"]
        with Image.open(tmp_path / "out" / f"{name}.tif") as image:
            assert 0.0254 / float(image.info["dpi"][0]) == pytest.approx(PIXEL_M)


def test_positions_are_a_table_with_the_number_of_each_frame_in_its_file(tmp_path: Path) -> None:
    result = make_result()
    export(result, "png", tmp_path / "out")
    with (tmp_path / "out" / "positions.csv").open() as file:
        rows = list(csv.DictReader(file))

    assert [int(row["frame"]) for row in rows] == list(range(3, 10))
    np.testing.assert_allclose([float(row["scan_x_m"]) for row in rows], result.positions_px[:, 1] * PIXEL_M)
    np.testing.assert_allclose([float(row["object_y_px"]) for row in rows], result.positions_px[:, 0] + 20)


def test_png_has_the_scale_of_its_grey_levels_and_the_pixel_size(tmp_path: Path) -> None:
    result = make_result()
    export(result, "png", tmp_path / "out")

    with Image.open(tmp_path / "out" / "object_amplitude.png") as image:
        grey, info = np.asarray(image).astype(float), image.info
    black, white = float(info["black"]), float(info["white"])
    found, true = black + grey / 65535 * (white - black), np.abs(result.object)
    inside = (true > black) & (true < white)
    assert inside.mean() > 0.95
    np.testing.assert_allclose(found[inside], true[inside], atol=(white - black) / 65535)
    assert 0.0254 / info["dpi"][0] == pytest.approx(PIXEL_M)
    assert (tmp_path / "out" / "probe_phase_2.png").exists()


@pytest.mark.parametrize("pixel_m", [None, 2e-11])
def test_images_need_no_pixel_size_and_bear_any(tmp_path: Path, pixel_m: float | None) -> None:
    """The chunk of PNG for it holds no picometres; the text does."""
    for format in ("png", "tiff"):
        export(replace(make_result(), object_pixel_m=pixel_m), format, tmp_path / format)
    with Image.open(tmp_path / "png" / "coverage.png") as image:
        assert "dpi" not in image.info
        assert image.info.get("object_pixel_m") == (None if pixel_m is None else "2e-11")


def test_an_unwrapped_phase_climbs_by_all_of_it_and_is_0_where_nothing_is_known(tmp_path: Path) -> None:
    export(make_result(), "tiff", tmp_path / "wrapped")
    export(make_result(), "tiff", tmp_path / "out", unwrap=True)
    wrapped, found = (tifffile.imread(tmp_path / name / "object_phase.tif") for name in ("wrapped", "out"))

    assert np.ptp(wrapped) < 2 * np.pi
    inside = found[4:-4, 4:-4]
    np.testing.assert_allclose(np.diff(inside, axis=1), 12 / 47, atol=1e-4)
    np.testing.assert_allclose(np.angle(np.exp(1j * (inside - wrapped[4:-4, 4:-4]))), 0, atol=1e-4)
    assert not found[:4].any()


def test_npz_holds_complex_arrays_and_numbers_by_name(tmp_path: Path) -> None:
    result = make_result()
    export(result, "npz", tmp_path / "r.npz", unwrap=True)

    with np.load(tmp_path / "r.npz") as arrays:
        for name in ("object", "probe", "positions_px", "coverage"):
            np.testing.assert_array_equal(arrays[name], getattr(result, name))
        np.testing.assert_allclose(arrays["positions_m"], result.positions_px * PIXEL_M)
        assert float(arrays["object_pixel_m"]) == PIXEL_M
        assert "object_phase" in arrays


def test_cxi_has_both_images_in_metres_and_the_positions_of_a_sample_that_moves(tmp_path: Path) -> None:
    result = make_result()
    export(result, "cxi", tmp_path / "r.cxi")

    with h5py.File(tmp_path / "r.cxi") as file:
        entry = file["entry_1"]
        np.testing.assert_array_equal(entry["object/data"][0], result.object)
        np.testing.assert_array_equal(entry["instrument_1/source_1/illumination"], result.probe)
        np.testing.assert_allclose(entry["image_2/image_size"][()], [48 * PIXEL_M, 40 * PIXEL_M, 0])
        np.testing.assert_allclose(entry["data_1/translation"][()][:, [1, 0]], result.positions_px * PIXEL_M)
        assert entry["instrument_1/source_1/energy"][()] == pytest.approx(1.98644586e-15)  # joules
        assert entry["ptychodus/object_center_x_m"][()] == pytest.approx(0.0)


def test_a_product_is_the_same_as_hdf5_and_npz(tmp_path: Path) -> None:
    for suffix in ("h5", "npz"):
        export(make_result(), "ptychodus", tmp_path / f"r.{suffix}")

    with h5py.File(tmp_path / "r.h5") as file, np.load(tmp_path / "r.npz") as arrays:
        assert "ptycho_cli" not in file
        assert arrays["object_pixel_width_m"] == file["object"].attrs["pixel_width_m"] == PIXEL_M
        assert arrays["photon_energy_eV"] == file.attrs["photon_energy_eV"]
        for name in file:
            np.testing.assert_array_equal(arrays[name], file[name])


@pytest.mark.parametrize("format", ["cxi", "ptychodus"])
def test_a_format_of_metres_is_refused_without_a_pixel_size(tmp_path: Path, format: str) -> None:
    target = tmp_path / f"r{export_format(format).suffixes[0]}"
    with pytest.raises(DataError, match="pixel is unknown"):
        export(replace(make_result(), object_pixel_m=None), format, target)
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_exported_beside_itself_and_by_the_suffix(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in format_names():
        assert main(["export", str(stored.parent), "--to", name, "--json"]) == 0
        files = [Path(file) for file in json.loads(capsys.readouterr().out)["files"]]
        assert files
        assert all(file.is_file() and stored.parent in file.parents for file in files)
    assert main(["export", str(stored), "-o", str(tmp_path / "o.npz")]) == 0
    assert np.load(tmp_path / "o.npz")["object"].shape == (40, 48)


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (["RESULT"], "--to: no format, expected one of cxi, npz, png, ptychodus, tiff."),
        (["RESULT", "--to", "tif"], "Did you mean tiff"),
        (["RESULT", "--to", "cxi", "-o", "OUT/a.h5"], "expected a name that ends in .cxi"),
        (["RESULT", "--to", "tiff", "-o", "OUT/a.tif"], "expected the name of a folder"),
        (["RESULT", "--to", "png", "-o", "OUT/a.npz"], "expected the name of a folder"),
        (["RESULT", "--to", "cxi", "--unwrap"], "--unwrap has no effect on cxi"),
        (["OUT", "--to", "npz"], "reconstruction.h5"),
        (["RESULT", "--to", "npz", "-o", "OUT/there.npz"], "exists already"),
        (["RESULT", "--to", "png", "-o", "OUT"], "not empty"),
        (["OUT/there.npz", "--to", "npz", "-o", "OUT/b.npz"], "not a reconstruction"),
        ([str(Path(__file__)), "--to", "npz", "-o", "OUT/b.npz"], "not a reconstruction"),
    ],
)
def test_mistakes_are_one_line_and_leave_nothing(
    stored: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], line: str
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    np.savez(out / "there.npz", x=np.zeros(3))

    assert main(["export", *(word.replace("RESULT", str(stored)).replace("OUT", str(out)) for word in words)]) == 2

    assert line in " ".join(capsys.readouterr().err.split())
    assert [file.name for file in out.iterdir()] == ["there.npz"]
    assert [file.name for file in stored.parent.iterdir()] == ["reconstruction.h5"]


def test_force_replaces_files_of_its_names_and_leaves_others(tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    (folder / "mine.txt").write_text("keep")
    with pytest.raises(OutputError, match="not empty"):
        export(make_result(), "png", folder)

    export(make_result(), "png", folder, force=True)
    export(make_result(), "png", folder, force=True)

    assert (folder / "mine.txt").read_text() == "keep"
    assert (folder / "coverage.png").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_every_format_has_its_row_on_the_page() -> None:
    page = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
    assert [name for name in format_names() if f"| `{name}` |" not in page] == []
