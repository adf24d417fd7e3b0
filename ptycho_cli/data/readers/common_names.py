"""Files of no particular layout: frames and positions by name and shape, everything else by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any, Literal, cast

import h5py
import numpy as np

from ptycho_cli.data.frame_corrections import SwapAxes
from ptycho_cli.data.frame_stack import FrameStack, joined, stack_of
from ptycho_cli.data.physical_units import UNITS, in_base_unit, unit_from
from ptycho_cli.data.readers.calibrations import add_calibrations, split_name, text_of, unit_in_attributes
from ptycho_cli.data.readers.candidates import no_frames, no_positions_in
from ptycho_cli.data.readers.find_arrays import (
    FRAMES,
    POSITIONS,
    Places,
    Stack,
    axes_of_grid,
    choose,
    grid_axes,
    is_raster,
    last_part,
    named_at_root,
    order_of,
    places,
    stacks,
    table_from,
)
from ptycho_cli.data.readers.raw_scan import Array, RawScan, as_frames, loaded, positive_number
from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError

PROBES = ("probe", "probeguess", "probe_guess", "initial_probe")
TRUTHS = ("object_true", "truth", "objectguess", "object_guess")
# Attributes that scale values, by the conventions of netCDF and NeXus, each with the value that changes nothing.
_SCALING = {"scale_factor": 1.0, "scaling_factor": 1.0, "add_offset": 0.0}
_AMPLITUDES = ("amplitudes", "diff_amp", "diffamp")
# PtychoPINN stores normalised amplitudes under a neutral name; these names show that it wrote the file.
_PTYCHOPINN = ("probeguess", "objectguess", "xcoords_start", "diff3d")


class Names:
    """Arrays of a file by the last part of their path, in lower case; of several the least deep counts."""

    def __init__(self, arrays: Mapping[str, Any]) -> None:
        self._arrays = arrays
        self._names: dict[str, str] = {}
        for path in sorted(arrays, key=lambda path: path.count("/")):
            self._names.setdefault(last_part(path), path)

    def first(self, aliases: tuple[str, ...]) -> tuple[str, Any] | None:
        """The stored name and array of the first alias that the file has."""
        name = next((self._names[alias] for alias in aliases if alias in self._names), None)
        return None if name is None else (name.lstrip("/"), self._arrays[name])

    def number(self, raw: RawScan, quantity: str, *aliases: str) -> float | None:
        """A positive scalar by the first of its names that the file has; a note where it is none.

        A unit that an attribute states is honoured, and noted in ``raw.units``.
        """
        found = self.first(aliases)
        if found is None:
            return None
        value = positive_number(loaded(found[1]), found[0], raw.notes)
        unit = self.unit_of(*found)
        if value is None or unit not in UNITS[quantity]:
            return value
        raw.units[quantity] = unit
        return in_base_unit(value, quantity, unit)

    def unit_of(self, name: str, array: Any) -> str | None:
        """The unit that an attribute ``units`` of a dataset, or ``NAME_units`` beside it, states."""
        beside = self.first((f"{last_part(name)}_units", f"{last_part(name)}_unit"))
        return unit_in_attributes(array) or (None if beside is None else unit_from(text_of(loaded(beside[1]))))

    def __contains__(self, name: str) -> bool:
        return name in self._names


def has_frames(source: Source) -> bool:
    """True if a file has an array that may be frames: of a familiar name, or with as many images as positions."""
    arrays = source.arrays
    if named_at_root(arrays, FRAMES) is not None:
        return True
    stack, table = choose(stacks(arrays), places(arrays))
    return stack is not None and (
        table is not None or last_part(stack.path) in FRAMES or bool(source.options.positions) or is_raster(stack)
    )


def raw_from_arrays(source: Source) -> RawScan:
    """Read a file of which ``has_frames`` is true, or whose frames the user names."""
    arrays, max_frames = source.arrays, source.max_frames
    names = Names(arrays)
    found, placed = stacks(arrays), places(arrays)
    if source.options.frames is None:
        stack, table = choose(found, placed)
        if stack is None and (path := named_at_root(arrays, FRAMES)) is not None:
            stack = Stack(path, (arrays[path],), tuple(arrays[path].shape))  # of the wrong shape: the checks say so
    else:
        stack, table = choose([_named_stack(source, source.options.frames, found)], placed)
    if stack is None:
        raise no_frames(source)
    frames, raster = _load(stack, max_frames)
    if raster is None and "MATLAB_class" in getattr(stack.parts[0], "attrs", {}):
        frames = stack_of(frames).then(SwapAxes())  # MATLAB's arrays have their axes reversed in HDF5
    raw = RawScan(source.name, stack.path.lstrip("/"), frames, scan_shape=raster)
    raw.found = {"data.frames": stack.path}
    _note_scaling(raw, "data.counts_per_photon", raw.counts_name, stack.parts[0])
    if source.options.frames is None:
        _note_other_stacks(raw, stack, found, table)
    if last_part(stack.path) in _AMPLITUDES or (any(name in names for name in _PTYCHOPINN) and _fractional(raw.counts)):
        raw.stored = "amplitude"
        raw.notes.append(f"'{raw.counts_name}' taken as amplitudes and squared (data.stored).")
    if raster is not None and (table is None or table.number not in stack.numbers()):
        table = grid_axes(arrays, raster) or table
    if table is None and (path := named_at_root(arrays, POSITIONS)) is not None:
        raw.positions_name, raw.positions = path.lstrip("/"), loaded(arrays[path])
        raw.found["data.positions"] = path
    elif table is not None:
        raw.found["data.positions"] = ",".join(table.paths)
        if placed and table.paths != placed[0].paths and placed[0].number not in stack.numbers():
            raw.notes.append(
                f"positions taken from '{table.name}', of which there are {table.number} as of the frames; not the "
                f"{placed[0].number} of '{placed[0].name}' (data.positions)."
            )
        add_positions(raw, table, max_frames, names)
    if (probe := names.first(PROBES)) is not None:
        raw.probe = loaded(probe[1])
    if (truth := names.first(TRUTHS)) is not None:
        raw.truth = loaded(truth[1])
    if (mask := names.first(("mask",))) is not None:
        raw.mask = loaded(mask[1])
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


def _note_scaling(raw: RawScan, setting: str, name: str, array: Any) -> None:
    """Note attributes that scale the values of an array, which are taken as they are stored."""
    stated = {key: np.asarray(value) for key, value in getattr(array, "attrs", {}).items() if key in _SCALING}
    for key, value in stated.items():
        if value.size == 1 and value.dtype.kind in "iuf" and float(value.reshape(-1)[0]) != _SCALING[key]:
            raw.notes.append(f"'{name}' has {key} = {value.reshape(-1)[0]:g}, which is not applied ({setting}).")


def _named_stack(source: Source, place: str, found: Sequence[Stack]) -> Stack:
    """The frames that the user names: an array, or a series ``data_000001``, ``data_000002``, ... by its name."""
    series = (stack for stack in found if stack.path.lstrip("/") == place.lstrip("/") and len(stack.parts) > 1)
    if (stack := next(series, None)) is not None:
        return stack
    path, array = source.named(place)
    return Stack(path, (array,), tuple(array.shape))


def _load(stack: Stack, max_frames: int | None) -> tuple[Array | FrameStack, tuple[int, int] | None]:
    if len(stack.parts) == 1:
        return as_frames(stack.parts[0], max_frames)
    if len(stack.parts[0].shape) == 2:
        return np.stack([loaded(image) for image in stack.parts[:max_frames]]), None
    return joined([as_frames(part)[0] for part in stack.parts]).select(slice(max_frames)), None


def _note_other_stacks(raw: RawScan, stack: Stack, found: Sequence[Stack], table: Places | None) -> None:
    """Note the other arrays that may be frames, and why this one was taken."""
    others = [other for other in found if not any(_same(part, stack.parts[0]) for part in other.parts)]
    if not others and last_part(stack.path) in FRAMES:
        return
    reason = "" if table is None else f", since there are as many positions ('{table.name}')"
    listed = ", ".join(f"'{other.path}' {other.shape}" for other in others[:3])
    passed_over = f"; not from {listed}" if others else ""
    raw.notes.append(f"frames taken from '{stack.path}' {stack.shape}{reason}{passed_over} (data.frames).")


def _same(one: Any, other: Any) -> bool:
    """True for one array, also under two names of a file."""
    return one is other or (isinstance(one, h5py.Dataset) and bool(one == other))


def add_positions(raw: RawScan, table: Places, max_frames: int | None, names: Names | None = None) -> None:
    """Add positions to a scan, with the order and the unit that their names or attributes state."""
    stored = table.load()
    raw.positions_name = " and ".join(path.lstrip("/") for path in table.paths)
    raw.positions = stored[:max_frames]
    order, unit = _implied_by(last_part(table.paths[-1]))
    raw.position_order = order or cast(Any, table.order)
    stated = unit_in_attributes(table.array) if names is None else names.unit_of(table.paths[-1], table.array)
    unit = stated or unit
    _note_scaling(raw, "data.position_scale", raw.positions_name, table.array)
    raw.position_unit = cast(Any, unit) if unit == "px" or unit in UNITS["positions"] else None


def named_positions(source: Source, text: str, raster: tuple[int, int] | None = None) -> Places:
    """The positions at the path that a user gives, at two of them, ``PATH_Y,PATH_X``, or in a file of their own.

    Both columns are in the same file, unless each names its own. Of a raster of so many rows and columns, they may be
    its axes.

    Raises:
        DataError: If one is not there.
    """
    if (other := source.whole_file(text)) is not None and (whole := _positions_of(other, text)) is not None:
        return whole
    parts = [part.strip() for part in text.split(",")]
    file, colon, _ = parts[0].rpartition(":")
    parts[1:] = [f"{file}{colon}{part}" if colon and ":" not in part else part for part in parts[1:]]
    found = [source.named(part) for part in parts]
    if len(found) > 2:
        raise DataError(
            f"data.positions is {text}, expected a path or two of them.", hint="Name the columns as PATH_Y,PATH_X."
        )
    paths, array = tuple(name for name, _ in found), found[-1][1]
    if len(found) == 1:
        table = table_from(array)
        return Places(paths, len(table), lambda: table, order_of(paths[0], tuple(array.shape)), array)
    if raster is not None and (grid := axes_of_grid((paths[0], paths[1]), (found[0][1], array), raster)) is not None:
        return grid
    columns = [np.ravel(loaded(item)) for _, item in found]
    joined = joined_columns(source.name, (paths[0], paths[1]), columns)
    return Places(paths, len(joined), lambda: joined, "yx", array)


def _positions_of(source: Source, text: str) -> Places | None:
    """The positions in a file: by name, or a text file of two or three columns; None for an array that stands alone.

    Raises:
        DataError: If it is none of these; ``text`` names the file in the hint.
    """
    found = next(iter(places(source.arrays or source.columns)), None)
    if found is not None:
        return found._replace(paths=tuple(f"{source.path}:{path.lstrip('/')}" for path in found.paths))
    if len(source.arrays or source.columns) == 1:
        return None
    if not 2 <= len(source.columns) <= 3:
        raise no_positions_in(source, text)
    columns = list(source.columns.values())
    table = np.stack(columns, axis=1)
    return Places((source.name,), len(table), lambda: table, None, columns[-1])


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


def _implied_by(name: str) -> tuple[Literal["yx"] | None, str | None]:
    """Order and unit that a name states: ``scan_yx_px``, ``positions_um``, and ``xcoords``, which are pixels."""
    order: Literal["yx"] | None = "yx" if name == "scan_yx_px" else None
    if name.endswith("_px") or name.startswith(("xcoords", "coords_")):
        return order, "px"
    return order, split_name(name)[1]


def _fractional(frames: Array | FrameStack) -> bool:
    """True if the first frames hold values that cannot be photon counts."""
    if not np.issubdtype(frames.dtype, np.floating):
        return False
    some = frames[:8]
    return bool(np.any(some[np.isfinite(some)] % 1.0 != 0.0))
