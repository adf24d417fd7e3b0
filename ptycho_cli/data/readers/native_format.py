"""The scan files that ``data.write`` makes; nothing in them has to be guessed."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.readers.raw_scan import RawScan, as_array

SCAN_FORMAT = "ptycho_cli scan 1"


def read_own(source: str, file: h5py.File, max_frames: int | None) -> RawScan:
    """Read a scan as it was written."""

    def number(name: str) -> float | None:
        return float(file.attrs[name]) if name in file.attrs else None

    def array(name: str) -> Any:
        return np.asarray(file[name][()]) if name in file else None

    origin = file.attrs.get("truth_origin_px")
    return RawScan(
        source=source,
        layout="ptycho_cli",
        counts_name="counts",
        counts=as_array(file["counts"], max_frames),
        positions_name="positions_px",
        positions=as_array(file["positions_px"], max_frames),
        position_order="yx",
        position_unit="px",
        zero_frequency="center",
        stored="counts",
        probe=array("probe"),
        mask=array("mask"),
        mask_marks="good",
        truth=array("object_true"),
        truth_origin_px=None if origin is None else (float(origin[0]), float(origin[1])),
        wavelength_m=number("wavelength_m"),
        object_pixel_m=number("object_pixel_m"),
        near_field=str(file.attrs["near_field"]) if "near_field" in file.attrs else None,
        is_own=True,
    )
