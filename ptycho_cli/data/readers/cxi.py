"""CXI files (version 1.60 and before) and NXcxi_ptycho, which is NeXus with the same paths; first entry.

Source: F. Maia, The Coherent X-ray Imaging Data Bank, Nat. Methods 9, 854 (2012), and the format's specification.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from ptycho_cli.data.readers.calibrations import position_unit_in_attributes, quantity_at, text_of
from ptycho_cli.data.readers.candidates import no_frames
from ptycho_cli.data.readers.common_names import joined_columns
from ptycho_cli.data.readers.find_arrays import table_from
from ptycho_cli.data.readers.native_format import add_contents
from ptycho_cli.data.readers.raw_scan import (
    Array,
    RawScan,
    as_frames,
    loaded,
)
from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError
from ptycho_cli.extend import ReaderEntry

_DETECTOR = "entry_1/instrument_1/detector_1"
_SOURCES = ("entry_1/instrument_1/source_1", "entry_1/instrument_1/beam_1")
_DATA = ("entry_1/data_1/data", f"{_DETECTOR}/data", "entry_1/image_1/data")
_TRANSLATION = (
    "entry_1/data_1/translation", "entry_1/sample_1/geometry_1/translation", f"{_DETECTOR}/translation",
    "entry_1/image_1/translation",
)  # fmt: skip
_COLUMNS = ("entry_1/data/y", "entry_1/data/x")  # as ptypy writes them
_PROBE = (f"{_SOURCES[0]}/illumination", f"{_SOURCES[0]}/probe", f"{_DETECTOR}/probe", "entry_1/data_1/probe")


def can_read(source: Source) -> bool:
    """True for HDF5 files with the group ``entry_1``, which every CXI file has."""
    return source.group("entry_1") is not None


def read(source: Source) -> RawScan:
    """Read frames, translations of the sample, and geometry; all in SI units by the specification."""
    frames = source.dataset(*_DATA)
    if frames is None:
        raise no_frames(source)
    counts, raster = as_frames(frames, source.max_frames)
    raw = RawScan(source.name, frames.name.lstrip("/"), counts, scan_shape=raster)
    _add_beam(raw, source)
    raw.radiation = _radiation(source)
    basis = _basis_vectors(source)
    distance = quantity_at(source, raw, "distance", f"{_DETECTOR}/distance", "m")
    raw.distance_m = distance or _corner_distance(source)
    raw.detector_pixel_m = _detector_pixel(source, raw, basis)
    if (mask := source.dataset(f"{_DETECTOR}/mask")) is not None:
        raw.mask, raw.mask_marks = loaded(mask), "bad"
    if (probe := source.dataset(*_PROBE)) is not None and probe.dtype.kind not in "SUO":
        raw.probe = loaded(probe)
    if (translation := source.dataset(*_TRANSLATION)) is not None:
        raw.positions_name = translation.name.lstrip("/")
        raw.position_unit = position_unit_in_attributes(translation) or "m"
        _add_positions(raw, table_from(translation)[: source.max_frames], basis)
    elif None not in (columns := [source.dataset(path) for path in _COLUMNS]):
        columns = [np.ravel(loaded(column))[: source.max_frames] for column in columns]
        raw.positions = joined_columns(source.name, _COLUMNS, columns)
        raw.positions_name, raw.position_order, raw.position_unit = " and ".join(_COLUMNS), "yx", "m"
    if (ours := source.group("entry_1/ptycho_cli")) is not None:
        add_contents(raw, ours)
    return raw


def _basis_vectors(source: Source) -> Array | None:
    """Vectors from one detector pixel to the next along y and along x in metres, ``(2, 3)``; None without them."""
    stored = source.dataset(f"{_DETECTOR}/basis_vectors")
    vectors = None if stored is None or stored.dtype.kind not in "iuf" else loaded(stored).astype(np.float64)
    if vectors is not None and vectors.shape == (3, 2):
        vectors = vectors.T
    return vectors if vectors is not None and vectors.shape == (2, 3) else None


def _corner_distance(source: Source) -> float | None:
    """Distance along the beam to the corner of the detector, ``(x, y, z)`` in metres."""
    corner = source.dataset(f"{_DETECTOR}/corner_position")
    if corner is None or corner.size != 3 or corner.dtype.kind not in "iuf":
        return None
    return abs(float(loaded(corner).ravel()[2])) or None


def _detector_pixel(source: Source, raw: RawScan, basis: Array | None) -> float | None:
    x, y = (quantity_at(source, raw, "pixel", f"{_DETECTOR}/{axis}_pixel_size", "m") for axis in "xy")
    if x is None and basis is not None:
        y, x = (float(length) or None for length in np.linalg.norm(basis, axis=1))
    if x and y and abs(y / x - 1) > 1e-3:
        raise DataError(
            f"{source.name}: detector pixels are {y:.3g} by {x:.3g} m, expected square ones.",
            hint="Resample the frames to square pixels.",
        )
    return x


def _add_positions(raw: RawScan, translation: Array, vectors: Array | None) -> None:
    """Translations (x, y, z) of the sample to positions (y, x) of the probe on it.

    The probe moves on the sample against the sample's motion. Detector basis vectors, where the file has
    them, give the directions of rows and columns in the laboratory; by the convention of this field they
    point against y and x, so that the two signs cancel.
    """
    raw.position_order = "yx"
    raw.positions = translation[:, [1, 0]] if translation.ndim == 2 and translation.shape[1] >= 2 else translation
    is_real = translation.dtype.kind in "iuf"  # others are refused later
    if is_real and translation.ndim == 2 and translation.shape[1] == 3 and vectors is not None:
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        if np.all(lengths > 0):
            raw.positions = -translation.astype(np.float64) @ (vectors / lengths).T
            raw.notes.append("positions from the sample's translation and the detector's axes (data.flip_positions).")
            return
    raw.notes.append("sample translation (x, y) taken as the probe's position on the object (data.flip_positions).")


def _add_beam(raw: RawScan, source: Source) -> None:
    """Wavelength in metres, or else the energy, which is in joules."""
    for quantity, field, unit in (("wavelength", "wavelength_m", "m"), ("energy", "energy_ev", "J")):
        for path in (f"{group}/{name}" for group in _SOURCES for name in (quantity, f"incident_{quantity}")):
            if raw.wavelength_m is None and getattr(raw, field) is None:
                setattr(raw, field, quantity_at(source, raw, quantity, path, unit))


def _radiation(source: Source) -> Literal["xray", "electron"] | None:
    """Kind of the radiation, where the source states it as NeXus' NXsource does."""
    stated = source.dataset(f"{_SOURCES[0]}/probe")
    if stated is None or stated.dtype.kind not in "SO":
        return None
    kinds: dict[str, Literal["xray", "electron"]] = {"x-ray": "xray", "photon": "xray", "electron": "electron"}
    return kinds.get(text_of(loaded(stated)))


READER = ReaderEntry("CXI", "Coherent X-ray Imaging files, version 1.60 and before; the first entry.", can_read, read)
