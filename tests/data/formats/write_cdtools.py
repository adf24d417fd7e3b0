"""A CXI file of CDTools: ``pip install cdtools-py``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import small_scan as scan
import torch
from cdtools.datasets import Ptycho2DDataset

if __name__ == "__main__":
    y, x = scan.positions_m().T
    geometry = {
        "distance": scan.DISTANCE_M,
        "basis": np.array([[0, -scan.DETECTOR_PIXEL_M], [-scan.DETECTOR_PIXEL_M, 0], [0, 0]]),
        "corner": np.array([0.5 * scan.SIZE * scan.DETECTOR_PIXEL_M] * 2 + [scan.DISTANCE_M]),
    }
    dataset = Ptycho2DDataset(
        torch.as_tensor(np.stack([x, y, 0 * x], axis=1)),
        torch.as_tensor(scan.counts().reshape(-1, scan.SIZE, scan.SIZE).astype(np.float32)),
        wavelength=scan.WAVELENGTH_M,
        detector_geometry=geometry,
        mask=torch.ones(scan.SIZE, scan.SIZE, dtype=torch.bool),
    )
    dataset.to_cxi(Path(__file__).with_name("cdtools.cxi"))
