"""A reconstruction in the layout of a Ptychodus product, which its HDF5 and NPZ files share.

Source: ``ptychodus.api.io`` and ``ptychodus.plugins.npz_product_file`` of Ptychodus 1.7.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.physical_units import HC_EV_M
from ptycho_cli.data.reconstruction import Reconstruction


@dataclass(frozen=True, eq=False)
class Product:
    """Contents of a product.

    Attributes:
        values: Texts and numbers of the whole product, by name.
        arrays: Arrays by name.
        array_values: Numbers of single arrays, by the array's name and theirs.
    """

    values: dict[str, str | float]
    arrays: dict[str, NDArray[Any]]
    array_values: dict[str, dict[str, float]]

    def add_to(self, file: h5py.File) -> None:
        """Write the product to an HDF5 file: values are attributes."""
        file.attrs.update(self.values)
        for name, array in self.arrays.items():
            file[name] = array
        for name, values in self.array_values.items():
            file[name].attrs.update(values)

    def flat(self) -> dict[str, Any]:
        """Everything by name, as an NPZ file holds it."""
        of_arrays = {f"{name}_{key}": number for name, all in self.array_values.items() for key, number in all.items()}
        return {**self.values, **self.arrays, **of_arrays}


def product_of(result: Reconstruction, name: str) -> Product:
    """The product of a reconstruction.

    Ptychodus computes the wavelength from the energy of a photon, so this is the energy stored, also for electrons.
    It reads the energy as ``photon_energy_eV``, before version 1.7 as ``probe_energy_eV``. Energy and distance to the
    detector must be there; 0 stands for unknown ones, as in its reader of CXI files.

    Args:
        result: The reconstruction. Without an object pixel, positions are stored in pixels as ``probe_position_*_px``,
            which Ptychodus does not read.
        name: Name of the product.
    """
    pixel = result.object_pixel_m
    energy_ev = 0.0 if result.wavelength_m is None else HC_EV_M / result.wavelength_m
    unit, factor = ("px", 1.0) if pixel is None else ("m", pixel)
    values: dict[str, str | float] = {
        "name": name,
        "comments": "Reconstructed by ptycho-cli.",
        "probe_photon_count": float(np.sum(np.abs(result.probe) ** 2)),
        "detector_object_distance_m": result.distance_m or 0.0,
        "photon_energy_eV": energy_ev,
        "probe_energy_eV": energy_ev,
    }
    arrays: dict[str, NDArray[Any]] = {
        "object": np.asarray(result.object, dtype=np.complex64)[None],
        "object_layer_spacing_m": np.zeros(0),
        "probe": np.asarray(result.probe, dtype=np.complex64)[None],
        "probe_position_indexes": np.arange(len(result.positions_px)),
    }
    for axis, column in zip("yx", result.positions_px.T, strict=True):
        arrays[f"probe_position_{axis}_{unit}"] = column * factor
    if pixel is None:
        return Product(values, arrays, {})
    size = {"pixel_height_m": pixel, "pixel_width_m": pixel}
    centre = {
        f"center_{axis}_m": (origin + side / 2) * pixel
        for axis, origin, side in zip("yx", result.object_origin_px, result.object.shape, strict=True)
    }
    return Product(values, arrays, {"object": {**size, **centre}, "probe": size})
