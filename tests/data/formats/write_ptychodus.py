"""Frames and a product of Ptychodus, in files of their own: ``pip install ptychodus``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import small_scan as scan
from ptychodus.api.diffraction import (
    DiffractionDatasetLayoutNode,
    DiffractionMetadata,
    SimpleDiffractionArray,
    SimpleDiffractionDataset,
)
from ptychodus.api.geometry import ImageExtent, PixelGeometry
from ptychodus.api.object import Object, ObjectCenter
from ptychodus.api.probe import ProbeSequence
from ptychodus.api.probe_positions import ProbePosition, ProbePositionSequence
from ptychodus.api.product import Product, ProductMetadata
from ptychodus.plugins.cxi_file import CXIDiffractionFileWriter
from ptychodus.plugins.h5_diffraction_file import H5DiffractionFileWriter
from ptychodus.plugins.h5_product_file import H5ProductFileIO

FOLDER = Path(__file__).parent
PIXEL = PixelGeometry(scan.OBJECT_PIXEL_M, scan.OBJECT_PIXEL_M)


def dataset() -> SimpleDiffractionDataset:
    """The frames with the geometry of the detector."""
    frames = scan.counts().reshape(-1, scan.SIZE, scan.SIZE)
    metadata = DiffractionMetadata(
        [len(frames)],
        frames.dtype,
        ImageExtent(scan.SIZE, scan.SIZE),
        detector_distance_m=scan.DISTANCE_M,
        detector_pixel_geometry=PixelGeometry(scan.DETECTOR_PIXEL_M, scan.DETECTOR_PIXEL_M),
        photon_energy_eV=scan.ENERGY_EV,
    )
    array = SimpleDiffractionArray("frames", np.arange(len(frames)), frames)
    return SimpleDiffractionDataset(metadata, DiffractionDatasetLayoutNode.create_root(), [array])


def product() -> Product:
    """Positions, probe and an empty object."""
    positions = [ProbePosition(index, x, y) for index, (y, x) in enumerate(scan.positions_m())]
    return Product(
        ProductMetadata("small", "", scan.DISTANCE_M, scan.ENERGY_EV, 3e3, 1.0, 0.0, 0.0),
        ProbePositionSequence(positions),
        ProbeSequence(scan.probe(), None, PIXEL),
        Object(np.ones((40, 40), np.complex64), PIXEL, ObjectCenter(0.0, 0.0)),
        [],
    )


if __name__ == "__main__":
    CXIDiffractionFileWriter().write(FOLDER / "ptychodus_frames.cxi", dataset())
    H5DiffractionFileWriter("/entry/data/data").write(FOLDER / "ptychodus_frames.h5", dataset())
    H5ProductFileIO().write(FOLDER / "ptychodus_product.h5", product())
