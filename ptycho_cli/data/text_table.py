"""Tables of numbers in text files: columns by the names in the line above them, or by their number."""

from __future__ import annotations

import re
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.errors import DataError

LARGEST_BYTES = 2**28
_SPEC_DIVIDER = re.compile(r"\s{2,}")
_UNIT_IN_BRACKETS = re.compile(r"\s*[(\[]\s*([^)\]]*?)\s*[)\]]")


def text_columns(path: Path) -> dict[str, NDArray[np.float64]]:
    """Columns of a text file of numbers, divided by commas, semicolons, tabs or blanks.

    Lines that begin with ``#`` are skipped. The last line before the numbers may hold the names of the columns, also
    after ``#`` or, as SPEC writes them, after ``#L`` and two blanks apart; a unit in brackets becomes the end of the
    name: ``x (um)`` is ``x_um``. Numbers may have decimal commas where something else divides them.

    Returns:
        The columns by name, or by number from 0; empty if the file is no text.

    Raises:
        DataError: If a line has no number in its place, or another number of columns than the first.
    """
    if path.stat().st_size > LARGEST_BYTES:
        return {}
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except UnicodeDecodeError:
        return {}
    above, rows = "", list[list[float]]()
    for number, line in enumerate(lines, start=1):
        bare = line.lstrip("#").strip()
        if not bare or (rows and line.startswith("#")):
            continue
        if (row := _numbers(bare)) is not None and not line.startswith("#"):
            rows.append(row)
        elif not rows:
            above = bare
        if rows and (row is None or len(row) != len(rows[0])):
            raise DataError(
                f"{path}, line {number}: '{bare[:40]}', expected {len(rows[0])} numbers as in the lines before.",
                hint="Keep one table in the file, with a number in each place.",
            )
    table = np.array(rows, dtype=np.float64)
    return dict(zip(_names(above, len(rows[0])), table.T, strict=True)) if rows else {}


def _numbers(line: str) -> list[float] | None:
    with suppress(ValueError):
        return [float(part) for part in _parts(line)]
    with suppress(ValueError):
        return [float(part.replace(",", ".")) for part in _parts(line, (";", "\t"))]
    return None


def _parts(line: str, dividers: tuple[str, ...] = (";", ",", "\t")) -> list[str]:
    divider = next((mark for mark in dividers if mark in line), None)
    return [part.strip().strip("\"'") for part in line.split(divider)]


def _names(line: str, number: int) -> list[str]:
    """Names of columns; their numbers where the line has not one for each."""
    for parts in (_parts(line), _SPEC_DIVIDER.split(line.removeprefix("L").strip())):
        names = [_UNIT_IN_BRACKETS.sub(r"_\1", part).replace("µ", "u").replace("μ", "u") for part in parts]
        if len(set(names)) == number == len(names) and all(names):
            return names
    return [str(index) for index in range(number)]
