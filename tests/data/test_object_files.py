"""Objects from files: an object keeps its place in the scan and its coverage, however it is named."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.data.object_files import load_object
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_reconstruction, write_scan
from ptycho_cli.errors import DataError


@pytest.fixture
def reconstruction(tmp_path: Path) -> Path:
    path = tmp_path / "found.h5"
    noise = np.random.default_rng(0)
    found = Reconstruction(
        object=noise.normal(size=(12, 14)).astype(np.complex64),
        probe=np.ones((1, 8, 8), np.complex64),
        positions_px=noise.uniform(0, 5, (6, 2)),
        coverage=noise.uniform(size=(12, 14)).astype(np.float32),
        object_origin_px=(-3.0, 2.0),
    )
    write_reconstruction(path, found)
    return path


@pytest.mark.parametrize("name", ["object", "/object"])
def test_our_reconstruction_is_the_same_by_its_file_and_by_its_name(reconstruction: Path, name: str) -> None:
    whole, named = load_object(str(reconstruction)), load_object(f"{reconstruction}:{name}")

    assert whole.coverage is not None
    assert named.coverage is not None
    np.testing.assert_array_equal(named.coverage, whole.coverage)
    np.testing.assert_array_equal(named.object, whole.object)
    assert named.origin_px == whole.origin_px == (-3.0, 2.0)


def test_the_known_object_of_a_scan_keeps_its_place_when_it_is_named(tmp_path: Path) -> None:
    path = tmp_path / "scan.h5"
    write_scan(path, simulate(n_frames=9, n_pixels=16))

    assert load_object(f"{path}:object_true").origin_px == load_object(str(path)).origin_px is not None


def test_another_array_of_our_file_is_not_taken_for_its_object(reconstruction: Path) -> None:
    assert load_object(f"{reconstruction}:probe").coverage is None
    with pytest.raises(DataError, match="no complex array 'objekt' in it; its complex arrays are object, probe"):
        load_object(f"{reconstruction}:objekt")


def test_the_object_of_a_reconstruction_of_ptypy_is_found(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.ptyr", "w") as file:
        file["content/obj/SscanG00/data"] = np.full((1, 9, 8), 2j)
        file["content/probe/SscanG00/data"] = np.ones((1, 4, 4), complex)

    np.testing.assert_array_equal(load_object(str(tmp_path / "a.ptyr")).object, np.full((9, 8), 2j))
