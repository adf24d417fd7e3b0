"""CXI 1.6: probe and object as the images 1 and 2 of the first entry, and the positions.

The two are also linked as ``probe`` and ``object``, ``result_2`` and ``result_1``, where PyNX looks for them, and the
numbers that Ptychodus keeps beside the standard are in ``entry_1/ptychodus``.

Sources: F. Maia, Nat. Methods 9, 854 (2012), and the format's specification; ``pynx.ptycho`` of PyNX 2022.1;
``ptychodus.plugins.cxi_file`` of Ptychodus 1.7.0.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_cli import __version__
from ptycho_cli.data.cxi_layout import add_source, add_translation
from ptycho_cli.data.exports.export_formats import ExportFormat
from ptycho_cli.data.exports.exported import Exported
from ptycho_cli.data.new_files import hdf5_to_write
from ptycho_cli.data.ptychodus_product import product_of

_LINKS = {"probe": "image_1", "object": "image_2", "result_1": "image_2", "result_2": "image_1"}


def write(exported: Exported, path: Path) -> None:
    """Write a CXI file; lengths are in metres."""
    result, pixel = exported.result, exported.pixel_m("CXI")
    with hdf5_to_write(path) as file:
        file["cxi_version"], file["number_of_entries"] = 160, 1
        entry = file.create_group("entry_1")
        entry["title"], entry["program_name"] = exported.name, f"ptycho-cli {__version__}"
        add_source(entry, result.wavelength_m)
        if result.distance_m is not None:
            entry["instrument_1/detector_1/distance"] = result.distance_m
        add_translation(entry, result.positions_px * pixel)
        _add_image(entry, "image_1", result.probe, "amplitude", pixel)
        _add_image(entry, "image_2", result.object[None], "electron density", pixel)
        entry["image_2/coverage"] = result.coverage
        for name, image in _LINKS.items():
            entry[name] = h5py.SoftLink(f"/entry_1/{image}")
        entry["instrument_1/source_1/illumination"] = h5py.SoftLink("/entry_1/image_1/data")
        arrays = ("object", "probe", "probe_position_x_m", "probe_position_y_m")
        for name, value in product_of(result, exported.name).flat().items():
            if name not in arrays and not isinstance(value, str):
                entry[f"ptychodus/{name}"] = value


def _add_image(entry: h5py.Group, name: str, image: Any, data_type: str, pixel_m: float) -> None:
    group = entry.create_group(name)
    group["data"], group["data_type"], group["data_space"] = image.astype(np.complex64), data_type, "real"
    height, width = image.shape[-2:]
    group["image_size"] = np.array([width * pixel_m, height * pixel_m, 0.0])
    group["x_pixel_size"] = group["y_pixel_size"] = pixel_m
    for other in ("source_1", "detector_1"):
        group[other] = h5py.SoftLink(f"/entry_1/instrument_1/{other}")


FORMAT = ExportFormat((".cxi",), write)
