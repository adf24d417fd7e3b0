"""Names under which NPZ and HDF5 files keep frames, positions and the rest, compared without regard to case."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

import numpy as np

from ptycho_cli.data.physical_units import UNITS, in_base_unit, unit_from
from ptycho_cli.data.readers.calibrations import add_calibrations, text_of, unit_in_attributes
from ptycho_cli.data.readers.parts import refuse_broken_links
from ptycho_cli.data.readers.raw_scan import Array, RawScan, as_array, as_frames, positive_number
from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError

FRAMES = (
    "counts", "diffraction", "data", "reciprocal", "diff3d", "diffraction_patterns", "diff_amp", "patterns",
    "intensities", "intensity", "amplitudes", "dp",
)  # fmt: skip
POSITIONS = (
    "scan_yx_px", "positions_px", "probe_positions_px", "position", "positions", "scan", "probe_positions",
    "translations", "translation",
)  # fmt: skip
PROBES = ("probe", "probeguess", "probe_guess", "initial_probe")
TRUTHS = ("object_true", "truth", "objectguess", "object_guess")
_SHOWN = 20  # arrays in a message
_AMPLITUDES = ("amplitudes", "diff_amp")
# PtychoPINN stores normalised amplitudes under a neutral name; these names show that it wrote the file.
_PTYCHOPINN = ("probeguess", "objectguess", "xcoords_start", "diff3d")


class Names:
    """Arrays of a file by name, in lower case; an array is loaded when it is asked for."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays
        self._names = {name.lower(): name for name in arrays}

    def first(self, aliases: tuple[str, ...]) -> tuple[str, Any] | None:
        """The stored name and array of the first alias that the file has."""
        name = next((self._names[alias] for alias in aliases if alias in self._names), None)
        return None if name is None else (name, self._arrays[name])

    def number(self, raw: RawScan, quantity: str, *aliases: str) -> float | None:
        """A positive scalar by the first of its names that the file has; a note where it is none.

        A unit that an attribute states is honoured, and noted in ``raw.units``.
        """
        found = self.first(aliases)
        if found is None:
            return None
        value = positive_number(found[1][()], found[0], raw.notes)
        unit = self.unit_of(*found)
        if value is None or unit not in UNITS[quantity]:
            return value
        raw.units[quantity] = unit
        return in_base_unit(value, quantity, unit)

    def unit_of(self, name: str, array: Any) -> str | None:
        """The unit that an attribute ``units`` of a dataset, or ``NAME_units`` beside it, states."""
        beside = self.first((f"{name.lower()}_units", f"{name.lower()}_unit"))
        return unit_in_attributes(array) or (None if beside is None else unit_from(text_of(beside[1][()])))

    def __contains__(self, name: str) -> bool:
        return name in self._names


def has_frames(arrays: Mapping[str, Any]) -> bool:
    """True if an array has a familiar name for frames."""
    return any(name.lower() in FRAMES for name in arrays)


def no_frames(source: Source, more: str = "") -> DataError:
    """The error for a file in which no frames were found; it names what the file holds. ``more`` is added to it."""
    if source.hdf5 is not None:
        refuse_broken_links(source.hdf5)
    held = source.contents()
    listed = ", ".join(held[:_SHOWN]) + (f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else "")
    return DataError(
        f"{source.name}: no diffraction in it; it holds {listed or 'no arrays'}, expected one of "
        f"{', '.join(FRAMES[:5])}{more}.",
        hint="Rename the array of frames, or convert the file.",
    )


def raw_from_names(source: Source, arrays: Mapping[str, Any]) -> RawScan:
    """Read a file with frames under a familiar name.

    Args:
        source: The file.
        arrays: Its arrays or open datasets by name; ``has_frames`` is true of them.
    """
    names, max_frames = Names(arrays), source.max_frames
    counts = names.first(FRAMES)
    assert counts is not None
    stack, raster = as_frames(counts[1], max_frames)
    raw = RawScan(source.name, counts[0], stack, scan_shape=raster)
    lower = counts[0].lower()
    if lower in _AMPLITUDES or (any(name in names for name in _PTYCHOPINN) and _fractional(raw.counts)):
        raw.stored = "amplitude"
        raw.notes.append(f"'{counts[0]}' taken as amplitudes and squared (data.stored).")
    _add_positions(raw, names, max_frames)
    if (probe := names.first(PROBES)) is not None:
        raw.probe = np.asarray(probe[1][()])
    if (truth := names.first(TRUTHS)) is not None:
        raw.truth = np.asarray(truth[1][()])
    if (mask := names.first(("mask",))) is not None:
        raw.mask = np.asarray(mask[1][()])
    if (origin := names.first(("truth_origin_px",))) is not None and np.size(origin[1]) == 2:
        raw.truth_origin_px = (float(origin[1][0]), float(origin[1][1]))
    number = partial(names.number, raw)
    raw.energy_ev = number("energy", "energy_ev", "energy", "beam_energy")
    raw.wavelength_m = number("wavelength", "wavelength_m", "wavelength", "lambda")
    raw.distance_m = number("distance", "distance_m", "detector_distance_m", "distance", "detector_distance")
    raw.detector_pixel_m = number("pixel", "detector_pixel_m", "detector_pixel_size", "x_pixel_size", "psize")
    raw.object_pixel_m = number("object pixel", "object_pixel_m", "object_pixel_size")
    add_calibrations(raw, source)
    return raw


def _add_positions(raw: RawScan, names: Names, max_frames: int | None) -> None:
    found = names.first(POSITIONS)
    if found is not None:
        raw.positions_name, raw.positions = found[0], as_array(found[1], max_frames)
        raw.position_order, raw.position_unit = _implied_by(found[0].lower())
        unit = names.unit_of(*found)
        if unit == "px" or unit in UNITS["positions"]:
            raw.position_unit = cast(Any, unit)
        return
    x, y = names.first(("xcoords",)), names.first(("ycoords",))
    if x is not None and y is not None:
        columns = [np.ravel(as_array(axis[1]))[:max_frames] for axis in (y, x)]
        raw.positions_name = f"{y[0]} and {x[0]}"
        raw.positions = joined_columns(raw.source, (y[0], x[0]), columns)
        raw.position_order, raw.position_unit = "yx", "px"


def joined_columns(source: str, names: tuple[str, str], columns: Sequence[Array]) -> Array:
    """Join coordinates y and x that a file keeps in two arrays to rows (y, x).

    Raises:
        DataError: If there are more of one than of the other.
    """
    if len(columns[0]) != len(columns[1]):
        raise DataError(
            f"{source}: '{names[0]}' has {len(columns[0])} values, but '{names[1]}' has {len(columns[1])}; "
            "expected the same number.",
            hint="Store one y and one x for each frame.",
        )
    return np.stack(columns, axis=1)


def _implied_by(name: str) -> tuple[Literal["yx"] | None, Literal["px"] | None]:
    order: Literal["yx"] | None = "yx" if name == "scan_yx_px" else None
    unit: Literal["px"] | None = "px" if name.endswith("_px") else None
    return order, unit


def _fractional(frames: Array) -> bool:
    """True if the first frames hold values that cannot be photon counts."""
    if not np.issubdtype(frames.dtype, np.floating):
        return False
    some = frames[:8]
    return bool(np.any(some[np.isfinite(some)] % 1.0 != 0.0))
