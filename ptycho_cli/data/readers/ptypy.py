"""ptypy data files (.ptyd): chunks of frames with positions in metres and metadata in keV and metres."""

from __future__ import annotations

from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.readers.raw_scan import RawScan, as_array, positive_number, wavelength_from_energy
from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError
from ptycho_cli.extend import ReaderEntry


def can_read(source: Source) -> bool:
    """True for HDF5 files with ptypy's groups."""
    file = source.hdf5
    return file is not None and "chunks" in file and ("meta" in file or "info" in file)


def read(source: Source) -> RawScan:
    """Read all chunks, in the order of their frames' indices."""
    file = source.hdf5
    chunks = [file["chunks"][name] for name in file["chunks"] if "data" in file["chunks"][name]]
    if not chunks:
        raise DataError(
            f"{source.name}: a ptypy file without a chunk of data.", hint="Save the data with save='append'."
        )
    indices = [_indices(chunk, number) for number, chunk in enumerate(chunks)]
    order = np.argsort(np.concatenate(indices), kind="stable")[: source.max_frames]
    counts = np.concatenate([as_array(chunk["data"]) for chunk in chunks])[order]
    raw = RawScan(source.name, "chunks/*/data", counts, zero_frequency="center")
    if all("positions" in chunk for chunk in chunks):
        raw.positions = np.concatenate([np.asarray(chunk["positions"][()]) for chunk in chunks])[order]
        raw.positions_name, raw.position_order, raw.position_unit = "chunks/*/positions", "yx", "m"
    weights = _meta(file, "weight2d")
    if weights is not None and weights.shape == counts.shape[1:]:
        raw.mask, raw.mask_marks = weights, "good"

    def number(name: str) -> float | None:
        value = _meta(file, name)
        return None if value is None else positive_number(value, name, raw.notes)

    energy_kev, wavelength = number("energy"), number("lam")
    raw.wavelength_m = wavelength or (wavelength_from_energy(1e3 * energy_kev) if energy_kev else None)
    raw.distance_m, raw.detector_pixel_m = number("distance"), number("psize")
    propagation = _meta(file, "propagation")
    if propagation is not None and b"near" in propagation.tobytes().lower():
        raw.near_field = "the file says so: propagation is nearfield"
    return raw


def _indices(chunk: Any, number: int) -> Any:
    if "indices" in chunk:
        return np.ravel(chunk["indices"][()])
    return number * 10**9 + np.arange(chunk["data"].shape[0])


def _meta(file: Any, name: str) -> Any:
    for group in ("meta", "info", "common"):
        if group in file and name in file[group] and isinstance(file[group][name], h5py.Dataset):
            return np.asarray(file[group][name][()])
    return None


READER = ReaderEntry("ptypy", "Data files of ptypy (.ptyd), with their chunks.", can_read, read)
