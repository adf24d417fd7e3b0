"""Files as programs write them with h5py: a virtual dataset of two files, external links, and numbers with units."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import small_scan as scan

FOLDER = Path(__file__).parent
PACKED = {"compression": "gzip", "shuffle": True}

if __name__ == "__main__":
    frames, half = scan.counts().reshape(-1, scan.SIZE, scan.SIZE), scan.N_FRAMES // 2
    layout = h5py.VirtualLayout(frames.shape, frames.dtype)
    for part in range(2):
        name, some = f"h5py_part{part}.h5", slice(part * half, (part + 1) * half)
        with h5py.File(FOLDER / name, "w") as file:
            file.create_dataset("entry/detector/frames", data=frames[some], chunks=(1, *frames.shape[1:]), **PACKED)
        layout[some] = h5py.VirtualSource(name, "entry/detector/frames", (half, *frames.shape[1:]))

    with h5py.File(FOLDER / "h5py_virtual.h5", "w") as file:
        file.create_virtual_dataset("entry/frames", layout)
        file["entry/sample/y"], file["entry/sample/x"] = 1e6 * scan.positions_m().T
        for axis in "yx":
            file[f"entry/sample/{axis}"].attrs["units"] = "um"
        file["entry/energy"] = 1e-3 * scan.ENERGY_EV
        file["entry/energy"].attrs["units"] = "keV"
        file["entry/distance"], file["entry/x_pixel_size"] = scan.DISTANCE_M, 1e6 * scan.DETECTOR_PIXEL_M
        file["entry/distance"].attrs["units"], file["entry/x_pixel_size"].attrs["units"] = "m", "um"

    with h5py.File(FOLDER / "h5py_links.h5", "w") as file:
        for part in range(2):
            file[f"entry/data_{part + 1:06d}"] = h5py.ExternalLink(f"h5py_part{part}.h5", "entry/detector/frames")
        file["scan"] = h5py.ExternalLink("h5py_virtual.h5", "entry/sample")
        file["entry/energy_ev"] = np.float32(scan.ENERGY_EV)
        file["entry/distance_m"], file["entry/detector_pixel_m"] = scan.DISTANCE_M, scan.DETECTOR_PIXEL_M
