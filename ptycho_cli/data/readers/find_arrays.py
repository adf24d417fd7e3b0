"""Frames and positions among the arrays of a file: by name, by shape, and by how many there are of each."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np

from ptycho_cli.data.readers.raw_scan import Array, loaded

FRAMES = (
    "counts", "diffraction", "data", "reciprocal", "diff3d", "diffraction_patterns", "diff_amp", "diffamp", "patterns",
    "intensities", "intensity", "amplitudes", "dp",
)  # fmt: skip
POSITIONS = (
    "scan_yx_px", "positions_px", "probe_positions_px", "position", "positions", "scan", "probe_positions",
    "translations", "translation", "scan_positions", "coords_offsets", "points", "pos", "coords",
)  # fmt: skip
# Programs that keep x before y in a table: PtychoPINN (coords_offsets), NSLS-II (points, scan_positions).
_X_FIRST = ("coords_offsets", "points", "scan_positions")
SMALLEST_FRAME = 8
# Arrays that look like frames or positions and are none.
_NOT_FRAMES = re.compile(
    r"#refs#|dark|flat|white|background|bkg|mask|xrf|xspress|fluo|vortex|mca|preview|thumbnail|probe|object|gain|pedestal"
)
_LATER_CHOICE = re.compile(r"start|target|demand|set|request|relative|encoder_raw")  # of several pairs of columns
_SERIES = re.compile(r"(.*?)_?(\d{3,})$")  # data_000001, data_000002, ...
_IMAGE_SERIES = re.compile(r"(.*?)(\d+)([^/\d]*(?:/[^/\d]+)?)$")  # frame_1, frame_2, ..., or frame_1/data, ...
_FEWEST_IMAGES = 4


class Stack(NamedTuple):
    """Arrays that may be the frames of a scan.

    Attributes:
        path: Its path in the file.
        parts: The array, or those that follow each other in a series.
        shape: Shape of all of them together.
    """

    path: str
    parts: tuple[Any, ...]
    shape: tuple[int, ...]

    def numbers(self) -> set[int]:
        """Numbers of frames that it may have: along its first axes, or along the last."""
        first = int(np.prod(self.shape[:-2]))
        return {first, self.shape[-1]} if len(self.shape) == 3 else {first}


def is_raster(stack: Stack) -> bool:
    """True for a 4-D array of frames, ``(row, column, y, x)``, whose positions follow from a step."""
    return len(stack.shape) == 4 and min(stack.shape[:2]) > 1


class Places(NamedTuple):
    """Arrays that may be the positions of a scan.

    Attributes:
        paths: One table, or the columns y and x.
        number: How many positions they have.
        load: Loads them as ``(frame, 2)`` or ``(frame, 3)``.
        order: ``yx`` where the names state it.
        array: The last of the arrays, whose attributes may state a unit.
    """

    paths: tuple[str, ...]
    number: int
    load: Callable[[], Array]
    order: str | None = None
    array: Any = None

    @property
    def name(self) -> str:
        """The paths, for messages."""
        return " and ".join(self.paths)


def last_part(path: str) -> str:
    """The name of an array without the groups that it is in, in lower case."""
    return path.rsplit("/", 1)[-1].casefold()


def stacks(arrays: Mapping[str, Any]) -> list[Stack]:
    """Arrays that may be frames: those with a familiar name first, then the larger ones first."""
    found = [Stack(path, (array,), tuple(array.shape)) for path, array in arrays.items() if _may_be_frames(path, array)]
    found = _joined_series(found) + _joined_images(arrays)
    return sorted(found, key=lambda stack: (_rank(stack.path, FRAMES), -int(np.prod(stack.shape, dtype=np.int64))))


def places(arrays: Mapping[str, Any]) -> list[Places]:
    """Arrays that may be positions: familiar tables first, then columns y and x."""
    tables = [found for path, array in arrays.items() if (found := _table(path, array)) is not None]
    tables.sort(key=lambda table: _rank(table.paths[0], POSITIONS))
    pairs = sorted(columns(arrays), key=lambda pair: bool(_LATER_CHOICE.search(pair.name.casefold())))
    return [*tables, *pairs]


def named_at_root(arrays: Mapping[str, Any], names: tuple[str, ...]) -> str | None:
    """The path of the first array at the root with one of the names, of whatever shape; None if there is none."""
    root = {last_part(path): path for path in arrays if path.count("/") <= 1 and tuple(arrays[path].shape or ())}
    return next((root[name] for name in names if name in root), None)


def choose(found: list[Stack], placed: list[Places]) -> tuple[Stack | None, Places | None]:
    """The frames, and the positions of which there are as many; a familiar name decides among several."""
    for stack in found:
        for table in placed:
            if table.number in stack.numbers():
                return stack, table
    familiar = [stack for stack in found if last_part(stack.path) in FRAMES]
    return next(iter(familiar or found), None), next(iter(placed), None)


def table_from(stored: Any) -> Array:
    """Positions as rows; tables may be ``(frame, 2)``, ``(2, frame)``, ``(row, column, 2)`` or ``(frame, 1, 2, 1)``."""
    array = loaded(stored)
    while array.ndim > 2 and 1 in array.shape[1:]:
        array = np.squeeze(array, axis=1 + array.shape[1:].index(1))
    if array.ndim == 3 and array.shape[-1] in (2, 3):
        array = array.reshape(-1, array.shape[-1])
    return array.T if array.ndim == 2 and array.shape[0] in (2, 3) and array.shape[1] > 3 else array


def _may_be_frames(path: str, array: Any) -> bool:
    shape = tuple(array.shape or ())
    if array.dtype.kind not in "iuf" or _NOT_FRAMES.search(path.casefold()):
        return False
    if len(shape) == 3:
        return sum(size >= SMALLEST_FRAME for size in shape) >= 2 and bool(shape[-1] > 3)
    return bool(3 < len(shape) <= 5 and min(shape[-2:]) >= SMALLEST_FRAME)


def _joined_series(found: list[Stack]) -> list[Stack]:
    """Stacks in which ``data_000001``, ``data_000002``, ... of one group are one."""
    series: dict[tuple[str, tuple[int, ...]], list[Stack]] = {}
    for stack in found:
        numbered = _SERIES.match(stack.path)
        name = numbered[1] if numbered is not None and len(stack.shape) == 3 else stack.path
        series.setdefault((name, stack.shape[1:] if numbered else stack.shape), []).append(stack)
    joined = []
    for (name, _), stacks_of in series.items():
        parts = sorted(stacks_of, key=lambda stack: stack.path)
        number = sum(stack.shape[0] for stack in parts)
        joined.append(
            parts[0]
            if len(parts) == 1 and name == parts[0].path
            else Stack(name, tuple(part for stack in parts for part in stack.parts), (number, *parts[0].shape[1:]))
        )
    return joined


def number_of_rows(shape: tuple[int, ...]) -> int | None:
    """Rows of a table as ``table_from`` reads it; None for an array of another shape."""
    if not 2 <= len(shape) <= 4:
        return None
    plain = [shape[0], *(size for size in shape[1:] if size != 1)] if len(shape) > 2 else list(shape)
    if plain[-1] in (2, 3) and len(plain) in (2, 3):
        return int(np.prod(plain[:-1]))
    return plain[1] if len(plain) == 2 and plain[0] in (2, 3) else None


def order_of(path: str, shape: tuple[int, ...]) -> str | None:
    """Order of the columns that the name of a table states; ``translation`` has three, x before y, in NeXus and CXI."""
    name = last_part(path)
    return "xy" if name in _X_FIRST or (name == "translation" and 3 in shape[1:]) else None


def _joined_images(arrays: Mapping[str, Any]) -> list[Stack]:
    """Stacks of single images of one shape whose paths differ by one number, in the order of the numbers."""
    series: dict[tuple[str, tuple[int, ...]], dict[int, Any]] = {}
    for path, array in arrays.items():
        shape = tuple(array.shape or ())
        is_image = len(shape) == 2 and min(shape) >= SMALLEST_FRAME and array.dtype.kind in "iuf"
        if is_image and (found := _IMAGE_SERIES.match(path)) and not _NOT_FRAMES.search(path.casefold()):
            series.setdefault((f"{found[1]}*{found[3]}", shape), {})[int(found[2])] = array
    return [
        Stack(name, tuple(images[number] for number in sorted(images)), (len(images), *shape))
        for (name, shape), images in series.items()
        if len(images) >= _FEWEST_IMAGES
    ]


def _table(path: str, array: Any) -> Places | None:
    number = number_of_rows(tuple(array.shape or ()))
    if number is None or last_part(path) not in POSITIONS or array.dtype.kind not in "iuf":
        return None
    return Places((path,), number, lambda: table_from(array), order_of(path, tuple(array.shape)), array)


def columns(arrays: Mapping[str, Any]) -> Iterator[Places]:
    """Pairs of arrays, as large as each other, whose names or groups differ by the letters y and x."""
    for path, array in arrays.items():
        shape = tuple(array.shape or ())
        long = [size for size in shape if size != 1]
        if array.dtype.kind not in "iuf" or not 1 <= len(long) <= 2 or int(np.prod(long)) < 4:
            continue
        for other in _twins(path):
            if other == path or other not in arrays or arrays[other].dtype.kind not in "iuf":
                continue
            if tuple(arrays[other].shape) == shape:
                yield Places((other, path), int(np.prod(long)), _column_loader(arrays[other], array), "yx", array)


def grid_axes(arrays: Mapping[str, Any], raster: tuple[int, int]) -> Places | None:
    """Positions of a raster from one array of its rows and one of its columns; None if there are no such arrays."""
    for path, array in arrays.items():
        if len(array.shape) != 1 or array.shape[0] not in raster or array.dtype.kind not in "iuf":
            continue
        for other in _twins(path):
            if other in arrays and other != path:
                found = axes_of_grid((other, path), (arrays[other], array), raster)
                if found is not None:
                    return found
    return None


def axes_of_grid(paths: tuple[str, str], axes: tuple[Any, Any], raster: tuple[int, int]) -> Places | None:
    """Positions of a raster from its coordinates y and x, one along its rows, the other along its columns.

    Returns:
        None where the arrays have other shapes than these axes.
    """
    (height, width), (y, x) = raster, axes
    lengths = tuple(int(np.prod(axis.shape)) for axis in axes)
    if max(len(axis.shape) - axis.shape.count(1) for axis in axes) > 1 or lengths not in (raster, raster[::-1]):
        return None
    x_is_slow = lengths == (width, height) and height != width

    def load() -> Array:
        grid = np.meshgrid(*(np.ravel(loaded(axis)) for axis in (y, x)), indexing="xy" if x_is_slow else "ij")
        return np.stack([np.ravel(axis) for axis in grid], axis=1)

    return Places(paths, height * width, load, "yx", x)


def _twins(path: str) -> Iterator[str]:
    """The path with y in place of one x of its last part, of the group before that, or of all of them."""
    start = path.rfind("/") + 1
    before = path.rfind("/", 0, max(start - 1, 0)) + 1
    for low, high in ((start, len(path)), (before, start)):
        for at in range(low, high):
            if path[at] in "xX":
                yield path[:at] + ("y" if path[at] == "x" else "Y") + path[at + 1 :]
    yield path[:before] + path[before:].replace("x", "y").replace("X", "Y")


def _column_loader(y: Any, x: Any) -> Callable[[], Array]:
    return lambda: np.stack([np.ravel(loaded(axis)) for axis in (y, x)], axis=1)


def _rank(path: str, names: tuple[str, ...]) -> int:
    name = last_part(path)
    return names.index(name) if name in names else len(names)
