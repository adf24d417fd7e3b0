"""A file of MATLAB 7.3, whose axes are in reverse: ``pip install hdf5storage``."""

from __future__ import annotations

from pathlib import Path

import hdf5storage
import small_scan as scan

if __name__ == "__main__":
    frames = scan.counts().reshape(-1, scan.SIZE, scan.SIZE)
    hdf5storage.savemat(
        str(Path(__file__).with_name("matlab.mat")),
        {
            "dp": frames.transpose(1, 2, 0),  # as MATLAB has them: rows, columns, frames
            "positions": scan.positions_m(),
            "energy_ev": scan.ENERGY_EV,
            "distance_m": scan.DISTANCE_M,
            "detector_pixel_m": scan.DETECTOR_PIXEL_M,
        },
        format="7.3",
        store_python_metadata=False,
        truncate_existing=True,
    )
