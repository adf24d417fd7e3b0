"""Frames and positions that were not found: arrays that may be these, and the command that reads them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ptycho_cli.data.hdf5_tree import DEEPEST, MOST
from ptycho_cli.data.physical_units import LENGTHS_M
from ptycho_cli.data.readers.calibrations import unit_in_attributes
from ptycho_cli.data.readers.find_arrays import FRAMES, columns, last_part, number_of_rows, places, stacks
from ptycho_cli.data.readers.source import Source, described, refuse_broken_links
from ptycho_cli.errors import DataError
from ptycho_cli.shell_line import shell_line

_SHOWN = 20  # arrays in a message
_SHOWN_POSITIONS = 5
_FEWEST = 3  # positions; shorter arrays are other things
_LIKELY = re.compile(r"pos|motor|stage|scan|coord|transl|encoder|interf|sam|point")
_HORIZONTAL = re.compile(r"hor|x|col|fast|_h$")


def no_frames(source: Source, more: str = "") -> DataError:
    """The error for a file in which no frames were found; it names what the file holds. ``more`` is added to it."""
    refuse_broken_links(source)
    if source.hdf5 is not None and not source.tree.complete:
        more += f"; of its items, the first {MOST:,} and those up to {DEEPEST} groups deep were looked at"
    return DataError(
        f"{source.name}: no diffraction in it; it holds {_listed(source.contents())}, expected one of "
        f"{', '.join(FRAMES[:5])}{more}.",
        hint=_how_to_name_frames(source),
    )


def no_positions_in(source: Source, place: str) -> DataError:
    """The error for a file that a user names for its positions, as ``place``, in which none were found."""
    arrays = source.arrays or source.columns
    numbers = {size for array in arrays.values() for size in array.shape if size > _FEWEST}
    rows = _columns_of_numbers(arrays, numbers)
    named = next(_positions(arrays, numbers), None) or _two_lengths(arrays, rows) or "PATH_Y,PATH_X"
    held = source.contents() or [f"column {name}" for name in source.columns]
    return DataError(
        f"{source.name}: no positions found in it; it holds {_listed(held)}.",
        hint=f"Name the columns y and x: {shell_line(['--positions', f'{place}:{named}'])}",
    )


def _listed(held: list[str]) -> str:
    return ", ".join(held[:_SHOWN]) + (f" and {len(held) - _SHOWN} more" if len(held) > _SHOWN else "") or "no arrays"


def _how_to_name_frames(source: Source) -> str:
    """The command that would read the file if its largest arrays are what they may be."""
    arrays = source.arrays
    stack = next(iter(stacks(arrays)), None)
    if stack is None:
        found = next((",".join(table.paths) for table in places(arrays)), None)
        return f"Name the frames in another file: {_command(source, 'FILE:PATH', found)}"
    numbers = {stack.shape[0], stack.shape[-1]}
    named = next(_positions(arrays, numbers), None) or _two_lengths(arrays, _columns_of_numbers(arrays, numbers))
    return f"Name them: {_command(source, stack.path, named or 'PATH')}"


def no_positions_hint(source: Source, shape: tuple[int, ...]) -> str:
    """The way out of a scan without positions: arrays that may be positions, and the command that reads the first.

    Args:
        source: The file.
        shape: Shape of the frames, whose last axis may count them.
    """
    arrays, numbers = source.arrays, {shape[0], shape[-1]}
    found = list(_positions(arrays, numbers))
    if not found:
        rows = _columns_of_numbers(arrays, numbers)
        listed = f" One number for each frame: {', '.join(rows[:_SHOWN_POSITIONS])}." if rows else ""
        named = _two_lengths(arrays, rows) or ("PATH_Y,PATH_X" if rows else "FILE:PATH")
        return f"Name them: {_command(source, None, named)}; for a raster, set data.scan_step_m.{listed}"
    each = ("; ".join(described(path, arrays[path]) for path in text.split(",")) for text in found[:_SHOWN_POSITIONS])
    return f"They may be {' or '.join(each)}: {_command(source, None, found[0])}"


def _positions(arrays: Mapping[str, Any], numbers: set[int]) -> Iterator[str]:
    """Tables and pairs of columns with one row for each frame, as ``data.positions`` names them; likely names first."""
    known = [",".join(table.paths) for table in places(arrays) if table.number in numbers]
    tables = [
        path for path, array in arrays.items() if array.dtype.kind in "iuf" and number_of_rows(array.shape) in numbers
    ]
    pairs = [",".join(pair.paths) for pair in columns(arrays) if pair.number in numbers]
    found = sorted([*tables, *pairs], key=lambda text: not _LIKELY.search(text.casefold()))
    yield from dict.fromkeys([*known, *found])


def _columns_of_numbers(arrays: Mapping[str, Any], numbers: set[int]) -> list[str]:
    """Arrays of one number for each frame; those that look like x come last."""
    rows = [
        path
        for path, array in arrays.items()
        if len(array.shape) == 1 and array.shape[0] in numbers and array.dtype.kind in "iuf"
    ]
    return sorted(rows, key=lambda path: bool(_HORIZONTAL.search(last_part(path))))


def _two_lengths(arrays: Mapping[str, Any], rows: list[str]) -> str | None:
    """The two of these arrays, or the two of them with a unit of length; None if there are not two."""
    lengths = [path for path in rows if unit_in_attributes(arrays[path]) in LENGTHS_M]
    found = next((paths for paths in (rows, lengths) if len(paths) == 2), None)
    return None if found is None else ",".join(found)


def _command(source: Source, frames: str | None, positions: str | None) -> str:
    words = ["ptycho", "data", "check", source.name]
    words += ["--frames", frames] if frames else []
    return shell_line([*words, *(["--positions", positions] if positions else [])])
