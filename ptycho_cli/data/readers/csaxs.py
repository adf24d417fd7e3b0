"""Files of the cSAXS beamline: lengths of the detector in micrometres and millimetres, energy in keV.

The distance is stored as a negative number where the detector is behind the sample.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ptycho_cli.data.readers.common_names import has_frames, raw_from_arrays
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_INSTRUMENT = "entry/instrument"
_MONOCHROMATOR = f"{_INSTRUMENT}/monochromator"
_LARGEST_KEV = 200.0


def can_read(source: Source) -> bool:
    """True for HDF5 files with a distance in the monochromator's group, as this beamline writes it, and with frames."""
    return source.hdf5 is not None and f"{_MONOCHROMATOR}/distance" in source.hdf5 and has_frames(source)


def read(source: Source) -> RawScan:
    """Read frames, and positions where the file has them, with the beamline's units."""
    file = source.hdf5
    raw = raw_from_arrays(source)
    detectors = [group for name, group in file[_INSTRUMENT].items() if name != "monochromator"]
    pixels = [_value(group["x_pixel_size"]) for group in detectors if "x_pixel_size" in group]
    if pixels and pixels[0] > 0:
        raw.detector_pixel_m, raw.units["pixel"] = 1e-6 * pixels[0], "um"
    distance = abs(_value(file[f"{_MONOCHROMATOR}/distance"]))
    if distance > 0:
        raw.distance_m, raw.units["distance"] = 1e-3 * distance, "mm"
    energy = _value(file[f"{_MONOCHROMATOR}/energy"]) if f"{_MONOCHROMATOR}/energy" in file else 0.0
    if 0 < energy < _LARGEST_KEV:
        raw.energy_ev, raw.units["energy"] = 1e3 * energy, "keV"
    return raw


def _value(stored: Any) -> float:
    """The first number of a dataset; 0 if it is none."""
    found = np.ravel(np.asarray(stored[()]))
    number = float(found[0]) if found.size and found.dtype.kind in "iuf" else 0.0
    return number if np.isfinite(number) else 0.0


READER = ReaderEntry("cSAXS", "Files of the cSAXS beamline (Swiss Light Source).", can_read, read)
