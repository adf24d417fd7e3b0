"""NPZ: complex object and probe with positions, coverage and pixel size, by the names of ``Reconstruction``."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from ptycho_cli.data.exports.export_formats import ExportFormat
from ptycho_cli.data.exports.exported import Exported


def write(exported: Exported, path: Path) -> None:
    """Write arrays and numbers by name, and the unwrapped phase if it was asked for."""
    result = exported.result
    arrays = {name: getattr(result, name) for name in ("object", "probe", "positions_px", "coverage")}
    if exported.unwrap:
        arrays["object_phase"] = exported.object_phase
    if result.object_pixel_m is not None:
        arrays["positions_m"] = result.positions_px * result.object_pixel_m
    with path.open("wb") as file:
        np.savez_compressed(file, **arrays, **exported.values())


FORMAT = ExportFormat((".npz",), write, has_phase=True)
