"""A TIFF stack by tifffile, and positions in a text file by NumPy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import small_scan as scan
import tifffile

FOLDER = Path(__file__).parent

if __name__ == "__main__":
    frames = scan.counts().reshape(-1, scan.SIZE, scan.SIZE)
    tifffile.imwrite(FOLDER / "tifffile.tif", frames, compression="zlib")
    np.savetxt(FOLDER / "numpy.csv", 1e6 * scan.positions_m(), "%.9f", ",", header="y_um,x_um", comments="")
