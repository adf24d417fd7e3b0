"""Prepared data of PtychoShelves: ``measurement/n0`` with frames, positions (x, y) in metres, and energy in keV."""

from __future__ import annotations

from ptycho_cli.data.readers.calibrations import quantity_at
from ptycho_cli.data.readers.find_arrays import table_from
from ptycho_cli.data.readers.raw_scan import RawScan, frames_at, loaded
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_GROUP = "measurement/n0"


def can_read(source: Source) -> bool:
    """True for HDF5 files with the first measurement of PtychoShelves."""
    return source.dataset(f"{_GROUP}/data") is not None


def read(source: Source) -> RawScan:
    """Read the first measurement."""
    raw = RawScan(source.name, f"{_GROUP}/data", frames_at(source.dataset(f"{_GROUP}/data"), source.max_frames))
    if (positions := source.dataset(f"{_GROUP}/positions")) is not None:
        raw.positions = table_from(positions)[: source.max_frames]
        raw.positions_name, raw.position_order, raw.position_unit = f"{_GROUP}/positions", "xy", "m"
    if (mask := source.dataset(f"{_GROUP}/mask")) is not None:
        raw.mask, raw.mask_marks = loaded(mask), "good"
    raw.energy_ev = quantity_at(source, raw, "energy", f"{_GROUP}/energy", "keV")
    return raw


READER = ReaderEntry("PtychoShelves", "Prepared data of PtychoShelves, the first measurement.", can_read, read)
