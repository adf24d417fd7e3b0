"""Checks of scans; each refusal is one line: where, what was found, what was expected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.finding import counted, with_refusal
from ptycho_cli.data.frame_stack import FrameStack, stack_of
from ptycho_cli.data.frame_statistics import of_pixels, photons_of
from ptycho_cli.data.memory import refuse_if_too_large
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.stored_frames import StoredFrames
from ptycho_cli.errors import DataError

MIN_FRAMES = 4  # one held out, one to score the probe on, one to train on, and one more
PIXEL_TOLERANCE = 0.01  # relative
EVEN_LIGHT = 0.5  # of the spread along the first axis: frames lie along the last axis if it spreads less than that
LARGEST_POSITION = 1e30  # in any unit; the square of a larger one may not be a number
OBJECT_COPIES = 4  # copies of an object, complex64, that every reconstruction has in memory at once


def check_kinds(raw: RawScan) -> None:
    """Refuse a probe, mask or truth that holds no numbers.

    Raises:
        DataError: If one does.
    """
    kinds = {"probe": "iufc", "mask": "biuf", "truth": "iufc"}
    for name, allowed in kinds.items():
        stored = getattr(raw, name)
        if stored is not None and np.asarray(stored).dtype.kind not in allowed:
            raise DataError(
                f"{raw.source}: '{name}' is of type {np.asarray(stored).dtype}, expected numbers.",
                hint=f"Store the {name} as an array of numbers, or leave it out.",
            )


def frames_of(raw: RawScan) -> tuple[FrameStack, bool]:
    """The stored frames as ``(frame, y, x)``, and whether they were stored with the frames along the last axis.

    Raises:
        DataError: Unless they are a stack of real images.
    """
    where = f"{raw.source}: '{raw.counts_name}'"
    counts: Array | FrameStack = raw.counts
    n_positions = None if raw.positions is None or raw.positions.ndim == 0 else len(raw.positions)
    last = not raw.is_native and frames_last(counts, n_positions)
    if last:
        counts = _frames_first(counts)
    if counts.ndim != 3 or min(counts.shape) < 1 or min(counts.shape[1:]) < 8:
        raise DataError(
            f"{where} has shape {counts.shape}, expected (frame, y, x) with frames of at least 8 x 8 pixels.",
            hint="Store one image for each scan position.",
        )
    if not _is_real(counts):
        raise DataError(
            f"{where} is of type {counts.dtype}, expected real numbers.", hint="Store measured counts, not waves."
        )
    return stack_of(counts), last


def _frames_first(counts: Array | FrameStack) -> Array | FrameStack:
    """Frames that are stored along the last axis, ``(y, x, frame)``, as ``(frame, y, x)``."""
    if isinstance(counts, FrameStack) and isinstance(counts.base, StoredFrames) and not counts.corrections:
        found = counts.base.with_frames_last() if counts.rows is None else None
        if found is not None:
            found.keep_bytes = counts.base.keep_bytes
            return replace(counts, base=found)
    return np.moveaxis(np.asarray(counts), -1, 0)


def frames_last(counts: Array | FrameStack, n_positions: int | None) -> bool:
    """Whether an array is ``(y, x, frame)``: its last axis, and not its first, has one entry for each position.

    If both have, the light decides: frames have much the same photons, rows of a detector have not.
    """
    if counts.ndim != 3 or n_positions is None or counts.shape[-1] != n_positions:
        return False
    if counts.shape[0] != n_positions or not _is_real(counts):
        return bool(counts.shape[0] != n_positions)
    stack = stack_of(counts)
    last = _spread(of_pixels(stack, lambda block: block.sum(axis=0, dtype=np.float64)).sum(axis=0))
    return last < EVEN_LIGHT * _spread(photons_of(stack))


def _spread(photons: NDArray[np.float64]) -> float:
    """Difference of the quartiles over the median, which a few odd frames do not change."""
    low, middle, high = np.quantile(photons, (0.25, 0.5, 0.75))
    return float((high - low) / middle) if middle > 0 else float("inf")


def _is_real(array: Array | FrameStack) -> bool:
    return np.issubdtype(array.dtype, np.integer) or np.issubdtype(array.dtype, np.floating)


def positions_of(raw: RawScan, n_frames: int) -> NDArray[np.float64]:
    """Stored positions as float64 ``(frame, 2)``, NaN where they are none; refused unless each frame has one.

    Raises:
        DataError: If there are none, or they are not ``(n_frames, 2)`` or not real.
    """
    if raw.positions is None:
        raise DataError(
            f"{raw.source}: no positions in it, expected one (y, x) for each of its {n_frames} frames.",
            hint=raw.positions_hint
            or "Name them with data.positions=PATH, or FILE:PATH in another file; a raster needs data.scan_step_m.",
        )
    stored = raw.positions
    if stored.ndim == 3 and raw.scan_shape is not None and stored.shape[1] == raw.scan_shape[1]:
        stored = stored.reshape(-1, stored.shape[-1])
    where, shape = f"{raw.source}: '{raw.positions_name}'", stored.shape
    if stored.ndim != 2 or shape[1] not in (2, 3):
        columns = "Name both columns: --positions PATH_Y,PATH_X."
        raise DataError(
            f"{where} has shape {shape}, expected (frame, 2).",
            hint=columns if stored.ndim == 1 else "Store one row (y, x) for each frame.",
        )
    if not _is_real(raw.positions):
        raise DataError(f"{where} is of type {stored.dtype}, expected real numbers.")
    if shape[0] != n_frames:
        raise DataError(
            f"{where} has {shape[0]} positions, but '{raw.counts_name}' has {n_frames} frames; expected the same"
            " number.",
            hint=f"There are {shape[0] // n_frames} for each frame: store their means."
            if shape[0] % n_frames == 0
            else "Store one position for each frame.",
        )
    positions = np.asarray(stored[:, :2], dtype=np.float64)
    return np.where(np.abs(positions) < LARGEST_POSITION, positions, np.nan)


def check_places(raw: RawScan, positions: NDArray[np.float64], frames: NDArray[np.int64]) -> None:
    """Refuse positions, of the frames that the user keeps, that are unknown or all the same.

    Args:
        raw: The scan as stored, for messages.
        positions: Stored positions of these frames, ``(frame, 2)``.
        frames: Their numbers in the file, from 0.

    Raises:
        DataError: If one is not finite, or all are the same.
    """
    where = f"{raw.source}: '{raw.positions_name}'"
    bad: NDArray[np.bool_] = np.any(~np.isfinite(positions), axis=1)
    if bad.any():
        raise DataError(
            f"{where} is NaN or infinite for {int(bad.sum())} of {len(bad)} frames, first frame {frames[bad][0]}; "
            "expected finite positions.",
            hint="Leave these frames out with data.exclude_frames.",
        )
    if len(positions) > 1 and not np.ptp(positions, axis=0).any():
        raise DataError(
            f"{where} is the same place for all {len(positions)} frames, expected a scan.",
            hint="Store where the probe was for each frame.",
        )


def check_light(raw: RawScan, total: NDArray[np.float64], n_frames: int) -> None:
    """Refuse a scan in which no frame has light.

    Args:
        raw: The scan as stored, for messages.
        total: Sum of all frames, 0 where masked, ``(y, x)``.
        n_frames: Number of frames.

    Raises:
        DataError: If all valid pixels of all frames are 0.
    """
    if not total.any():
        raise DataError(
            f"{raw.source}: '{raw.counts_name}' is zero in all {n_frames} frames, expected photon counts.",
            hint="Check that the shutter was open and that this is the right array.",
        )


def probe_of(raw: RawScan, frame_shape: tuple[int, ...]) -> Array:
    """The stored probe, complex128 ``(mode, y, x)``.

    Raises:
        DataError: If it is not as large as a frame, not finite, or zero.
    """
    probe = np.asarray(raw.probe)
    if probe.ndim < 2 or probe.shape[-2:] != frame_shape:
        raise DataError(
            f"{raw.source}: 'probe' is {probe.shape}, but '{raw.counts_name}' has frames of {frame_shape}.",
            hint="Crop or pad the probe to the detector, then save both in one file.",
            finding="probe-size",
        )
    with np.errstate(over="ignore", under="ignore"):
        power = np.sum(np.abs(probe) ** 2) if np.issubdtype(probe.dtype, np.number) else np.nan
    if not 0.0 < power < np.inf:
        raise DataError(
            f"{raw.source}: 'probe' is zero or not finite, expected a complex wave.",
            hint="Leave the probe out to start from one made of the data.",
        )
    return probe.reshape(-1, *frame_shape).astype(np.complex128)


def check_extent(raw: RawScan, positions_px: NDArray[np.float64], size: int) -> None:
    """Refuse positions so far apart that the object does not fit into memory.

    Raises:
        DataError: If it does not.
    """
    height, width = (float(side) + size for side in np.ptp(positions_px, axis=0))
    refuse_if_too_large(
        f"{raw.source}: '{raw.positions_name}' spans an object of {height:.3g} x {width:.3g} pixels, which needs",
        OBJECT_COPIES * height * width * np.dtype(np.complex64).itemsize,
        hint="Check unit and pixel size: data.position_unit, data.object_pixel_m.",
    )


def refuse_few_frames(scan: Scan) -> None:
    """Refuse to train on a scan with fewer than ``MIN_FRAMES`` frames.

    Raises:
        DataError: If it has fewer.
    """
    if scan.n_frames < MIN_FRAMES:
        error = DataError(
            f"{scan.source}: {counted(scan.n_frames, 'frame')}, expected at least {MIN_FRAMES} to train on.",
            hint="Use a whole scan, of hundreds of frames; data.max_frames may be too small.",
            finding="few-frames",
        )
        raise with_refusal(error, scan.findings, scan.source)


def refuse_other_pixels(scans: Sequence[Scan]) -> None:
    """Refuse scans of different object pixels, since one probe in pixels fits only one of them.

    Raises:
        DataError: If two known sizes differ by more than 1 %.
    """
    known = [scan for scan in scans if scan.object_pixel_m is not None]
    for scan in known[1:]:
        refuse_pixel(scan, known[0].object_pixel_m, known[0].source)


def refuse_pixel(scan: Scan, pixel_m: float | None, of: str) -> None:
    """Refuse a scan whose object pixel differs from that of a probe, if both are known.

    Args:
        scan: The scan.
        pixel_m: Object pixel that the probe was made for; None if unknown.
        of: Owner of the probe, for the message.

    Raises:
        DataError: If the two differ by more than 1 %.
    """
    if scan.object_pixel_m is None or pixel_m is None:
        return
    if abs(scan.object_pixel_m / pixel_m - 1) > PIXEL_TOLERANCE:
        raise DataError(
            f"{scan.source}: object pixels of {scan.object_pixel_m:.4g} m, but {of} has {pixel_m:.4g} m; "
            "a probe in pixels fits only one of them.",
            hint="Crop the frames to one pixel size, or correct data.object_pixel_m.",
        )


def refuse_near_field(scan: Scan) -> None:
    """Refuse to train on or reconstruct a near-field scan.

    Raises:
        DataError: If it is one.
    """
    if scan.near_field is not None:
        error = DataError(
            f"{scan.source}: a near-field scan ({scan.near_field}); the model here is far-field.",
            hint="Use a program for near-field ptychography, or set data.findings.near-field=note if it is not one.",
            finding="near-field",
        )
        raise with_refusal(error, scan.findings, scan.source)
