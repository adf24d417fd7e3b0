"""Ptychodus products with diffraction in the same file, HDF5 or NPZ; positions in metres, x and y of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptycho_cli.data.readers.common_names import joined_columns
from ptycho_cli.data.readers.find_arrays import FRAMES
from ptycho_cli.data.readers.raw_scan import Array, RawScan, as_array, positive_number, wavelength_from_energy
from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError
from ptycho_cli.extend import ReaderEntry

_COLUMNS = ("probe_position_y_m", "probe_position_x_m")
_PIXELS = ("object@pixel_width_m", "object_pixel_width_m", "probe@pixel_width_m", "probe_pixel_width_m")


def can_read(source: Source) -> bool:
    """True for files with a product's positions at the root."""
    arrays = _arrays(source)
    return all(name in arrays for name in _COLUMNS)


def read(source: Source) -> RawScan:
    """Read a product with frames; refuse one that is a reconstruction alone."""
    arrays = _arrays(source)
    name = next((name for name in FRAMES if name in arrays), None)
    if name is None:
        raise DataError(
            f"{source.name}: a Ptychodus product, which has positions and probe but no diffraction in it.",
            hint="Give the file with the frames, or copy them into this one as 'diffraction'.",
        )
    raw = RawScan(source.name, name, as_array(arrays[name], source.max_frames))
    columns = [np.ravel(np.asarray(arrays[axis][()])) for axis in _COLUMNS]
    raw.positions_name = ", ".join(_COLUMNS)
    positions = joined_columns(source.name, (_COLUMNS[0], _COLUMNS[1]), columns)
    raw.positions = _in_order_of_frames(source, arrays, positions)[: source.max_frames]
    raw.position_order, raw.position_unit = "yx", "m"
    if "probe" in arrays:
        raw.probe = np.asarray(arrays["probe"][()])
    if "bad_pixels" in arrays:
        raw.mask, raw.mask_marks = np.asarray(arrays["bad_pixels"][()]), "bad"

    def number(*names: str) -> float | None:
        name = next((name for name in names if name in arrays), None)
        return None if name is None else positive_number(arrays[name][()], name, raw.notes)

    raw.object_pixel_m = number(*_PIXELS)
    energy_ev = number("photon_energy_eV", "probe_energy_eV")
    raw.wavelength_m = wavelength_from_energy(energy_ev) if energy_ev else None
    raw.distance_m = number("detector_object_distance_m")
    return raw


def _arrays(source: Source) -> dict[str, Any]:
    """Arrays at the root of the file, and attributes as ``object@pixel_width_m``."""
    arrays = {path.lstrip("/"): array for path, array in source.arrays.items() if "/" not in path.lstrip("/")}
    pixels = {
        f"{name}@{key}": np.asarray(value)
        for name in ("object", "probe")
        if name in arrays
        for key, value in arrays[name].attrs.items()
        if key == "pixel_width_m"
    }
    return arrays | pixels


def _in_order_of_frames(source: Source, arrays: dict[str, Any], positions: Array) -> Array:
    """Positions sorted by ``probe_position_indexes``, the number of the frame that each belongs to."""
    if "probe_position_indexes" not in arrays:
        return positions
    indexes = np.ravel(np.asarray(arrays["probe_position_indexes"][()])).astype(np.int64)
    if len(indexes) != len(positions) or len(np.unique(indexes)) != len(indexes):
        raise DataError(
            f"{source.name}: 'probe_position_indexes' has {len(indexes)} numbers, some of them repeated, for "
            f"{len(positions)} positions; expected the number of one frame for each.",
            hint="Export the product again.",
        )
    return positions[np.argsort(indexes)]


READER = ReaderEntry("Ptychodus", "Products of Ptychodus that hold the diffraction too.", can_read, read)
