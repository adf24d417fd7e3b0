"""Master files of DECTRIS detectors: frames in ``data_000001``, ``data_000002``, ... behind external links.

Source: DECTRIS, EIGER2 HDF5 interface; NeXus NXdetector, NXbeam (wavelength in angstrom, lengths in metres).
"""

from __future__ import annotations

from ptycho_cli.data.readers.calibrations import quantity_at
from ptycho_cli.data.readers.common_names import has_frames, raw_from_arrays
from ptycho_cli.data.readers.raw_scan import RawScan, loaded
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_DETECTOR = "entry/instrument/detector"
_MASK = f"{_DETECTOR}/detectorSpecific/pixel_mask"
_WAVELENGTH = "entry/instrument/beam/incident_wavelength"


def can_read(source: Source) -> bool:
    """True for HDF5 files with the group ``detectorSpecific``, which every master file has, and with frames."""
    return source.group(f"{_DETECTOR}/detectorSpecific") is not None and has_frames(source)


def read(source: Source) -> RawScan:
    """Read all data files in order, the detector's mask and the geometry."""
    raw = raw_from_arrays(source)
    if (mask := source.dataset(_MASK)) is not None:
        raw.mask, raw.mask_marks = loaded(mask), "bad"
    raw.wavelength_m = quantity_at(source, raw, "wavelength", _WAVELENGTH, "A") or raw.wavelength_m
    distance = quantity_at(source, raw, "distance", f"{_DETECTOR}/detector_distance", "m")
    raw.distance_m = distance or raw.distance_m
    raw.detector_pixel_m = quantity_at(source, raw, "pixel", f"{_DETECTOR}/x_pixel_size", "m") or raw.detector_pixel_m
    return raw


READER = ReaderEntry("Eiger", "Master files of DECTRIS detectors, with their data files.", can_read, read)
