"""Scans as CXI files, version 1.60, which cdtools and Ptychodus open too.

Source: F. Maia, The Coherent X-ray Imaging Data Bank, Nat. Methods 9, 854 (2012), and the format's specification.
"""

from __future__ import annotations

from os import PathLike

import h5py
import numpy as np

from ptycho_cli import __version__
from ptycho_cli.data.count_blocks import write_counts
from ptycho_cli.data.cxi_layout import add_source, add_translation
from ptycho_cli.data.new_files import new_hdf5
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_contents import scan_contents
from ptycho_cli.errors import DataError

_NOMINAL_DISTANCE_M = 1.0
_BAD_PIXEL = 1  # CXI_PIXEL_IS_INVALID
_ELSEWHERE = ("positions_px", "mask", "probe")  # in the places of CXI


def write_cxi_scan(path: str | PathLike[str], scan: Scan, *, force: bool = False) -> None:
    """Write a scan as a CXI file; the group ``entry_1/ptycho_cli`` holds what CXI has no place for.

    Wavelength, distance and detector pixel give the size of an object pixel. Where the distance is unknown, it is 1 m,
    which a note in the file says: the angle of a detector pixel is right.

    Args:
        path: CXI file to write.
        scan: The scan.
        force: Overwrite the file.

    Raises:
        DataError: If the wavelength or the size of an object pixel is unknown.
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    if scan.wavelength_m is None or scan.object_pixel_m is None:
        lacking = {"wavelength": scan.wavelength_m, "size of an object pixel": scan.object_pixel_m}
        raise DataError(
            f"{scan.source}: the {' and the '.join(name for name, value in lacking.items() if value is None)} must be "
            "known for a CXI file.",
            hint="Set data.wavelength_m and data.object_pixel_m, or write an .h5 or .npz file.",
        )
    with new_hdf5(path, force=force) as file:
        file["cxi_version"], file["number_of_entries"] = 160, 1
        entry = file.create_group("entry_1")
        entry["program_name"] = f"ptycho-cli {__version__}"
        contents = scan_contents(scan)
        add_source(entry, scan.wavelength_m, scan.radiation)
        _add_detector(entry["instrument_1/detector_1"], scan)
        add_translation(entry, contents["positions_px"] * scan.object_pixel_m)
        entry["data_1/data"] = h5py.SoftLink("/entry_1/instrument_1/detector_1/data")
        if scan.probe is not None:
            entry["instrument_1/source_1/illumination"] = scan.probe
        own = entry.create_group("ptycho_cli")
        for name, value in contents.items():
            if name not in _ELSEWHERE:
                own[name] = value


def _add_detector(detector: h5py.Group, scan: Scan) -> None:
    """Add frames, mask and geometry. By the convention of CXI, basis vectors point against y and x."""
    assert scan.wavelength_m is not None
    assert scan.object_pixel_m is not None
    distance = scan.distance_m or _NOMINAL_DISTANCE_M
    pixel = scan.wavelength_m * distance / (scan.n_pixels * scan.object_pixel_m)
    write_counts(detector, "data", scan)
    detector["data"].attrs["axes"] = np.bytes_("translation:y:x")
    detector["mask"] = np.where(scan.mask, 0, _BAD_PIXEL).astype(np.uint32)
    detector["distance"] = distance
    if scan.distance_m is None:
        detector["distance"].attrs["note"] = "unknown; with this one, the angle of a pixel is right"
    detector["x_pixel_size"] = detector["y_pixel_size"] = pixel
    detector["basis_vectors"] = np.array([[0, -pixel, 0], [-pixel, 0, 0]])
