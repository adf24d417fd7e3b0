"""Prepared data of PtychoShelves: ``measurement/n0`` with frames, positions (x, y) in metres, and energy in keV."""

from __future__ import annotations

import numpy as np

from ptycho_cli.data.readers.find_arrays import table_from
from ptycho_cli.data.readers.raw_scan import RawScan, as_array, positive_number, wavelength_from_energy
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_GROUP = "measurement/n0"


def can_read(source: Source) -> bool:
    """True for HDF5 files with the first measurement of PtychoShelves."""
    return source.hdf5 is not None and f"{_GROUP}/data" in source.hdf5


def read(source: Source) -> RawScan:
    """Read the first measurement."""
    group = source.hdf5[_GROUP]
    raw = RawScan(source.name, f"{_GROUP}/data", as_array(group["data"], source.max_frames))
    if "positions" in group:
        raw.positions = table_from(group["positions"])[: source.max_frames]
        raw.positions_name, raw.position_order, raw.position_unit = f"{_GROUP}/positions", "xy", "m"
    if "mask" in group:
        raw.mask, raw.mask_marks = np.asarray(group["mask"][()]), "good"
    energy_kev = positive_number(group["energy"][()], f"{_GROUP}/energy", raw.notes) if "energy" in group else None
    raw.wavelength_m = wavelength_from_energy(1e3 * energy_kev) if energy_kev else None
    return raw


READER = ReaderEntry("PtychoShelves", "Prepared data of PtychoShelves, the first measurement.", can_read, read)
