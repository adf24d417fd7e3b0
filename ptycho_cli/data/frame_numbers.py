"""Numbers and ranges of frames as a user writes them: ``3``, ``10-20``."""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.errors import DataError


def frame_numbers(
    written: Iterable[str], source: str, n_frames: int, setting: str = "data.exclude_frames"
) -> NDArray[np.int64]:
    """Convert numbers and ranges, both ends included, to frame numbers from 0, in order.

    Args:
        written: Texts such as ``3``, ``10-20`` or ``3,10-20``.
        source: Path of the file, for messages.
        n_frames: Number of frames in the file.
        setting: Name of the setting or flag, for messages.

    Raises:
        DataError: If one is neither a number nor a range, or the scan has no such frame.
    """
    found: set[int] = set()
    for item in (part for text in written for part in text.split(",")):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", item)
        if match is None:
            raise DataError(
                f"{setting}: '{item}' is not a frame number or a range.",
                hint="Write 3 or 10-20; frames count from 0.",
            )
        first, last = int(match[1]), int(match[2] or match[1])
        if last < first or last >= n_frames:
            raise DataError(
                f"{source}: {setting} names {item}, but the scan has frames 0 to {n_frames - 1}.",
                hint="Frames count from 0, in the order of the file.",
            )
        found.update(range(first, last + 1))
    return np.array(sorted(found), dtype=np.int64)
