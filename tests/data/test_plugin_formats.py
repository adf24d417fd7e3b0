"""A file that only a plugin reads is refused with its format and the plugin's name."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.data.read import read_scan
from ptycho_cli.errors import DataError

FORMATS = Path(__file__).with_name("formats")


@pytest.mark.parametrize(
    ("name", "form"),
    [
        ("nionswift.dm3", "DigitalMicrograph"),
        ("nionswift.dm4", "DigitalMicrograph"),
        ("hyperspy.blo", "ASTAR"),
        ("hyperspy_000.tvips", "TVIPS"),
        ("mrcfile.mrc", "MRC"),
    ],
)
def test_the_plugin_is_named(name: str, form: str) -> None:
    with pytest.raises(DataError, match=rf"{form}.*which the plugin ptycho-em reads; it is not installed") as error:
        read_scan(FORMATS / name)

    assert error.value.hint == "pip install ptycho-em"


def test_content_decides_before_the_name(tmp_path: Path) -> None:
    renamed = tmp_path / "scan.raw"
    renamed.write_bytes(b"MQ1,000001,00384,01,0256,0256,U16")
    with pytest.raises(DataError, match="a file of a Merlin detector, which"):
        read_scan(renamed)

    renamed.write_bytes(bytes(66560))
    with pytest.raises(DataError, match=r"by its name, a file of an EMPAD detector \(frames of 130 x 128 pixels\)"):
        read_scan(renamed)


def velox(path: Path) -> Path:
    with h5py.File(path, "w") as file:
        file["Version"], file["Data/Image/0123/Data"] = [b'{"format":"Velox"}'], np.ones((16, 16, 20))
    return path


def test_images_of_velox_are_not_taken_for_frames_in_the_first_place(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"Velox.*ptycho-em"):
        read_scan(velox(tmp_path / "scan.h5"))


def test_other_hdf5_files_by_the_same_name_are_read(tmp_path: Path) -> None:
    counts = np.random.default_rng(0).poisson(50, (6, 16, 16))
    with h5py.File(tmp_path / "scan.emd", "w") as file:
        file["Version"], file["counts"], file["positions_px"] = [1], counts, np.arange(12.0).reshape(6, 2) ** 2

    assert read_scan(tmp_path / "scan.emd").layout == "HDF5"
