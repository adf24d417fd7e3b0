"""This program opens what emdfile, which saves for py4DSTEM, writes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions

emdfile = pytest.importorskip("emdfile")


def test_a_data_cube_is_read_with_its_calibrations(tmp_path: Path) -> None:
    data = np.random.default_rng(0).poisson(9.0, (6, 6, 16, 16)).astype(np.uint16)
    cube = emdfile.Array(
        data=data, name="datacube", units="pixel intensity", dims=[1.0, 1.0, 0.08, 0.08],
        dim_names=["Rx", "Ry", "Qx", "Qy"], dim_units=["A", "A", "A^-1", "A^-1"],
    )  # fmt: skip
    cube.metadata = emdfile.Metadata(name="microscope", data={"beam_energy": 8e4})
    emdfile.save(str(tmp_path / "cube.h5"), cube, mode="o")

    found = read_scan(tmp_path / "cube.h5", ReadOptions(reject_bad_frames="never", mask_bad_pixels=False))

    np.testing.assert_array_equal(found.counts, data.reshape(-1, 16, 16))
    assert found.object_pixel_m == pytest.approx(1e-10 / (16 * 0.08))
    assert found.wavelength_m == pytest.approx(4.1757e-12, rel=1e-4)
