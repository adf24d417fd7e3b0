"""Scan files that ``data.write`` makes; nothing in them has to be guessed."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptycho_cli.data.readers.raw_scan import RawScan, as_array
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry

SCAN_FORMAT = "ptycho_cli scan 1"


def can_read(source: Source) -> bool:
    """True for files of ``ptycho simulate`` and ``ptycho data convert``."""
    return source.hdf5 is not None and source.hdf5.attrs.get("format") == SCAN_FORMAT


def read(source: Source) -> RawScan:
    """Read a scan as it was written."""
    file = source.hdf5

    def number(name: str) -> float | None:
        return float(file.attrs[name]) if name in file.attrs else None

    def array(name: str) -> Any:
        return np.asarray(file[name][()]) if name in file else None

    origin = file.attrs.get("truth_origin_px")
    return RawScan(
        source=source.name,
        counts_name="counts",
        counts=as_array(file["counts"], source.max_frames),
        positions_name="positions_px",
        positions=as_array(file["positions_px"], source.max_frames),
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
        distance_m=number("distance_m"),
        object_pixel_m=number("object_pixel_m"),
        radiation=file.attrs.get("radiation"),
        near_field=str(file.attrs["near_field"]) if "near_field" in file.attrs else None,
        is_native=True,
    )


READER = ReaderEntry("ptycho_cli", "Files of `ptycho simulate` and `ptycho data convert`.", can_read, read)
