"""Pairs of HDF5 files: frames in ``*_dp.hdf5``, positions and probe in ``*_para.hdf5`` beside it, or both in one file.

pty-chi writes ``probe_position_y_m`` and ``probe_position_x_m``. fold_slice writes ``ppY`` and ``ppX`` in metres from
MATLAB, whose arrays have their axes reversed in HDF5.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ptycho_cli.data.frame_corrections import SwapAxes
from ptycho_cli.data.frame_stack import stack_of
from ptycho_cli.data.readers.common_names import joined_columns
from ptycho_cli.data.readers.raw_scan import RawScan, frames_at, loaded, number_at
from ptycho_cli.data.readers.source import Source, opened_source
from ptycho_cli.extend import ReaderEntry

_END, _OTHER_END = "_dp", "_para"
_COLUMNS = (("probe_position_y_m", "probe_position_x_m"), ("ppY", "ppX"))


def can_read(source: Source) -> bool:
    """True for HDF5 files with frames ``dp`` alone, beside a file with the parameters."""
    frames, parameters = source.dataset("dp") is not None, any(source.dataset(x) is not None for _, x in _COLUMNS)
    return (frames and (parameters or _partner(source.path) is not None)) or (
        parameters and _partner(source.path, _OTHER_END, _END) is not None
    )


def read(source: Source) -> RawScan:
    """Read frames from one file and everything else from the other."""
    if source.dataset("dp") is None:
        with opened_source(_beside(source, _OTHER_END, _END), source.options) as frames:
            return read(frames)
    raw = RawScan(source.name, "dp", frames_at(source.dataset("dp"), source.max_frames))
    if any(source.dataset(x) is not None for _, x in _COLUMNS):  # both in one file
        _add_parameters(raw, source, by_matlab=False)
    else:
        with opened_source(_beside(source), source.options) as other:
            _add_parameters(raw, other, by_matlab=other.dataset("ppX") is not None)
        raw.notes.append(f"positions and geometry from {other.path.name}, beside the frames (data.positions).")
    if raw.positions is not None:
        raw.positions = raw.positions[: source.max_frames]
    return raw


def _add_parameters(raw: RawScan, other: Source, *, by_matlab: bool) -> None:
    if by_matlab:
        raw.counts = stack_of(raw.counts).then(SwapAxes())
    for y, x in _COLUMNS:
        if None not in (stored := [other.dataset(name) for name in (y, x)]):
            raw.positions = joined_columns(other.name, (y, x), [np.ravel(loaded(column)) for column in stored])
            raw.positions_name = f"{y} and {x} of {other.path.name}"
            raw.position_order, raw.position_unit = "yx", "m"
    if (stored := other.dataset("probe")) is not None:
        probe = loaded(stored)
        raw.probe = np.swapaxes(probe, -2, -1) if by_matlab and probe.ndim > 1 else probe

    def first(*names: str) -> float | None:
        return next((number for name in names if (number := number_at(other, name, raw.notes))), None)

    raw.object_pixel_m = first("obj_pixel_size_m", "pixel_size_m", "dx")
    raw.wavelength_m = first("lambda_m", "lambda")


def _partner(path: Path, end: str = _END, other_end: str = _OTHER_END) -> Path | None:
    if not path.stem.endswith(end):
        return None
    other = path.with_name(path.stem.removesuffix(end) + other_end + path.suffix)
    return other if other.is_file() else None


def _beside(source: Source, end: str = _END, other_end: str = _OTHER_END) -> Path:
    """The other file of a pair, which ``can_read`` has seen."""
    found = _partner(source.path, end, other_end)
    assert found is not None
    return found


READER = ReaderEntry("Pair", "Files *_dp.hdf5 and *_para.hdf5 of pty-chi and fold_slice.", can_read, read)
