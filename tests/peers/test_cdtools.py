"""cdtools opens CXI scans of this program, and this program opens its."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_formats import SCAN_WRITERS
from ptycho_cli.data.simulation import simulate

pytest.importorskip("cdtools")

AS_STORED = ReadOptions(reject_bad_frames="never", mask_bad_pixels=False)


def scan_as_cxi(path: Path) -> Scan:
    scan = simulate(n_frames=16, n_pixels=32, photons=1e6, seed=1)
    scan = replace(scan, wavelength_m=1e-10, distance_m=2.0, object_pixel_m=1e-8)
    scan.mask[3, 4] = False
    SCAN_WRITERS[".cxi"](path, scan)
    return scan


def test_a_scan_opens_with_the_same_frames_mask_and_geometry(tmp_path: Path) -> None:
    from cdtools.datasets import Ptycho2DDataset

    scan = scan_as_cxi(tmp_path / "scan.cxi")
    dataset = Ptycho2DDataset.from_cxi(tmp_path / "scan.cxi")

    np.testing.assert_array_equal(dataset.patterns.numpy(), scan.counts)
    np.testing.assert_array_equal(dataset.mask.numpy(), scan.mask)
    assert float(dataset.wavelength) == pytest.approx(1e-10)
    assert float(dataset.detector_geometry["distance"]) == 2.0


def test_the_probe_moves_over_the_object_in_the_same_directions(tmp_path: Path) -> None:
    """Their translations of the probe, in pixels of the object along rows and columns of the detector."""
    from cdtools.datasets import Ptycho2DDataset
    from cdtools.tools.interactions import translations_to_pixel

    scan = scan_as_cxi(tmp_path / "scan.cxi")
    dataset = Ptycho2DDataset.from_cxi(tmp_path / "scan.cxi")
    vectors = dataset.detector_geometry["basis"]
    object_vectors = torch.as_tensor(vectors / np.linalg.norm(vectors, axis=0) * 1e-8)

    found = translations_to_pixel(object_vectors, dataset.translations).numpy()

    np.testing.assert_allclose(found, scan.positions_px, atol=1e-3)


def test_its_own_file_is_read_as_it_was(tmp_path: Path) -> None:
    from cdtools.datasets import Ptycho2DDataset

    scan = scan_as_cxi(tmp_path / "scan.cxi")
    Ptycho2DDataset.from_cxi(tmp_path / "scan.cxi").to_cxi(tmp_path / "theirs.cxi")

    found = read_scan(tmp_path / "theirs.cxi", AS_STORED)

    np.testing.assert_array_equal(found.counts, scan.counts * scan.mask)
    np.testing.assert_array_equal(found.mask, scan.mask)
    np.testing.assert_allclose(found.positions_px, scan.positions_px, atol=1e-3)
    assert found.object_pixel_m == pytest.approx(1e-8, rel=1e-5)
