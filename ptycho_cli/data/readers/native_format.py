"""Scan files that this program writes; nothing in them has to be guessed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ptycho_cli.data.readers.calibrations import text_of
from ptycho_cli.data.readers.raw_scan import RawScan, as_array, frames_at, loaded
from ptycho_cli.data.readers.source import Source, attributes_of
from ptycho_cli.errors import DataError
from ptycho_cli.extend import ReaderEntry

SCAN_FORMAT = "ptycho_cli scan 1"
_NUMBERS = ("wavelength_m", "distance_m", "object_pixel_m")
_ZIP_START = b"PK"


def can_read(source: Source) -> bool:
    """True for HDF5 and NPZ files of ``ptycho simulate`` and ``ptycho data convert``."""
    if source.hdf5 is not None:
        return bool(attributes_of(source.hdf5).get("format") == SCAN_FORMAT)
    npz = source.npz if source.start.startswith(_ZIP_START) else None
    return npz is not None and npz.shapes.get("format") == () and str(npz["format"]) == SCAN_FORMAT


def read(source: Source) -> RawScan:
    """Read a scan as it was written."""
    arrays = {path.lstrip("/"): array for path, array in source.arrays.items()}
    if missing := [name for name in ("counts", "positions_px") if name not in arrays]:
        raise DataError(
            f"{source.name}: a scan of this program without '{missing[0]}'.", hint="Convert or simulate it again."
        )
    raw = RawScan(
        source.name,
        "counts",
        frames_at(arrays["counts"], source.max_frames),
        positions_name="positions_px",
        positions=as_array(arrays["positions_px"], source.max_frames),
        position_unit="px",
        probe=loaded(arrays["probe"]) if "probe" in arrays else None,
        mask=loaded(arrays["mask"]) if "mask" in arrays else None,
        mask_marks="good",
    )
    add_contents(raw, arrays)
    return raw


def add_contents(raw: RawScan, arrays: Mapping[str, Any]) -> None:
    """Add what this program writes besides frames, positions, mask and probe, and drop what was assumed.

    Args:
        raw: The scan.
        arrays: Arrays, numbers and texts of ``scan_contents`` by name, loaded when they are indexed.
    """
    raw.is_native, raw.notes = True, []
    raw.position_order, raw.zero_frequency, raw.stored = "yx", "center", "counts"
    for name in _NUMBERS:
        setattr(raw, name, float(loaded(arrays[name])) if name in arrays else None)
    for name in ("radiation", "near_field"):
        setattr(raw, name, text_of(loaded(arrays[name])) if name in arrays else None)
    if "object_true" in arrays:
        raw.truth = loaded(arrays["object_true"])
    if "truth_origin_px" in arrays:
        y, x = loaded(arrays["truth_origin_px"])
        raw.truth_origin_px = (float(y), float(x))


READER = ReaderEntry("ptycho_cli", "HDF5 and NPZ files of `ptycho simulate` and `ptycho data convert`.", can_read, read)
