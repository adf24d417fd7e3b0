"""ptypy data files (.ptyd): chunks of frames with positions in metres and metadata in keV and metres."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ptycho_cli.data.frame_stack import joined
from ptycho_cli.data.readers.raw_scan import RawScan, frames_at, loaded, positive_number, wavelength_from_energy
from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError
from ptycho_cli.extend import ReaderEntry

_RECONSTRUCTION = ("content/obj", "content/probe")  # of a .ptyr file


def can_read(source: Source) -> bool:
    """True for HDF5 files with ptypy's groups."""
    groups = [source.group(name) is not None for name in ("chunks", "meta", "info")]
    return (groups[0] and any(groups[1:])) or all(source.group(name) is not None for name in _RECONSTRUCTION)


def read(source: Source) -> RawScan:
    """Read all chunks, in the order of their frames' indices."""
    if source.group("chunks") is None:
        raise DataError(
            f"{source.name}: a reconstruction of ptypy, which has object and probe but no diffraction in it.",
            hint="Give the .ptyd file with its frames.",
        )
    chunks = [f"chunks/{name}" for name in source.group("chunks") if source.dataset(f"chunks/{name}/data") is not None]
    if not chunks:
        raise DataError(
            f"{source.name}: a ptypy file without a chunk of data.", hint="Save the data with save='append'."
        )
    indices = [_indices(source, chunk, number) for number, chunk in enumerate(chunks)]
    order = np.argsort(np.concatenate(indices), kind="stable")[: source.max_frames]
    counts = joined([frames_at(source.dataset(f"{chunk}/data")) for chunk in chunks]).select(order)
    raw = RawScan(source.name, "chunks/*/data", counts, zero_frequency="center")
    positions = [source.dataset(f"{chunk}/positions") for chunk in chunks]
    if None not in positions:
        raw.positions = np.concatenate([loaded(table) for table in positions])[order]
        raw.positions_name, raw.position_order, raw.position_unit = "chunks/*/positions", "yx", "m"
    weights = _meta(source, "weight2d")
    if weights is not None and weights.shape == counts.shape[1:]:
        raw.mask, raw.mask_marks = weights, "good"
    elif (mask := _weighted(source, chunks, order)) is not None and mask.shape == counts.shape:
        raw.mask, raw.mask_marks = mask, "good"

    def number(name: str) -> float | None:
        value = _meta(source, name)
        return None if value is None else positive_number(value, name, raw.notes)

    energy_kev, wavelength = number("energy"), number("lam")
    raw.wavelength_m = wavelength or (wavelength_from_energy(1e3 * energy_kev) if energy_kev else None)
    raw.distance_m, raw.detector_pixel_m = number("distance"), number("psize")
    propagation = _meta(source, "propagation")
    if propagation is not None and b"near" in propagation.tobytes().lower():
        raw.near_field = "the file says so: propagation is nearfield"
    return raw


def _weighted(source: Source, chunks: Sequence[str], order: Any) -> Any:
    """Pixels of each frame that have a weight, ``(frame, y, x)``; None without weights."""
    weights = [source.dataset(f"{chunk}/weights") for chunk in chunks]
    return None if None in weights else np.concatenate([loaded(stored) != 0 for stored in weights])[order]


def _indices(source: Source, chunk: str, number: int) -> Any:
    if (stored := source.dataset(f"{chunk}/indices")) is not None:
        return np.ravel(loaded(stored))
    return number * 10**9 + np.arange(source.dataset(f"{chunk}/data").shape[0])


def _meta(source: Source, name: str) -> Any:
    stored = source.dataset(*(f"{group}/{name}" for group in ("meta", "info", "common")))
    return None if stored is None else loaded(stored)


READER = ReaderEntry("ptypy", "Data files of ptypy (.ptyd), with their chunks.", can_read, read)
