"""Files that other software wrote hold the scan that ``small_scan`` describes; its scripts are beside the files."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions

FORMATS = Path(__file__).with_name("formats")
sys.path.insert(0, str(FORMATS))

import small_scan as known  # noqa: E402 - beside the files

COUNTS = known.counts().reshape(-1, known.SIZE, known.SIZE)
ELECTRON_PIXEL_M = known.ELECTRON_WAVELENGTH_M / (known.SIZE * 1e-3 * known.ANGLE_MRAD)


@pytest.mark.parametrize(
    ("name", "layout", "more"),
    [
        ("hyperspy_small.hspy", "HyperSpy", {}),
        ("nionswift_export.h5", "Nion", {}),
        ("nionswift_project.h5", "Nion", {}),
        ("nionswift.ndata", "Nion", {}),
        ("py4dstem_cube.h5", "EMD", {"voltage_kv": known.VOLTAGE_KV}),
    ],
)
def test_an_electron_scan_has_its_calibrations(name: str, layout: str, more: dict[str, float]) -> None:
    scan = read_scan(FORMATS / name, ReadOptions(mask_bad_pixels=False, **more))

    assert scan.layout == layout
    np.testing.assert_array_equal(scan.counts, COUNTS)
    assert scan.wavelength_m == pytest.approx(known.ELECTRON_WAVELENGTH_M, rel=1e-5)
    assert scan.object_pixel_m == pytest.approx(ELECTRON_PIXEL_M, rel=1e-5)
    steps = scan.positions_px[[known.COLUMNS, 1]] - scan.positions_px[0]
    np.testing.assert_allclose(steps, 1e-9 * known.STEP_NM / ELECTRON_PIXEL_M * np.eye(2), rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize(
    ("name", "layout", "options"),
    [
        ("cdtools.cxi", "CXI", {}),
        ("ptychodus_frames.cxi", "CXI", {"positions": "ptychodus_product.h5"}),
        (
            "ptychodus_frames.h5",
            "HDF5",
            {"positions": "ptychodus_product.h5", "object_pixel_m": known.OBJECT_PIXEL_M},
        ),
        ("h5py_virtual.h5", "HDF5", {}),
        ("h5py_links.h5", "HDF5", {}),
        ("matlab.mat", "HDF5", {}),
        ("scipy.mat", "NPZ", {}),
        ("numpy.npz", "NPZ", {}),
        (
            "tifffile.tif",
            "TIFF",
            {
                "positions": "numpy.csv",
                "energy_ev": known.ENERGY_EV,
                "distance_m": known.DISTANCE_M,
                "detector_pixel_m": known.DETECTOR_PIXEL_M,
            },
        ),
        ("hyperspy.tif", "TIFF", {"positions": "numpy.csv", "object_pixel_m": known.OBJECT_PIXEL_M}),
    ],
)
def test_an_xray_scan_has_its_positions_and_geometry(name: str, layout: str, options: dict[str, object]) -> None:
    scan = read_scan(FORMATS / name, ReadOptions(mask_bad_pixels=False, **options))  # type: ignore[arg-type]

    assert scan.layout == layout
    np.testing.assert_array_equal(scan.counts, COUNTS)
    assert scan.object_pixel_m == pytest.approx(known.OBJECT_PIXEL_M, rel=1e-3)
    expected = known.positions_m() / known.OBJECT_PIXEL_M * (-1 if name == "cdtools.cxi" else 1)  # axes reversed
    found = scan.positions_px * (scan.object_pixel_m / known.OBJECT_PIXEL_M)
    np.testing.assert_allclose(found - found.mean(axis=0), expected - expected.mean(axis=0), atol=1e-3)
