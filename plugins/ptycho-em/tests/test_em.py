"""Files of electron microscopes are read with frames, raster and calibrations; damaged ones are refused in one line."""

from __future__ import annotations

import gc
import json
import pickle
import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from ptycho_em import READERS

from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.source import opened_source
from ptycho_cli.errors import DataError
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.extend.reader_conformance import ReaderConformance

FORMATS = Path(__file__).parents[3] / "tests" / "data" / "formats"
sys.path.insert(0, str(FORMATS))

import small_scan as scan  # noqa: E402 - the scan that the files of that folder hold

COUNTS = scan.counts()
WITH_CALIBRATIONS = ("nionswift.dm3", "nionswift.dm4", "nionswift_detector_first.dm4", "hyperspy.blo")
WITHOUT = ("hyperspy_000.tvips", "mrcfile.mrc")
OBJECT_PIXEL_M = scan.ELECTRON_WAVELENGTH_M / (scan.SIZE * 1e-3 * scan.ANGLE_MRAD)
SET = ReadOptions(
    voltage_kv=80, angle_per_pixel_mrad=scan.ANGLE_MRAD, scan_step_m=1e-9 * scan.STEP_NM, mask_bad_pixels=False
)
RASTER = ReadOptions(**{**vars(SET), "scan_shape": f"{scan.ROWS},{scan.COLUMNS}"})


def read(path: Path, options: ReadOptions = ReadOptions(mask_bad_pixels=False)) -> Any:  # noqa: B008 - frozen
    return read_scan(path, options, load_plugins().readers)


def empad(folder: Path, *, xml: str | None = None, name: str = "scan_x5_y4.raw") -> Path:
    """Frames of 130 x 128 float32, whose last two rows are no data, and their description."""
    stored = np.full((scan.N_FRAMES, 130, 128), -7e9, "<f4")
    stored[:, :128] = np.kron(COUNTS.reshape(-1, 16, 16), np.ones((8, 8)))
    stored.tofile(folder / name)
    field = scan.STEP_NM * 1e-9 * scan.COLUMNS
    description = f"""<?xml version="1.0" ?>
<root><raw_file filename="{name}" /><pix_x>{scan.COLUMNS}</pix_x><pix_y>{scan.ROWS}</pix_y>
<iom_measurements><calibrated_pixelsize>{1e-9 * scan.RECIPROCAL_PER_NM / 8}</calibrated_pixelsize>
<optics.get_full_scan_field_of_view>{(field * 4 / 5, field)}</optics.get_full_scan_field_of_view></iom_measurements>
</root>"""
    (folder / "scan.xml").write_text(xml or description)
    return folder / "scan.xml"


def merlin(folder: Path, *, columns: int = scan.COLUMNS, n_frames: int = scan.N_FRAMES, kind: str = "U16") -> Path:
    """Frames with a header of 384 bytes each, rows from the bottom upwards, big-endian."""
    path = folder / "scan.mib"
    with path.open("wb") as file:
        for number, frame in enumerate(COUNTS.reshape(-1, 16, 16)[:n_frames]):
            head = f"MQ1,{number + 1:06d},00384,01,0016,0016,{kind},   1x1,01,2020-01-18 16:51:49.97,0.000555,0,0,0,1"
            tail = ",MQ1A,2020-01-18T16:51:49.971626178Z,555000ns,6,"
            file.write((head + ",0" * 40 + tail).ljust(384, "\0").encode())
            file.write(frame[::-1].astype(">u2").tobytes())
    lines = [f"Frames in Acquisition (Number):\t{scan.N_FRAMES}", f"Frames per Trigger (Number):\t{columns}"]
    path.with_suffix(".hdr").write_text("\n".join(["HDR,", *lines, "End\t"]))
    return path


def velox(folder: Path) -> Path:
    """A series of images of a camera; Velox stores ``(y, x, frame)``, and JSON in columns of bytes."""
    pixel = str(1e9 * scan.RECIPROCAL_PER_NM)
    metadata = {
        "BinaryResult": {
            "PixelSize": {"width": pixel, "height": pixel}, "PixelUnitX": "1/m", "PixelUnitY": "1/m",
            "Offset": {"x": "0", "y": "0"}, "Detector": "BM-Ceta",
        },
        "Acquisition": {"AcquisitionStartDatetime": {"DateTime": "1500000000"}},
        "Optics": {"AccelerationVoltage": "80000", "CameraLength": "0.23"},
        "Detectors": {"Detector-0": {"DetectorName": "BM-Ceta"}},
        "Scan": {"FrameTime": "1.0", "ScanRotation": "0.2"},
        "Core": {}, "Instrument": {}, "CustomProperties": {},
    }  # fmt: skip
    operation = {"dataPath": "/Data/Image/0123", "cameraName": "BM-Ceta", "cameraInstrument": "TEM"}
    column = np.frombuffer(json.dumps(metadata).encode(), np.uint8)[:, None]
    with h5py.File(folder / "velox.emd", "w") as file:
        file["Version"] = [json.dumps({"format": "Velox", "version": "1.0"}).encode()]
        frames = np.moveaxis(COUNTS.reshape(-1, 16, 16), 0, -1)
        file.create_dataset("Data/Image/0123/Data", data=frames, chunks=(16, 16, 1))
        file["Data/Image/0123/Metadata"] = np.repeat(column, scan.N_FRAMES, axis=1)
        file["Operations/CameraInputOperation/0"] = [json.dumps(operation).encode()]
    return folder / "velox.emd"


class TestDigitalMicrograph(ReaderConformance):
    entry = READERS["DigitalMicrograph"]
    files = (FORMATS / "nionswift.dm3", FORMATS / "nionswift.dm4")


class TestBlockfile(ReaderConformance):
    entry = READERS["Blockfile"]
    files = (FORMATS / "hyperspy.blo",)


class TestTVIPS(ReaderConformance):
    entry = READERS["TVIPS"]
    files = (FORMATS / "hyperspy_000.tvips",)
    options = RASTER
    self_contained = False


class TestMRC(ReaderConformance):
    entry = READERS["MRC"]
    files = (FORMATS / "mrcfile.mrc",)
    options = RASTER


class TestMerlin(ReaderConformance):
    entry = READERS["Merlin"]
    options = SET

    def scan_files(self, folder: Path) -> Sequence[Path]:
        return [merlin(folder)]


class TestVelox(ReaderConformance):
    entry = READERS["Velox"]
    options = RASTER

    def scan_files(self, folder: Path) -> Sequence[Path]:
        return [velox(folder)]


class TestEMPAD(ReaderConformance):
    entry = READERS["EMPAD"]
    options = SET
    self_contained = False

    def scan_files(self, folder: Path) -> Sequence[Path]:
        return [empad(folder), folder / "scan_x5_y4.raw"]


@pytest.mark.parametrize("name", WITH_CALIBRATIONS)
def test_calibrations_in_the_file_need_no_setting(name: str) -> None:
    found = read(FORMATS / name)

    np.testing.assert_array_equal(found.counts, COUNTS.reshape(-1, 16, 16))
    assert found.wavelength_m == pytest.approx(scan.ELECTRON_WAVELENGTH_M, rel=1e-5)
    assert found.object_pixel_m == pytest.approx(OBJECT_PIXEL_M, rel=1e-3)
    step_px = found.positions_px[scan.COLUMNS] - found.positions_px[0]
    np.testing.assert_allclose(step_px, [0.05e-9 / OBJECT_PIXEL_M, 0], rtol=1e-3)
    assert any(item.id == "key-unused" and "= 12" in item.message for item in found.findings)  # the rotation


@pytest.mark.parametrize("name", WITHOUT)
def test_formats_without_a_raster_need_its_shape_and_step(name: str) -> None:
    with pytest.raises(DataError, match=r"no positions in it.*20 frames") as error:
        read(FORMATS / name)

    assert "data.scan_step_m" in str(error.value.hint)
    np.testing.assert_array_equal(read(FORMATS / name, RASTER).counts, COUNTS.reshape(-1, 16, 16))


def test_frames_before_the_scan_are_left_out(tmp_path: Path) -> None:
    stored = (FORMATS / "hyperspy_000.tvips").read_bytes()
    record = (len(stored) - 256) // scan.N_FRAMES
    before = bytearray(stored[256 : 256 + record])
    before[48:52] = bytes(4)  # number 0 of the scan generator
    path = tmp_path / "scan_000.tvips"
    path.write_bytes(stored[:256] + bytes(before) * 3 + stored[256:])

    found = read(path, RASTER)

    np.testing.assert_array_equal(found.counts, COUNTS.reshape(-1, 16, 16))
    assert any("first 3 frames" in line for line in found.assumptions)


def test_merlin_frames_are_turned_and_rows_follow_the_trigger(tmp_path: Path) -> None:
    found = read(merlin(tmp_path), SET)

    np.testing.assert_array_equal(found.counts, COUNTS.reshape(-1, 16, 16))
    assert any("a raster of 4 x 5 frames" in line for line in found.assumptions)
    assert any("data.frame_transform" in line for line in found.assumptions)


def test_a_series_of_velox_has_voltage_and_pixel(tmp_path: Path) -> None:
    found = read(velox(tmp_path), ReadOptions(scan_step_m=5e-11, scan_shape="4,5", mask_bad_pixels=False))

    np.testing.assert_array_equal(found.counts, COUNTS.reshape(-1, 16, 16))
    assert found.object_pixel_m == pytest.approx(OBJECT_PIXEL_M, rel=1e-5)


def test_an_interrupted_merlin_scan_keeps_its_complete_rows(tmp_path: Path) -> None:
    found = read(merlin(tmp_path, n_frames=17), SET)

    assert len(found.counts) == 15
    assert any("17 of 20 frames" in line for line in found.assumptions)


def test_a_given_shape_replaces_that_of_the_trigger(tmp_path: Path) -> None:
    found = read(merlin(tmp_path), ReadOptions(**{**vars(SET), "scan_shape": "5,4"}))

    assert any("a raster of 5 x 4 frames" in line for line in found.assumptions)


@pytest.mark.parametrize("by", ["xml", "raw"])
def test_empad_is_read_from_either_of_its_files(by: str, tmp_path: Path) -> None:
    xml = empad(tmp_path)
    path = xml if by == "xml" else tmp_path / "scan_x5_y4.raw"
    found = read(path, ReadOptions(voltage_kv=80, mask_bad_pixels=False))

    assert found.counts.shape == (20, 128, 128)
    np.testing.assert_array_equal(found.counts[:, ::8, ::8], COUNTS.reshape(-1, 16, 16))
    assert found.object_pixel_m == pytest.approx(OBJECT_PIXEL_M, rel=1e-5)
    steps = found.positions_px[[1, scan.COLUMNS]] - found.positions_px[0]
    np.testing.assert_allclose(steps[::-1], np.eye(2) * 0.05e-9 / OBJECT_PIXEL_M, rtol=1e-5, atol=1e-9)


def test_empad_frames_alone_take_the_raster_from_their_name(tmp_path: Path) -> None:
    xml = empad(tmp_path)
    xml.unlink()
    path = tmp_path / "scan_x5_y4.raw"
    assert read(path, SET).counts.shape == (20, 128, 128)

    with pytest.raises(DataError, match="raster of 4 x 5 frames, but neither positions nor the step"):
        read(path)
    wrong = path.rename(tmp_path / "scan_x5_y5.raw")
    with pytest.raises(DataError, match="20 frames of EMPAD, but its name says 5 rows of 5"):
        read(wrong)


def test_empad_frames_are_taken_from_the_folder_of_the_xml_alone(tmp_path: Path) -> None:
    xml = empad(tmp_path)
    xml.write_text(xml.read_text().replace("scan_x5_y4.raw", "../other.raw"))
    with pytest.raises(DataError, match="expected a file beside it"):
        read(xml)
    xml.write_text(xml.read_text().replace("../other.raw", "other.raw"))
    with pytest.raises(DataError, match=r"other\.raw, which is not there"):
        read(xml)


@pytest.mark.filterwarnings("ignore:unclosed file", "ignore::pytest.PytestUnraisableExceptionWarning")  # the library's
@pytest.mark.parametrize("name", [*WITH_CALIBRATIONS, *WITHOUT])
@pytest.mark.parametrize("keep", [0.02, 0.1, 0.9])
def test_a_cut_off_file_is_refused_in_one_line(name: str, keep: float, tmp_path: Path) -> None:
    stored = (FORMATS / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(stored[: int(keep * len(stored))])

    with pytest.raises(DataError) as error:
        read(path, RASTER)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)
    del error
    gc.collect()  # here, where the file that the library leaves open may be found


def test_a_cut_off_merlin_header_is_refused_in_one_line(tmp_path: Path) -> None:
    path = merlin(tmp_path)
    path.write_bytes(path.read_bytes()[:100])

    with pytest.raises(DataError, match=r"damaged, incomplete or of an unknown version.*Merlin"):
        read(path, SET)


def test_a_file_of_one_image_is_refused_with_its_shape(tmp_path: Path) -> None:
    path = tmp_path / "image.mrc"
    stored = bytearray((FORMATS / "mrcfile.mrc").read_bytes())
    stored[8:12] = (1).to_bytes(4, "little")
    path.write_bytes(stored[: 1024 + 256])

    with pytest.raises(DataError, match=re.escape("no stack of diffraction patterns in it; it holds (16, 16)")):
        read(path)


def test_the_name_of_a_tvips_stream_is_asked_for(tmp_path: Path) -> None:
    path = Path(shutil.copy(FORMATS / "hyperspy_000.tvips", tmp_path / "scan.tvips"))

    with pytest.raises(DataError, match=r"expected a name that ends with _000\.tvips"):
        read(path)


def test_other_hdf5_files_are_left_to_the_program(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "scan.h5", "w") as file:
        file["Version"], file["counts"], file["positions_px"] = 1, COUNTS.reshape(-1, 16, 16), scan.positions_m() * 1e8

    assert read(tmp_path / "scan.h5").layout == "HDF5"


@pytest.mark.parametrize("name", [*WITH_CALIBRATIONS, *WITHOUT])
def test_frames_stay_in_the_file_and_are_read_in_another_process(name: str) -> None:
    with opened_source(FORMATS / name, ReadOptions(max_frames=12)) as source:
        counts = next(entry for entry in READERS.values() if entry.can_read(source)).read(source).counts
    sent = pickle.loads(pickle.dumps(counts))

    assert isinstance(sent, FrameStack)
    np.testing.assert_array_equal(sent[[11, 2, 2]], COUNTS.reshape(-1, 16, 16)[[11, 2, 2]])


def test_the_installed_distribution_offers_them() -> None:
    (record,) = [item for item in load_plugins().plugins if item.distribution == "ptycho-em"]

    assert (record.status, record.names()["readers"]) == ("loaded", list(READERS))
