"""Contents of a scan file besides the frames, the same in every format that this program writes.

``readers.native_format`` reads HDF5 and NPZ files with them.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.readers.native_format import SCAN_FORMAT
from ptycho_cli.data.scan import Scan

_VALUES = ("truth_origin_px", "object_pixel_m", "wavelength_m", "distance_m", "radiation", "near_field")


def scan_contents(scan: Scan) -> dict[str, Any]:
    """Arrays, and numbers and texts, by name; those that are unknown are left out."""
    found = {
        "format": SCAN_FORMAT,
        "positions_px": positions_in_file(scan),
        "mask": scan.mask,
        "probe": scan.probe,
        "object_true": scan.truth,
        "stored_frames": scan.stored_frames,
        **{name: getattr(scan, name) for name in _VALUES},
    }
    return {name: value for name, value in found.items() if value is not None}


def positions_in_file(scan: Scan) -> NDArray[np.float64]:
    """Positions before islands of frames were moved together, ``(frame, 2)`` in object pixels."""
    return scan.positions_px if scan.moved_px is None else scan.positions_px + scan.moved_px
