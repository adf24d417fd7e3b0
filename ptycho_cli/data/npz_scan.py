"""Scans as NPZ files, in this program's layout."""

from __future__ import annotations

from os import PathLike
from zipfile import ZIP_DEFLATED, ZipFile

import numpy as np

from ptycho_cli.data.count_blocks import count_blocks, count_type
from ptycho_cli.data.new_files import new_path
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_contents import scan_contents


def write_npz_scan(path: str | PathLike[str], scan: Scan, *, force: bool = False) -> None:
    """Write a scan as an NPZ file, with the names of the HDF5 file; ``read_scan`` gives it back exactly.

    Args:
        path: NPZ file to write.
        scan: The scan.
        force: Overwrite the file.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    kind, shape = count_type(scan), (scan.n_frames, scan.n_pixels, scan.n_pixels)
    with new_path(path, force=force) as temporary, ZipFile(temporary, "w", ZIP_DEFLATED, compresslevel=1) as archive:
        with archive.open("counts.npy", "w", force_zip64=True) as file:
            header = {"descr": np.lib.format.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for _, counts in count_blocks(scan, kind):
                file.write(np.ascontiguousarray(counts).data)
        for name, value in scan_contents(scan).items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                np.lib.format.write_array(file, np.asarray(value), allow_pickle=False)
