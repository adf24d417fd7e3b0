"""Scans and reconstructions as HDF5 files, written completely or not at all."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from ptycho_cli.data.background import Background, is_pattern
from ptycho_cli.data.containers import file_start, has_hdf5, opened_hdf5
from ptycho_cli.data.count_blocks import write_counts
from ptycho_cli.data.example_frames import add_examples, examples_in
from ptycho_cli.data.new_files import new_hdf5
from ptycho_cli.data.ptychodus_product import product_of
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import LeftOut, Scan
from ptycho_cli.data.scan_contents import scan_contents
from ptycho_cli.data.uncertainty_record import add_uncertainty, uncertainty_in
from ptycho_cli.errors import DataError


def write_scan(path: str | PathLike[str], scan: Scan, *, force: bool = False) -> None:
    """Write a scan in this program's layout; ``read_scan`` gives it back exactly.

    Counts that are whole numbers are stored as integers. Frame intensities and background are not stored.

    Args:
        path: HDF5 file to write.
        scan: The scan.
        force: Overwrite the file.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    with new_hdf5(path, force=force) as file:
        write_counts(file, "counts", scan)
        for name, value in scan_contents(scan).items():
            if isinstance(value, np.ndarray):
                file[name] = value
            else:
                file.attrs[name] = value


def write_reconstruction(path: str | PathLike[str], result: Reconstruction, *, force: bool = False) -> None:
    """Write a reconstruction in the layout of a Ptychodus product, with a ``ptycho_cli`` group for the rest.

    Args:
        path: HDF5 file to write.
        result: The reconstruction.
        force: Overwrite the file.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    with new_hdf5(path, force=force) as file:
        product_of(result, Path(path).stem).add_to(file)
        _add_native(file.create_group("ptycho_cli"), result)


def _add_native(group: h5py.Group, result: Reconstruction) -> None:
    group["coverage"] = np.asarray(result.coverage, dtype=np.float32)
    group["object_px_origin"] = np.asarray(result.object_origin_px, dtype=np.float64)
    group["probe_position_px"] = np.asarray(result.positions_px, dtype=np.float64)
    if result.stored_positions_px is not None:
        group["stored_position_px"] = np.asarray(result.stored_positions_px, dtype=np.float64)
    if result.intensities is not None:
        group["frame_intensity"] = np.asarray(result.intensities, dtype=np.float64)
    if is_pattern(result.background):
        group["background_pattern"] = np.asarray(result.background, dtype=np.float32)
    elif result.background:
        group.attrs["background"] = result.background
    if result.frame_residual is not None:
        group["frame_residual"] = np.asarray(result.frame_residual, dtype=np.float32)
    if result.stored_frames is not None:
        group["stored_frames"] = result.stored_frames
    if result.left_out is not None:
        group["left_out_frames"], group["left_out_position_px"] = result.left_out.frames, result.left_out.positions_px
    for name in ("object_pixel_m", "wavelength_m", "distance_m"):
        if (value := getattr(result, name)) is not None:
            group.attrs[name] = value
    group["run_record"] = json.dumps(dict(result.run_record or {}), sort_keys=True)
    if result.uncertainty is not None:
        add_uncertainty(group.create_group("uncertainty"), result.uncertainty)
    if result.examples is not None:
        add_examples(group.create_group("example_frames"), result.examples)


def _background(group: h5py.Group) -> Background:
    if "background_pattern" in group:
        return np.asarray(group["background_pattern"][()], dtype=np.float64)
    return float(group.attrs.get("background", 0.0))


def read_reconstruction(path: str | PathLike[str]) -> Reconstruction:
    """Read a file that ``write_reconstruction`` wrote.

    Raises:
        DataError: If the file is missing, damaged or of another kind.
    """
    other = DataError(
        f"{path}: not a reconstruction of this program.",
        hint="Give a file that `ptycho infer` or `ptycho train` wrote.",
    )
    if not has_hdf5(Path(path), file_start(Path(path))):
        raise other
    with opened_hdf5(Path(path)) as file:
        if "ptycho_cli/object_px_origin" not in file or "object" not in file:
            raise other
        group = file["ptycho_cli"]
        origin = np.asarray(group["object_px_origin"][()], dtype=np.float64)
        return Reconstruction(
            object=np.asarray(file["object"][0]),
            probe=np.asarray(file["probe"][0]),
            positions_px=np.asarray(group["probe_position_px"][()]),
            coverage=np.asarray(group["coverage"][()]),
            object_origin_px=(float(origin[0]), float(origin[1])),
            frame_residual=np.asarray(group["frame_residual"][()]) if "frame_residual" in group else None,
            object_pixel_m=_float(group.attrs.get("object_pixel_m")),
            wavelength_m=_float(group.attrs.get("wavelength_m")),
            distance_m=_float(group.attrs.get("distance_m")),
            run_record=json.loads(group["run_record"].asstr()[()]),
            stored_positions_px=group["stored_position_px"][()] if "stored_position_px" in group else None,
            intensities=group["frame_intensity"][()] if "frame_intensity" in group else None,
            background=_background(group),
            uncertainty=uncertainty_in(group["uncertainty"]) if "uncertainty" in group else None,
            stored_frames=group["stored_frames"][()] if "stored_frames" in group else None,
            left_out=_left_out(group),
            examples=examples_in(group["example_frames"]) if "example_frames" in group else None,
        )


def _left_out(group: h5py.Group) -> LeftOut | None:
    if "left_out_frames" not in group:
        return None
    return LeftOut(group["left_out_frames"][()], group["left_out_position_px"][()])


def _float(value: Any) -> float | None:
    return None if value is None else float(value)
