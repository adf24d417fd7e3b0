"""Product of Ptychodus, HDF5 or NPZ, without what ``reconstruction.h5`` adds to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ptycho_cli.data.exports.export_formats import ExportFormat
from ptycho_cli.data.exports.exported import Exported
from ptycho_cli.data.new_files import hdf5_to_write
from ptycho_cli.data.ptychodus_product import product_of


def write(exported: Exported, path: Path) -> None:
    """Write a product; its suffix decides between HDF5 and NPZ."""
    exported.pixel_m("Ptychodus")
    product = product_of(exported.result, exported.name)
    if exported.target.suffix == ".npz":
        with path.open("wb") as file:
            np.savez_compressed(file, **product.flat())
        return
    with hdf5_to_write(path) as file:
        product.add_to(file)


FORMAT = ExportFormat((".h5", ".hdf5", ".npz"), write)
