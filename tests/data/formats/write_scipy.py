"""Arrays of NumPy, and a file of MATLAB 5 by SciPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import small_scan as scan
from scipy.io import savemat

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    frames = scan.counts().reshape(-1, scan.SIZE, scan.SIZE)
    geometry = {
        "energy_ev": scan.ENERGY_EV, "distance_m": scan.DISTANCE_M, "detector_pixel_m": scan.DETECTOR_PIXEL_M,
    }  # fmt: skip
    np.savez_compressed(FOLDER / "numpy.npz", diffraction=frames, positions=scan.positions_m(), **geometry)
    matlab = {"dp": frames.transpose(1, 2, 0), "positions": scan.positions_m(), **geometry}
    savemat(FOLDER / "scipy.mat", matlab, do_compression=True)
