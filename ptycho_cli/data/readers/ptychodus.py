"""Ptychodus products with diffraction in the same file; positions in metres, x and y in arrays of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptycho_cli.data.readers.common_names import FRAMES, joined_columns
from ptycho_cli.data.readers.raw_scan import RawScan, as_array, positive_number, wavelength_from_energy
from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError
from ptycho_cli.extend import ReaderEntry


def can_read(source: Source) -> bool:
    """True for HDF5 files with a product's positions."""
    file = source.hdf5
    return file is not None and "probe_position_x_m" in file and "probe_position_y_m" in file


def read(source: Source) -> RawScan:
    """Read a product with frames; refuse one that is a reconstruction alone."""
    file = source.hdf5
    name = next((name for name in FRAMES if name in file), None)
    if name is None:
        raise DataError(
            f"{source.name}: a Ptychodus product, which has positions and probe but no diffraction in it.",
            hint="Give the file with the frames, or copy them into this one as 'diffraction'.",
        )
    raw = RawScan(source.name, name, as_array(file[name], source.max_frames))
    columns = [np.ravel(file[f"probe_position_{axis}_m"][()])[: source.max_frames] for axis in "yx"]
    raw.positions_name = "probe_position_y_m, probe_position_x_m"
    raw.positions = joined_columns(source.name, ("probe_position_y_m", "probe_position_x_m"), columns)
    raw.position_order, raw.position_unit = "yx", "m"
    if "probe" in file:
        raw.probe = np.asarray(file["probe"][()])
    if "bad_pixels" in file:
        raw.mask, raw.mask_marks = np.asarray(file["bad_pixels"][()]), "bad"

    def attribute(path: str, name: str) -> float | None:
        value: Any = file[path].attrs.get(name) if path in file else None
        return None if value is None else positive_number(value, name, raw.notes)

    raw.object_pixel_m = attribute("object", "pixel_width_m") or attribute("probe", "pixel_width_m")
    energy_ev = attribute("/", "probe_energy_eV")
    raw.wavelength_m = wavelength_from_energy(energy_ev) if energy_ev else None
    raw.distance_m = attribute("/", "detector_object_distance_m")
    return raw


READER = ReaderEntry("Ptychodus", "Products of Ptychodus that hold the diffraction too.", can_read, read)
