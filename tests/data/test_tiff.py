"""TIFF stacks and series of files are scans with positions of another file."""

from __future__ import annotations

import pickle
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from ptycho_cli.assembly.scans import read_scans
from ptycho_cli.cli.app import main
from ptycho_cli.config.schema import Config
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers import tiff
from ptycho_cli.data.readers.source import opened_source
from ptycho_cli.errors import DataError

COUNTS = np.random.default_rng(0).poisson(50, (12, 16, 16)).astype(np.uint16)
POSITIONS_PX = np.random.default_rng(1).uniform(0, 60, (12, 2))
PIXEL_M = 1e-8


def options(folder: Path, **more: Any) -> ReadOptions:
    """Options with positions in a text file."""
    path = folder / "motors.csv"
    rows = [f"{x},{y}" for y, x in 1e6 * PIXEL_M * POSITIONS_PX]
    path.write_text("\n".join(["x (µm),y (µm)", *rows]), encoding="utf-8")
    return ReadOptions(positions=str(path), object_pixel_m=PIXEL_M, **more)


def series(folder: Path, *, first: int = 8) -> Path:
    """One file for each frame; without leading zeros, so that names and numbers are in different orders."""
    folder.mkdir()
    for number, frame in enumerate(COUNTS, start=first):
        tifffile.imwrite(folder / f"img_{number}_c1.tif", frame)
    return folder


def same_scan(scan: Any) -> None:
    np.testing.assert_array_equal(scan.counts, COUNTS)
    np.testing.assert_allclose(scan.positions_px, POSITIONS_PX)


@pytest.mark.parametrize(
    "how",
    [{}, {"byteorder": ">"}, {"bigtiff": True}, {"imagej": True}, {"compression": "zlib"}, {"ome": True},
     {"rowsperstrip": 3}],
)  # fmt: skip
def test_a_page_is_a_frame_however_it_is_stored(how: dict[str, Any], tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", COUNTS, **how)

    same_scan(read_scan(tmp_path / "scan.tif", options(tmp_path)))


def test_a_hyperstack_is_a_raster(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", COUNTS.reshape(3, 4, 16, 16), imagej=True)
    scan = read_scan(tmp_path / "scan.tif", ReadOptions(scan_step_m=3e-8, object_pixel_m=PIXEL_M))

    np.testing.assert_array_equal(scan.counts, COUNTS)
    np.testing.assert_allclose(scan.positions_px[[1, 4]] - scan.positions_px[0], [[0, 3], [3, 0]])


@pytest.mark.parametrize("name", ["", "img_8_c1.tif", "img_10_c1.tif"])
def test_a_series_is_named_by_its_folder_or_a_file_of_it(name: str, tmp_path: Path) -> None:
    scan = read_scan(series(tmp_path / "frames") / name, options(tmp_path))

    same_scan(scan)
    assert any("12 files img_*_c1.tif are one scan" in line for line in scan.assumptions)


def test_a_missing_number_is_reported(tmp_path: Path) -> None:
    folder = series(tmp_path / "frames")
    (folder / "img_11_c1.tif").unlink()
    with pytest.raises(DataError, match=r"12 positions, but 'img_\*_c1\.tif' has 11 frames"):
        read_scan(folder, options(tmp_path))

    scan = read_scan(folder, ReadOptions(scan_step_m=3e-8, object_pixel_m=PIXEL_M, scan_shape="1,11"))
    assert any("no file has the number 11" in line for line in scan.assumptions)


def test_data_check_takes_a_folder(tmp_path: Path) -> None:
    folder = series(tmp_path / "frames")
    words = ["--positions", str(options(tmp_path).positions), "--object-pixel-m", "1e-8"]

    assert main(["data", "check", str(folder), *words]) == 0


def test_a_folder_of_two_series_is_refused_with_both(tmp_path: Path) -> None:
    folder = series(tmp_path / "frames")
    tifffile.imwrite(folder / "dark.tif", COUNTS[0])

    with pytest.raises(DataError, match=r"a folder with dark\.tif, img_\*_c1\.tif, expected one numbered series"):
        read_scan(folder)


def test_images_of_one_scan_are_not_taken_for_many_scans(tmp_path: Path) -> None:
    folder = series(tmp_path / "frames")
    several = tuple(str(path) for path in sorted(folder.iterdir()))
    with pytest.raises(DataError, match=r"img_10_c1\.tif and img_11_c1\.tif are images of one scan"):
        read_scans(several, Config())

    for number in (1, 2):
        tifffile.imwrite(tmp_path / f"scan_{number}.tif", COUNTS)
    config = Config.model_validate({"data": {"scan_step_m": 3e-8, "scan_shape": "3,4", "object_pixel_m": 1e-8}})
    assert len(read_scans(tuple(str(tmp_path / f"scan_{number}.tif") for number in (1, 2)), config)) == 2


def test_frames_stay_in_the_files_and_are_read_in_another_process(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", COUNTS)
    tifffile.imwrite(tmp_path / "packed.tif", COUNTS, compression="zlib")
    folder = series(tmp_path / "frames")

    for path in (tmp_path / "scan.tif", tmp_path / "packed.tif", folder):
        with opened_source(path, ReadOptions()) as source:
            counts = tiff.READER.read(source).counts
        assert isinstance(counts, FrameStack)
        sent = pickle.loads(pickle.dumps(counts))
        np.testing.assert_array_equal(sent[[7, 2, 2]], COUNTS[[7, 2, 2]])


@pytest.mark.parametrize(
    ("stored", "message"),
    [
        (np.zeros((20, 20, 3), np.uint8), "expected grey images"),
        (COUNTS[0], "one image, and no other beside it"),
    ],
)
def test_what_is_no_scan_is_refused(stored: Any, message: str, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "image.tif", stored, photometric="rgb" if stored.ndim == 3 else "minisblack")

    with pytest.raises(DataError, match=message):
        read_scan(tmp_path / "image.tif")


def test_an_image_of_another_shape_is_named(tmp_path: Path) -> None:
    folder = series(tmp_path / "frames")
    tifffile.imwrite(folder / "img_13_c1.tif", np.zeros((8, 16), np.uint16))

    with pytest.raises(
        DataError, match=r"img_13_c1\.tif: an image of shape \(8, 16\) and .*img_8_c1\.tif has \(16, 16\)"
    ):
        read_scan(folder)


@pytest.mark.parametrize("how", [{}, {"compression": "zlib"}])
@pytest.mark.parametrize("keep", [0.001, 0.01, 0.5, 0.95])
def test_a_cut_off_file_is_refused_in_one_line(how: dict[str, Any], keep: float, tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "scan.tif", COUNTS, **how)
    stored = (tmp_path / "scan.tif").read_bytes()
    (tmp_path / "scan.tif").write_bytes(stored[: max(8, int(keep * len(stored)))])

    with pytest.raises(DataError) as error:
        read_scan(tmp_path / "scan.tif", options(tmp_path))
    assert "\n" not in str(error.value)


def test_an_unknown_compression_names_the_package_that_reads_it(tmp_path: Path) -> None:
    from PIL import Image

    first, *others = [Image.fromarray(frame) for frame in COUNTS]
    first.save(tmp_path / "scan.tif", save_all=True, append_images=others, compression="tiff_lzw")

    if find_spec("imagecodecs") is not None:
        same_scan(read_scan(tmp_path / "scan.tif", options(tmp_path)))
        return
    with pytest.raises(DataError) as error:
        read_scan(tmp_path / "scan.tif", options(tmp_path))
    assert error.value.hint == "pip install imagecodecs"
