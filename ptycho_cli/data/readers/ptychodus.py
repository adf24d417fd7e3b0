"""Ptychodus products with diffraction in the same file, HDF5 or NPZ; positions in metres, x and y of their own."""

from __future__ import annotations

from typing import Any

import numpy as np

from ptycho_cli.data.readers.common_names import joined_columns
from ptycho_cli.data.readers.find_arrays import FRAMES
from ptycho_cli.data.readers.raw_scan import RawScan, frames_at, loaded, positive_number, wavelength_from_energy
from ptycho_cli.data.readers.source import Source, attributes_of
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
    raw = RawScan(source.name, name, frames_at(arrays[name], source.max_frames))
    columns = [np.ravel(loaded(arrays[axis])) for axis in _COLUMNS]
    raw.positions_name = ", ".join(_COLUMNS)
    positions = joined_columns(source.name, (_COLUMNS[0], _COLUMNS[1]), columns)
    rows = _rows_of_frames(source, arrays, len(positions))[: source.max_frames]
    if (rows < 0).any():
        raw.counts = raw.counts[rows >= 0]
        raw.notes.append(f"{int((rows < 0).sum())} frames without a position are left out (probe_position_indexes).")
    raw.positions = positions[rows[rows >= 0]]
    raw.position_order, raw.position_unit = "yx", "m"
    if "probe" in arrays:
        raw.probe = loaded(arrays["probe"])
    if "bad_pixels" in arrays:
        raw.mask, raw.mask_marks = loaded(arrays["bad_pixels"]), "bad"

    def number(*names: str) -> float | None:
        name = next((name for name in names if name in arrays), None)
        return None if name is None else positive_number(loaded(arrays[name]), name, raw.notes)

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
        for key, value in attributes_of(arrays[name]).items()
        if key == "pixel_width_m"
    }
    return arrays | pixels


def _rows_of_frames(source: Source, arrays: dict[str, Any], n_positions: int) -> Any:
    """Row of the position of each frame, -1 for a frame without one.

    ``probe_position_indexes`` names the frame of each position by its number, or by its entry of ``indexes``.
    """
    name = next(name for name in FRAMES if name in arrays)
    n_frames = arrays[name].shape[0]
    if "probe_position_indexes" not in arrays:
        return np.arange(n_positions)
    of_positions = np.ravel(loaded(arrays["probe_position_indexes"]))
    of_frames = np.ravel(loaded(arrays["indexes"])) if "indexes" in arrays else np.arange(n_frames)
    if len(of_frames) != n_frames or of_frames.dtype.kind not in "iu":
        of_frames = np.arange(n_frames)
    known = np.isin(of_positions, of_frames)
    if len(of_positions) != n_positions or len(np.unique(of_positions)) != n_positions or not known.all():
        raise DataError(
            f"{source.name}: 'probe_position_indexes' has {len(of_positions)} numbers, some of them repeated or of no "
            f"frame, for {n_positions} positions and {n_frames} frames; expected the number of one frame for each.",
            hint="Export the product again.",
        )
    rows = dict(zip(of_positions.tolist(), range(n_positions), strict=True))
    return np.array([rows.get(number, -1) for number in of_frames.tolist()])


READER = ReaderEntry("Ptychodus", "Products of Ptychodus that hold the diffraction too.", can_read, read)
