"""Files of NSLS-II: those of its ptychography program (``diffamp``, ``points``), and of the HXN beamline.

Positions are in micrometres, x before y, with one row for x and one for y.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ptycho_cli.data.physical_units import in_base_unit
from ptycho_cli.data.readers.find_arrays import table_from
from ptycho_cli.data.readers.raw_scan import RawScan, as_array, number_at
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_LARGEST_KEV = 200.0


def can_read(source: Source) -> bool:
    """True for HDF5 files with amplitudes and points of the program, or with the groups of the beamline."""
    file = source.hdf5
    if file is None:
        return False
    return ("diffamp" in file and "points" in file) or ("scan/scan_positions" in file and _detector(file) is not None)


def read(source: Source) -> RawScan:
    """Read amplitudes, or counts of the first detector, and positions."""
    file = source.hdf5
    prepared = "diffamp" in file
    frames = file["diffamp"] if prepared else _detector(file)
    raw = RawScan(source.name, frames.name.lstrip("/"), as_array(frames, source.max_frames))
    raw.stored = "amplitude" if prepared else "counts"
    raw.positions_name = "points" if prepared else "scan/scan_positions"
    raw.positions = table_from(file[raw.positions_name])[: source.max_frames]
    raw.position_order, raw.position_unit = "xy", "um"
    raw.notes.append(f"'{raw.positions_name}' taken as x, y in um (data.position_unit, data.position_order).")

    def number(name: str, quantity: str, unit: str) -> float | None:
        value = number_at(file, name, raw.notes)
        if value is None:
            return None
        raw.units[quantity] = unit
        return in_base_unit(value, quantity, unit)

    raw.wavelength_m = number("lambda_nm", "wavelength", "nm")
    raw.distance_m = number("z_m", "distance", "m")
    raw.detector_pixel_m = number("ccd_pixel_um", "pixel", "um")
    energy = float(np.ravel(file["scan/energy"][()])[0]) if "scan/energy" in file else 0.0
    if energy > 0:
        raw.energy_ev = number("scan/energy", "energy", "keV" if energy < _LARGEST_KEV else "eV")
    return raw


def _detector(file: Any) -> Any:
    """The images of the first detector of ``diff_data``; None if there are none."""
    detectors = file["diff_data"].values() if "diff_data" in file else ()
    return next((group["det_images"] for group in detectors if "det_images" in group), None)


READER = ReaderEntry("NSLS-II", "Files of NSLS-II's ptychography program and of its HXN beamline.", can_read, read)
