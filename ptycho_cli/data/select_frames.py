"""A part of a scan: frames by their numbers, or by a region of positions."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.frame_numbers import frame_numbers
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.scan_contents import positions_in_file
from ptycho_cli.errors import ConfigError, DataError

_NUMBER = r"\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*"
_REGION = re.compile(f"{_NUMBER}:{_NUMBER},{_NUMBER}:{_NUMBER}")


def select_frames(scan: Scan, *, numbers: str | None = None, region: str | None = None) -> Scan:
    """Return the scan with the frames that are asked for, in the order of the file.

    Args:
        scan: The scan.
        numbers: Numbers in the file and ranges of them, such as ``0-99,200``; None for all.
        region: Limits of the positions in object pixels, ``Y0:Y1,X0:X1``, ends included; None for all.

    Raises:
        ConfigError: If ``region`` is not written so.
        DataError: If there are no such frames.
    """
    kept = np.ones(scan.n_frames, dtype=np.bool_)
    if numbers is not None:
        asked = frame_numbers((numbers,), scan.source, int(scan.frame_numbers.max()) + 1, setting="--select")
        kept &= np.isin(scan.frame_numbers, asked)
    if region is not None:
        kept &= _inside(positions_in_file(scan), _limits(region))
    if not kept.any():
        low, high = positions_in_file(scan).min(axis=0), positions_in_file(scan).max(axis=0)
        raise DataError(
            f"{scan.source}: no frame is selected; positions reach from {low[0]:.1f} to {high[0]:.1f} along y and from "
            f"{low[1]:.1f} to {high[1]:.1f} along x, in object pixels.",
            hint="Choose other numbers, or a region Y0:Y1,X0:X1 within these limits.",
        )
    if kept.all():
        return scan
    rows = np.flatnonzero(kept)
    return replace(scan.select(rows), stored_frames=scan.frame_numbers[rows])


def _inside(positions: NDArray[np.float64], limits: NDArray[np.float64]) -> NDArray[np.bool_]:
    inside = (positions >= limits[:, 0]) & (positions <= limits[:, 1])
    return np.asarray(inside.all(axis=1), dtype=np.bool_)


def _limits(region: str) -> NDArray[np.float64]:
    """Limits ``(axis, 2)`` of a region as it is typed."""
    match = _REGION.fullmatch(region)
    if match is None:
        raise ConfigError(
            f"--region is {region}, expected Y0:Y1,X0:X1 in object pixels.", hint="For example --region -20:20,0:35."
        )
    return np.sort(np.array(match.groups(), dtype=np.float64).reshape(2, 2), axis=1)
