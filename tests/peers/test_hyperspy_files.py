"""RosettaSciIO, which reads and writes for HyperSpy, opens exported images, and this program opens its scans."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ptycho_cli.data.exports.export_result import export
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.reconstruction import Reconstruction

pytest.importorskip("rsciio")

PIXEL_M = 1e-8


def test_an_exported_tiff_opens_with_its_scale(tmp_path: Path) -> None:
    from rsciio.tiff import file_reader

    rng = np.random.default_rng(0)
    obj = (rng.standard_normal((20, 24)) + 1j).astype(np.complex64)
    result = Reconstruction(
        object=obj, probe=np.ones((2, 8, 8), np.complex64), positions_px=np.zeros((4, 2)),
        coverage=np.ones((20, 24), np.float32), object_origin_px=(0.0, 0.0), object_pixel_m=PIXEL_M,
    )  # fmt: skip
    export(result, "tiff", tmp_path / "out")

    signal = file_reader(str(tmp_path / "out" / "object_amplitude.tif"), force_read_resolution=True)[0]

    np.testing.assert_array_equal(signal["data"], np.abs(obj))
    for axis in signal["axes"]:
        assert axis["units"] == "µm"
        assert axis["scale"] * 1e-6 == pytest.approx(PIXEL_M)


def test_its_raster_is_read_with_its_calibrations(tmp_path: Path) -> None:
    from rsciio.hspy import file_writer

    data = np.random.default_rng(0).poisson(9.0, (6, 6, 16, 16)).astype(np.uint16)
    scales, units = (0.1, 0.1, 0.8, 0.8), ("nm", "nm", "1/nm", "1/nm")
    axes = [
        {"_type": "UniformDataAxis", "name": f"axis {number}", "size": size, "scale": scale, "offset": 0.0,
         "units": unit, "navigate": number < 2, "index_in_array": number, "is_binned": False}
        for number, (size, scale, unit) in enumerate(zip(data.shape, scales, units, strict=True))
    ]  # fmt: skip
    metadata = {
        "General": {"title": "raster"},
        "Signal": {"signal_type": "electron_diffraction"},
        "Acquisition_instrument": {"TEM": {"beam_energy": 80.0}},
    }
    signal = {
        "data": data, "axes": axes, "metadata": metadata, "original_metadata": {}, "attributes": {"_lazy": False},
        "package_info": {"package": "hyperspy", "package_version": "2.3.0"}, "learning_results": {},
        "tmp_parameters": {}, "models": None,
    }  # fmt: skip
    file_writer(str(tmp_path / "scan.hspy"), signal, close_file=True, show_progressbar=False)

    found = read_scan(tmp_path / "scan.hspy", ReadOptions(reject_bad_frames="never", mask_bad_pixels=False))

    np.testing.assert_array_equal(found.counts, data.reshape(-1, 16, 16))
    assert found.object_pixel_m == pytest.approx(1e-9 / (16 * 0.8))
    steps = np.diff(found.positions_px[:6, 1])
    np.testing.assert_allclose(steps, 0.1e-9 / found.object_pixel_m, rtol=1e-6)
    assert found.radiation == "electron"
