"""Files of the cSAXS beamline: lengths of the detector in micrometres and millimetres, energy in keV.

The distance is stored as a negative number where the detector is behind the sample.
"""

from __future__ import annotations

from ptycho_cli.data.readers.common_names import has_frames, raw_from_arrays
from ptycho_cli.data.readers.raw_scan import RawScan, loaded, number_at, positive_number
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_INSTRUMENT = "entry/instrument"
_MONOCHROMATOR = f"{_INSTRUMENT}/monochromator"
_LARGEST_KEV = 200.0


def can_read(source: Source) -> bool:
    """True for HDF5 files with a distance in the monochromator's group, as this beamline writes it, and with frames."""
    return source.dataset(f"{_MONOCHROMATOR}/distance") is not None and has_frames(source)


def read(source: Source) -> RawScan:
    """Read frames, and positions where the file has them, with the beamline's units."""
    raw = raw_from_arrays(source)
    detectors = (f"{_INSTRUMENT}/{name}/x_pixel_size" for name in source.group(_INSTRUMENT) if name != "monochromator")
    pixel = next((number for path in detectors if (number := number_at(source, path, raw.notes))), None)
    if pixel is not None:
        raw.detector_pixel_m, raw.units["pixel"] = 1e-6 * pixel, "um"
    stored = source.dataset(f"{_MONOCHROMATOR}/distance")
    distance = None if stored is None else positive_number(abs(loaded(stored)), "distance", raw.notes)
    if distance is not None:
        raw.distance_m, raw.units["distance"] = 1e-3 * distance, "mm"
    energy = number_at(source, f"{_MONOCHROMATOR}/energy", raw.notes)
    if energy is not None and energy < _LARGEST_KEV:
        raw.energy_ev, raw.units["energy"] = 1e3 * energy, "keV"
    return raw


READER = ReaderEntry("cSAXS", "Files of the cSAXS beamline (Swiss Light Source).", can_read, read)
