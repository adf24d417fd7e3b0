"""Master files of DECTRIS detectors: frames in ``data_000001``, ``data_000002``, ... behind external links.

Source: DECTRIS, EIGER2 HDF5 interface; NeXus NXdetector, NXbeam (wavelength in angstrom, lengths in metres).
"""

from __future__ import annotations

import numpy as np

from ptycho_cli.data.physical_units import in_base_unit
from ptycho_cli.data.readers.calibrations import unit_in_attributes
from ptycho_cli.data.readers.common_names import has_frames, raw_from_arrays
from ptycho_cli.data.readers.raw_scan import RawScan, number_at
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

_DETECTOR = "entry/instrument/detector"
_MASK = f"{_DETECTOR}/detectorSpecific/pixel_mask"
_WAVELENGTH = "entry/instrument/beam/incident_wavelength"


def can_read(source: Source) -> bool:
    """True for HDF5 files with the group ``detectorSpecific``, which every master file has, and with frames."""
    return source.hdf5 is not None and f"{_DETECTOR}/detectorSpecific" in source.hdf5 and has_frames(source)


def read(source: Source) -> RawScan:
    """Read all data files in order, the detector's mask and the geometry."""
    file = source.hdf5
    raw = raw_from_arrays(source)
    if _MASK in file:
        raw.mask, raw.mask_marks = np.asarray(file[_MASK][()]), "bad"
    wavelength = number_at(file, _WAVELENGTH, raw.notes)
    if wavelength is not None:
        unit = unit_in_attributes(file[_WAVELENGTH]) or "A"
        raw.wavelength_m, raw.units["wavelength"] = in_base_unit(wavelength, "wavelength", unit), unit
    raw.distance_m = number_at(file, f"{_DETECTOR}/detector_distance", raw.notes) or raw.distance_m
    raw.detector_pixel_m = number_at(file, f"{_DETECTOR}/x_pixel_size", raw.notes) or raw.detector_pixel_m
    return raw


READER = ReaderEntry("Eiger", "Master files of DECTRIS detectors, with their data files.", can_read, read)
