"""Ptychodus opens reconstructions and scans of this program, and this program opens its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ptycho_cli.data.exports.export_result import export
from ptycho_cli.data.object_files import load_object
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_formats import SCAN_WRITERS
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_reconstruction

pytest.importorskip("ptychodus")

AS_STORED = ReadOptions(reject_bad_frames="never", mask_bad_pixels=False)
WAVELENGTH_M, DISTANCE_M, PIXEL_M = 1e-10, 2.0, 1e-8


@pytest.fixture
def scan() -> Scan:
    from dataclasses import replace

    return replace(
        simulate(n_frames=25, n_pixels=32, photons=1e8, pattern="grid", step_px=3.0, seed=1),
        wavelength_m=WAVELENGTH_M, distance_m=DISTANCE_M, object_pixel_m=PIXEL_M,
    )  # fmt: skip


@pytest.fixture
def result(scan: Scan) -> Reconstruction:
    """The known object and probe, which explain the frames."""
    assert scan.truth is not None
    assert scan.truth_origin_px is not None
    assert scan.probe is not None
    return Reconstruction(
        object=scan.truth, probe=scan.probe, positions_px=scan.positions_px,
        coverage=np.ones(scan.truth.shape, np.float32), object_origin_px=scan.truth_origin_px,
        object_pixel_m=PIXEL_M, wavelength_m=WAVELENGTH_M, distance_m=DISTANCE_M,
    )  # fmt: skip


@pytest.mark.parametrize("form", ["reconstruction.h5", "product.h5", "product.npz", "product.cxi"])
def test_a_reconstruction_opens_and_predicts_the_frames(
    tmp_path: Path, scan: Scan, result: Reconstruction, form: str
) -> None:
    """Their patches of our object at our positions make the frames: axes, centre, units and scale agree."""
    from ptychodus.api.interpolate import BarycentricArrayInterpolator
    from ptychodus.api.io import load_product
    from ptychodus.plugins.cxi_file import CXIProductFileIO
    from ptychodus.plugins.npz_product_file import NPZProductFileIO

    path = tmp_path / form
    if form == "reconstruction.h5":
        write_reconstruction(path, result)
    else:
        export(result, "cxi" if path.suffix == ".cxi" else "ptychodus", path)
    read = {".npz": NPZProductFileIO().read, ".cxi": CXIProductFileIO().read}.get(path.suffix, load_product)
    product = read(path)

    assert product.metadata.photon_wavelength_m == pytest.approx(WAVELENGTH_M)
    assert product.metadata.detector_distance_m == DISTANCE_M
    assert product.object_.get_pixel_geometry().width_m == pytest.approx(PIXEL_M)
    obj, geometry = BarycentricArrayInterpolator(product.object_.get_layer(0)), product.object_.get_geometry()
    probe = np.reshape(product.probes.get_array(), (-1, 32, 32))
    for counts, position in zip(scan.counts, product.probe_positions, strict=True):
        at = geometry.map_coordinates_probe_to_object(position)
        wave = np.fft.fft2(probe * obj.get_patch(at.x_px, at.y_px, 32, 32), norm="ortho")
        rate = np.fft.fftshift(np.abs(wave) ** 2, axes=(-2, -1)).sum(axis=0)
        residual = np.abs(np.sqrt(rate) - np.sqrt(counts)).sum() / np.sqrt(counts).sum()
        assert residual < 0.01  # of photon noise; positions are whole pixels, so that nothing is interpolated


def test_a_scan_opens_as_cxi(tmp_path: Path, scan: Scan) -> None:
    from ptychodus.plugins.cxi_file import CXIDiffractionFileReader

    scan.mask[3, 4] = False
    SCAN_WRITERS[".cxi"](tmp_path / "scan.cxi", scan)

    dataset = CXIDiffractionFileReader().read(tmp_path / "scan.cxi")

    metadata = dataset.get_metadata()
    np.testing.assert_array_equal(np.concatenate([array.get_patterns() for array in dataset]), scan.counts)
    np.testing.assert_array_equal(dataset.get_bad_pixels(), ~scan.mask)
    assert metadata.detector_distance_m == DISTANCE_M
    assert metadata.photon_energy_eV == pytest.approx(12398.42, rel=1e-6)
    width = metadata.detector_pixel_geometry.width_m
    assert WAVELENGTH_M * DISTANCE_M / (32 * width) == pytest.approx(PIXEL_M)


def test_its_product_and_its_diffraction_file_are_read(tmp_path: Path, scan: Scan, result: Reconstruction) -> None:
    """Their two files are one scan, if the positions are named; the object of the product is one to compare with."""
    from ptychodus.api.assemble import AssembledDiffractionData
    from ptychodus.api.geometry import PixelGeometry
    from ptychodus.api.io import load_product, save_diffraction_data, save_product

    write_reconstruction(tmp_path / "ours.h5", result)
    save_product(tmp_path / "product.h5", load_product(tmp_path / "ours.h5"))
    detector = WAVELENGTH_M * DISTANCE_M / (32 * PIXEL_M)
    patterns = scan.counts.astype(np.uint32)
    data = AssembledDiffractionData(
        np.arange(25), patterns, PixelGeometry(detector, detector), np.zeros((32, 32), np.bool_)
    )
    save_diffraction_data(tmp_path / "diffraction.h5", data)

    columns = ",".join(f"product.h5:/probe_position_{axis}_m" for axis in "yx")
    options = ReadOptions(
        frames="/patterns", positions=columns, probe="product.h5:/probe", position_unit="m", object_pixel_m=PIXEL_M,
        reject_bad_frames="never", mask_bad_pixels=False,
    )  # fmt: skip
    found = read_scan(tmp_path / "diffraction.h5", options)

    np.testing.assert_array_equal(found.counts, scan.counts)
    np.testing.assert_allclose(found.positions_px, scan.positions_px, atol=1e-6)
    np.testing.assert_array_equal(load_object(str(tmp_path / "product.h5")).object, scan.truth)
