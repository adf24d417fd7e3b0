"""Groups of a CXI file that scans and reconstructions share; all quantities are in SI units."""

from __future__ import annotations

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.physical_units import HC_EV_M

JOULE_PER_EV = 1.602176634e-19


def add_source(entry: h5py.Group, wavelength_m: float | None, radiation: str | None = None) -> None:
    """Add source and detector; the energy is that of a photon of the wavelength, from which programs compute it."""
    source = entry.create_group("instrument_1/source_1")
    entry.create_group("instrument_1/detector_1")
    if wavelength_m is not None:
        source["wavelength"] = wavelength_m
        source["energy"] = JOULE_PER_EV * HC_EV_M / wavelength_m
        source["energy"].attrs["note"] = "energy of a photon of this wavelength"
    if radiation is not None:
        source["probe"] = {"xray": "x-ray", "electron": "electron"}[radiation]  # as in NeXus' NXsource


def add_translation(entry: h5py.Group, positions_m: NDArray[np.float64]) -> None:
    """Add translations (x, y, z) of the sample, ``(frame, 3)``, from positions (y, x) of the probe on it.

    In the laboratory, y points up and the sample moves against the probe. Rows of a frame run down, columns against x:
    so a row and a column of the probe's position are y and x of the sample's translation.
    """
    translation = np.zeros((len(positions_m), 3))
    translation[:, :2] = positions_m[:, ::-1]
    entry["sample_1/geometry_1/translation"] = translation
    for place in ("data_1", "instrument_1/detector_1"):
        entry.require_group(place)["translation"] = h5py.SoftLink("/entry_1/sample_1/geometry_1/translation")
