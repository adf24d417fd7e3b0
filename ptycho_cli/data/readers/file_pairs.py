"""Pairs of HDF5 files: frames in ``*_dp.hdf5``, positions and probe in ``*_para.hdf5`` beside it.

pty-chi writes ``probe_position_y_m`` and ``probe_position_x_m``. fold_slice writes ``ppY`` and ``ppX`` in metres from
MATLAB, whose arrays have their axes reversed in HDF5.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ptycho_cli.data.readers.common_names import joined_columns
from ptycho_cli.data.readers.raw_scan import RawScan, as_array, positive_number
from ptycho_cli.data.readers.source import Source, opened_source
from ptycho_cli.extend import ReaderEntry

_END, _OTHER_END = "_dp", "_para"
_COLUMNS = (("probe_position_y_m", "probe_position_x_m"), ("ppY", "ppX"))


def can_read(source: Source) -> bool:
    """True for HDF5 files with frames ``dp`` alone, beside a file with the parameters."""
    return source.hdf5 is not None and "dp" in source.hdf5 and _partner(source.path) is not None


def read(source: Source) -> RawScan:
    """Read frames from one file and everything else from the other."""
    partner = _partner(source.path)
    assert partner is not None
    raw = RawScan(source.name, "dp", as_array(source.hdf5["dp"], source.max_frames))
    with opened_source(partner, source.options) as other:
        _add_parameters(raw, other.hdf5, partner)
    if raw.positions is not None:
        raw.positions = raw.positions[: source.max_frames]
    raw.notes.append(f"positions and geometry from {partner.name}, beside the frames (data.positions).")
    return raw


def _add_parameters(raw: RawScan, file: Any, partner: Path) -> None:
    by_matlab = "ppX" in file
    if by_matlab:
        raw.counts = np.swapaxes(raw.counts, -2, -1)
    for y, x in _COLUMNS:
        if y in file and x in file:
            columns = [np.ravel(file[name][()]) for name in (y, x)]
            raw.positions = joined_columns(str(partner), (y, x), columns)
            raw.positions_name = f"{y} and {x} of {partner.name}"
            raw.position_order, raw.position_unit = "yx", "m"
    if "probe" in file:
        probe = np.asarray(file["probe"][()])
        raw.probe = np.swapaxes(probe, -2, -1) if by_matlab else probe

    def number(*names: str) -> float | None:
        found = next((name for name in names if name in file), None)
        return None if found is None else positive_number(file[found][()], found, raw.notes)

    raw.object_pixel_m = number("obj_pixel_size_m", "pixel_size_m", "dx")
    raw.wavelength_m = number("lambda_m", "lambda")


def _partner(path: Path) -> Path | None:
    if not path.stem.endswith(_END):
        return None
    other = path.with_name(path.stem.removesuffix(_END) + _OTHER_END + path.suffix)
    return other if other.is_file() else None


READER = ReaderEntry("Pair", "Files *_dp.hdf5 and *_para.hdf5 of pty-chi and fold_slice.", can_read, read)
