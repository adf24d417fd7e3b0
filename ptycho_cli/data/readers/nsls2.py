"""Files of NSLS-II: those of its ptychography program (``diffamp``, ``points``), and of the HXN beamline.

Positions are in micrometres, x before y, with one row for x and one for y.
"""

from __future__ import annotations

from typing import Any

from ptycho_cli.data.readers.calibrations import quantity_at
from ptycho_cli.data.readers.find_arrays import table_from
from ptycho_cli.data.readers.raw_scan import RawScan, frames_at, number_at
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_LARGEST_KEV = 200.0


def can_read(source: Source) -> bool:
    """True for HDF5 files with amplitudes and points of the program, or with the groups of the beamline."""
    if None not in (source.dataset("diffamp"), source.dataset("points")):
        return True
    return source.dataset("scan/scan_positions") is not None and _detector(source) is not None


def read(source: Source) -> RawScan:
    """Read amplitudes, or counts of the first detector, and positions."""
    prepared = source.dataset("diffamp") is not None and source.dataset("points") is not None
    frames = source.dataset("diffamp") if prepared else _detector(source)
    raw = RawScan(source.name, frames.name.lstrip("/"), frames_at(frames, source.max_frames))
    raw.stored = "amplitude" if prepared else "counts"
    raw.positions_name = "points" if prepared else "scan/scan_positions"
    raw.positions = table_from(source.dataset(raw.positions_name))[: source.max_frames]
    raw.position_order, raw.position_unit = "xy", "um"
    raw.notes.append(f"'{raw.positions_name}' taken as x, y in um (data.position_unit, data.position_order).")
    raw.wavelength_m = quantity_at(source, raw, "wavelength", "lambda_nm", "nm")
    raw.distance_m = quantity_at(source, raw, "distance", "z_m", "m")
    raw.detector_pixel_m = quantity_at(source, raw, "pixel", "ccd_pixel_um", "um")
    energy = number_at(source, "scan/energy", [])
    if energy is not None:
        unit = "keV" if energy < _LARGEST_KEV else "eV"
        raw.energy_ev = quantity_at(source, raw, "energy", "scan/energy", unit)
    return raw


def _detector(source: Source) -> Any:
    """The images of the first detector of ``diff_data``; None if there are none."""
    detectors = source.group("diff_data") or ()
    return source.dataset(*(f"diff_data/{name}/det_images" for name in detectors))


READER = ReaderEntry("NSLS-II", "Files of NSLS-II's ptychography program and of its HXN beamline.", can_read, read)
