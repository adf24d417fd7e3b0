"""Formats that scans are written in, by the suffix of the file."""

from __future__ import annotations

from collections.abc import Callable

from ptycho_cli.data.cxi_scan import write_cxi_scan
from ptycho_cli.data.npz_scan import write_npz_scan
from ptycho_cli.data.write import write_scan

SCAN_WRITERS: dict[str, Callable[..., None]] = {
    ".h5": write_scan,
    ".hdf5": write_scan,
    ".cxi": write_cxi_scan,
    ".npz": write_npz_scan,
}
