"""Scans and reconstructions as HDF5 files, written completely or not at all."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.containers import is_hdf5, opened_hdf5
from ptycho_cli.data.physical_units import HC_EV_M
from ptycho_cli.data.readers.native_format import SCAN_FORMAT
from ptycho_cli.data.scan import LeftOut, Scan
from ptycho_cli.data.uncertainty_record import Uncertainty, add_uncertainty, uncertainty_in
from ptycho_cli.errors import DataError, OutputError


@dataclass(frozen=True, eq=False)
class Reconstruction:
    """An object with the probe and positions that explain a scan.

    Attributes:
        object: Transmission of the object, complex64 ``(y, x)``.
        probe: Probe, complex64 ``(mode, y, x)``, in square roots of photons.
        positions_px: Positions (y, x) in object pixels that were used, refined or not, ``(frame, 2)``.
        coverage: Illumination of each object pixel by all frames, float32 ``(y, x)``; 0 outside of all probes.
        object_origin_px: Scan coordinate (y, x) of the object's pixel (0, 0).
        frame_residual: Misfit of each frame, ``(frame,)``; None if it was not computed.
        object_pixel_m: Size of an object pixel in metres; None if unknown.
        wavelength_m: Wavelength in metres; None if unknown.
        run_record: Settings and versions of the run that made it; plain data for JSON.
        stored_positions_px: Positions before they were refined, ``(frame, 2)``; None if they were not.
        uncertainty: Errors estimated from parts of the frames; None if they were not estimated.
        intensities: Factor on the probe's photons in each frame, ``(frame,)``; None if it is 1 in all.
        background: Constant background in photons per pixel of each frame.
        stored_frames: Number in the scan's file of each frame, ``(frame,)``; None if no frame was left out.
        left_out: Frames of the file that were left out; None if none were.
    """

    object: NDArray[np.complex64]
    probe: NDArray[np.complex64]
    positions_px: NDArray[np.float64]
    coverage: NDArray[np.float32]
    object_origin_px: tuple[float, float]
    frame_residual: NDArray[np.float32] | None = None
    object_pixel_m: float | None = None
    wavelength_m: float | None = None
    run_record: Mapping[str, Any] | None = None
    uncertainty: Uncertainty | None = None
    stored_positions_px: NDArray[np.float64] | None = None
    intensities: NDArray[np.float64] | None = None
    background: float = 0.0
    stored_frames: NDArray[np.int64] | None = None
    left_out: LeftOut | None = None


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
    with new_file(path, force=force) as file:
        file.attrs["format"] = SCAN_FORMAT
        counts = stored_counts(scan)
        chunks = (1, *counts.shape[1:])
        file.create_dataset("counts", data=counts, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True)
        file["positions_px"] = scan.positions_px if scan.moved_px is None else scan.positions_px + scan.moved_px
        file["mask"] = scan.mask
        if scan.probe is not None:
            file["probe"] = scan.probe
        if scan.truth is not None:
            file["object_true"] = scan.truth
        if scan.stored_frames is not None:
            file["stored_frames"] = scan.stored_frames
        for name in ("truth_origin_px", "object_pixel_m", "wavelength_m", "radiation", "near_field"):
            if (value := getattr(scan, name)) is not None:
                file.attrs[name] = value


def stored_counts(scan: Scan) -> NDArray[Any]:
    """The counts of a scan as integers where they are whole numbers, ``(frame, y, x)``."""
    counts: NDArray[Any] = scan.counts
    if np.all(counts == np.rint(counts)) and counts.max(initial=0) < 2**32:
        counts = counts.astype(np.uint16 if counts.max(initial=0) < 2**16 else np.uint32)
    return counts


def write_reconstruction(path: str | PathLike[str], result: Reconstruction, *, force: bool = False) -> None:
    """Write a reconstruction in the layout of a Ptychodus product, with a ``ptycho_cli`` group for the rest.

    Args:
        path: HDF5 file to write.
        result: The reconstruction.
        force: Overwrite the file.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    pixel = result.object_pixel_m
    with new_file(path, force=force) as file:
        file.attrs["name"], file.attrs["comments"] = Path(path).stem, "Reconstructed by ptycho-cli."
        file["object"] = np.asarray(result.object, dtype=np.complex64)[None]
        file["object_layer_spacing_m"] = np.zeros(0)
        file["probe"] = np.asarray(result.probe, dtype=np.complex64)[None]
        file["probe_position_indexes"] = np.arange(len(result.positions_px))
        for axis, column in zip("yx", result.positions_px.T, strict=True):
            name, factor = (f"probe_position_{axis}_px", 1.0) if pixel is None else (f"probe_position_{axis}_m", pixel)
            file[name] = column * factor
        file.attrs["probe_photon_count"] = float(np.sum(np.abs(result.probe) ** 2))
        if result.wavelength_m is not None:
            file.attrs["probe_energy_eV"] = HC_EV_M / result.wavelength_m
        if pixel is not None:
            _add_pixel_sizes(file, result, pixel)
        _add_native(file.create_group("ptycho_cli"), result)


def _add_pixel_sizes(file: h5py.File, result: Reconstruction, pixel_m: float) -> None:
    for name in ("object", "probe"):
        file[name].attrs["pixel_height_m"] = file[name].attrs["pixel_width_m"] = pixel_m
    for axis, origin, side in zip("yx", result.object_origin_px, result.object.shape, strict=True):
        file["object"].attrs[f"center_{axis}_m"] = (origin + side / 2) * pixel_m


def _add_native(group: h5py.Group, result: Reconstruction) -> None:
    group["coverage"] = np.asarray(result.coverage, dtype=np.float32)
    group["object_px_origin"] = np.asarray(result.object_origin_px, dtype=np.float64)
    group["probe_position_px"] = np.asarray(result.positions_px, dtype=np.float64)
    if result.stored_positions_px is not None:
        group["stored_position_px"] = np.asarray(result.stored_positions_px, dtype=np.float64)
    if result.intensities is not None:
        group["frame_intensity"] = np.asarray(result.intensities, dtype=np.float64)
    if result.background:
        group.attrs["background"] = result.background
    if result.frame_residual is not None:
        group["frame_residual"] = np.asarray(result.frame_residual, dtype=np.float32)
    if result.stored_frames is not None:
        group["stored_frames"] = result.stored_frames
    if result.left_out is not None:
        group["left_out_frames"], group["left_out_position_px"] = result.left_out.frames, result.left_out.positions_px
    for name in ("object_pixel_m", "wavelength_m"):
        if (value := getattr(result, name)) is not None:
            group.attrs[name] = value
    group["run_record"] = json.dumps(dict(result.run_record or {}), sort_keys=True)
    if result.uncertainty is not None:
        add_uncertainty(group.create_group("uncertainty"), result.uncertainty)


def read_reconstruction(path: str | PathLike[str]) -> Reconstruction:
    """Read a file that ``write_reconstruction`` wrote.

    Raises:
        DataError: If the file is missing, damaged or of another kind.
    """
    other = DataError(
        f"{path}: not a reconstruction of this program.",
        hint="Give a file that `ptycho infer` or `ptycho train` wrote.",
    )
    if not is_hdf5(Path(path)):
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
            run_record=json.loads(group["run_record"].asstr()[()]),
            stored_positions_px=group["stored_position_px"][()] if "stored_position_px" in group else None,
            intensities=group["frame_intensity"][()] if "frame_intensity" in group else None,
            background=float(group.attrs.get("background", 0.0)),
            uncertainty=uncertainty_in(group["uncertainty"]) if "uncertainty" in group else None,
            stored_frames=group["stored_frames"][()] if "stored_frames" in group else None,
            left_out=_left_out(group),
        )


def _left_out(group: h5py.Group) -> LeftOut | None:
    if "left_out_frames" not in group:
        return None
    return LeftOut(group["left_out_frames"][()], group["left_out_position_px"][()])


def _float(value: Any) -> float | None:
    return None if value is None else float(value)


@contextmanager
def new_file(path: str | PathLike[str], *, force: bool = False) -> Iterator[h5py.File]:
    """Open an HDF5 file under a temporary name; rename it to ``path`` if the block succeeds, else remove it.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target}: this is a folder, expected the name of a file.", hint="Name a file in it.")
    if target.exists() and not force:
        raise OutputError(
            f"{target}: exists already.", hint="Choose another name, or overwrite it: --force, in Python force=True."
        )
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with h5py.File(temporary, "w") as file:
            yield file
        os.replace(temporary, target)
    except OSError as problem:
        # h5py gives the number of the system's error in its text alone
        number = problem.errno or int((re.search(r"errno = (\d+)", str(problem)) or [0, 0])[1])
        reason = os.strerror(number) if number else str(problem)
        raise OutputError(f"{target}: cannot be written ({reason}).", hint="Check the folder and free space.") from None
    finally:
        if temporary.exists():
            temporary.unlink()
