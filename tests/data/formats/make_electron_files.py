"""Write small electron files with the software of their formats: ``pip install rosettasciio emdfile``, then run this.

Each holds the scan of ``SIMULATE``, with its calibrations.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import emdfile
import h5py
import numpy as np
from rsciio.hspy import file_writer

SIMULATE = (
    "--preset", "electron", "--layout", "electron", "--frames", "64", "--size", "32", "--photons", "2000",
    "--defocus-m", "4e-9",
)  # fmt: skip
SIDE, SIZE = 8, 32
VOLTAGE_KV, SEMI_ANGLE_MRAD, STEP_A, ANGLE_MRAD = 80.0, 30.0, 0.5, 3.25
RECIPROCAL_PER_A = 1e-3 * ANGLE_MRAD / 4.17571e-2


def hyperspy(path: Path, data: np.ndarray) -> None:
    """A signal as HyperSpy hands it to its writer; units in nm and 1/nm."""
    names, sizes = ("y", "x", "ky", "kx"), (SIDE, SIDE, SIZE, SIZE)
    scales, units = (STEP_A / 10,) * 2 + (10 * RECIPROCAL_PER_A,) * 2, ("nm", "nm", "1/nm", "1/nm")
    axes = [
        {"_type": "UniformDataAxis", "name": name, "size": size, "scale": scale, "offset": 0.0, "units": unit,
         "navigate": number < 2, "index_in_array": number, "is_binned": False}
        for number, (name, size, scale, unit) in enumerate(zip(names, sizes, scales, units, strict=True))
    ]  # fmt: skip
    tem = {"beam_energy": VOLTAGE_KV, "convergence_angle": SEMI_ANGLE_MRAD}
    metadata = {
        "General": {"title": "atoms"},
        "Signal": {"signal_type": "electron_diffraction"},
        "Acquisition_instrument": {"TEM": tem},
    }
    signal = {
        "data": data, "axes": axes, "metadata": metadata, "original_metadata": {}, "attributes": {"_lazy": False},
        "package_info": {"package": "hyperspy", "package_version": "2.3.0"}, "learning_results": {},
        "tmp_parameters": {}, "models": None,
    }  # fmt: skip
    file_writer(str(path), signal, close_file=True, show_progressbar=False)


def emd(path: Path, data: np.ndarray) -> None:
    """A data cube as py4DSTEM saves it through emdfile; its calibration in 'A' and 'A^-1'."""
    cube = emdfile.Array(
        data=data, name="datacube", units="pixel intensity",
        dims=[STEP_A, STEP_A, RECIPROCAL_PER_A, RECIPROCAL_PER_A],
        dim_names=["Rx", "Ry", "Qx", "Qy"], dim_units=["A", "A", "A^-1", "A^-1"],
    )  # fmt: skip
    cube.metadata = emdfile.Metadata(name="microscope", data={"beam_energy": 1e3 * VOLTAGE_KV})
    emdfile.save(str(path), cube, mode="o")


if __name__ == "__main__":
    folder = Path(__file__).parent
    with tempfile.TemporaryDirectory() as place:
        scan = Path(place) / "scan.h5"
        subprocess.run([sys.argv[1], "simulate", *SIMULATE, "-o", str(scan)], check=True)
        with h5py.File(scan) as file:
            counts = file["data"][()]
    hyperspy(folder / "hyperspy.hspy", counts)
    emd(folder / "py4dstem.h5", counts)
