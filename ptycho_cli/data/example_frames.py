"""Frames that a reconstruction keeps beside those that it expects, so that a report can show them without the scan."""

from __future__ import annotations

from dataclasses import dataclass, fields

import h5py
import numpy as np
from numpy.typing import NDArray

MOST_PX = 256  # pixels along a side; larger frames are stored as means of blocks


@dataclass(frozen=True, eq=False)
class ExampleFrames:
    """Measured frames beside the frames that a reconstruction expects.

    Attributes:
        numbers: Their numbers in the file, int64 ``(frame,)``.
        roles: Why each was chosen: ``worst`` or ``typical``.
        residuals: R-factor of each, ``(frame,)``.
        measured: Photons, float32 ``(frame, y, x)``, NaN where masked, zero frequency at ``n // 2``; frames of more
            than 256 pixels are means over blocks.
        modelled: Expected photons, likewise.
    """

    numbers: NDArray[np.int64]
    roles: tuple[str, ...]
    residuals: NDArray[np.float64]
    measured: NDArray[np.float32]
    modelled: NDArray[np.float32]


def block_means(frames: NDArray[np.float32], valid: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Frames ``(frame, y, x)`` with NaN where masked, and means over blocks of pixels where they are too large."""
    block = -(-frames.shape[-1] // MOST_PX)
    side = frames.shape[-1] // block
    cut = np.where(valid, frames, np.nan)[:, : side * block, : side * block]
    parts = cut.reshape(len(frames), side, block, side, block)
    counted = np.isfinite(parts).sum((2, 4))
    sums = np.where(np.isfinite(parts), parts, 0).sum((2, 4))
    return np.where(counted > 0, sums / np.maximum(counted, 1), np.nan).astype(np.float32)


def add_examples(group: h5py.Group, found: ExampleFrames) -> None:
    """Write into a new HDF5 group."""
    for field in fields(ExampleFrames):
        value = getattr(found, field.name)
        if field.name == "roles":
            group.attrs["roles"] = list(value)
        elif field.name in ("measured", "modelled"):
            group.create_dataset(field.name, data=value, compression="gzip", compression_opts=4)
        else:
            group[field.name] = value


def examples_in(group: h5py.Group) -> ExampleFrames:
    """Read a group that ``add_examples`` wrote."""
    arrays = {name: np.asarray(dataset[()]) for name, dataset in group.items()}
    return ExampleFrames(roles=tuple(str(role) for role in group.attrs["roles"]), **arrays)
