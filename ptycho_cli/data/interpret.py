"""From a scan as stored to a ``Scan``: every assumption is made here, and written down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data import frames, scan_checks
from ptycho_cli.data.bright_field_motion import find_bright_field_motion
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import DataError


def interpret(raw: RawScan, options: ReadOptions) -> Scan:
    """Convert a scan as stored into the conventions of this program.

    The order matters: shapes are checked before values, and values before anything is computed from them.

    Args:
        raw: The scan as a reader returns it.
        options: How to understand what the file does not say.

    Returns:
        The scan; its ``assumptions`` has a line for everything that neither file nor options say.

    Raises:
        DataError: If it cannot be used as a scan.
    """
    notes = list(raw.notes)
    counts = scan_checks.frames_of(raw)
    scan_checks.check_positions(raw, counts.shape[0])
    counts, mask = frames.apply_mask(raw, counts, notes)
    counts = _as_counts(raw, counts, options, notes)
    scan_checks.check_light(raw, counts, mask)
    if options.mask_bad_pixels:
        counts, mask = frames.without_bad_pixels(counts, mask, notes)

    corner = _is_corner(raw, counts, mask, options, notes)
    if corner:
        counts, mask = np.fft.fftshift(counts, axes=(1, 2)), np.fft.fftshift(mask)
    stored_shape = counts.shape[1:]
    counts, mask = frames.square(counts, mask, notes)
    size = counts.shape[-1]

    pixel_m = _object_pixel(raw, stored_shape, size, options)
    positions = _positions(raw, stored_shape, size, pixel_m, options, notes)
    scan_checks.check_extent(raw, positions, size)
    probe = None if raw.probe is None else _probe(raw, counts, stored_shape, notes)
    near_field = raw.near_field if raw.is_native else raw.near_field or _judge_motion(counts, positions, options, notes)
    truth, origin = _truth(raw, positions, size, cropped=stored_shape != (size, size))
    return Scan(
        source=raw.source,
        counts=np.ascontiguousarray(counts, dtype=np.float32),
        positions_px=positions,
        mask=np.ascontiguousarray(mask),
        probe=probe,
        object_pixel_m=pixel_m,
        wavelength_m=raw.wavelength_m,
        assumptions=tuple(notes),
        truth=truth,
        truth_origin_px=origin,
        near_field=near_field,
        layout=raw.layout,
    )


def _as_counts(raw: RawScan, counts: Array, options: ReadOptions, notes: list[str]) -> Array:
    stored = raw.stored or "counts"
    if options.stored != "auto":
        notes[:] = [note for note in notes if "data.stored" not in note]
        stored = options.stored
    elif raw.stored is None and not np.issubdtype(counts.dtype, np.integer) and np.any(counts[:8] % 1 != 0):
        notes.append(f"'{raw.counts_name}' has fractions and is taken as photon counts (data.stored).")
    counts = counts.astype(np.float32, copy=False)
    return counts**2 if stored == "amplitude" else counts


def _is_corner(raw: RawScan, counts: Array, mask: NDArray[np.bool_], options: ReadOptions, notes: list[str]) -> bool:
    if options.zero_frequency != "auto":
        return options.zero_frequency == "corner"
    if raw.zero_frequency is not None:
        return raw.zero_frequency == "corner"
    corner = frames.zero_is_at_corner(counts, mask)
    place = "corner" if corner else "center"
    notes.append(f"zero frequency taken to be at the {place}, where the light is (data.zero_frequency).")
    return corner


def _object_pixel(raw: RawScan, stored_shape: tuple[int, ...], size: int, options: ReadOptions) -> float | None:
    """Size of an object pixel; that of a cropped frame is larger."""
    if options.object_pixel_m is not None:
        if not 0 < options.object_pixel_m < np.inf:
            raise DataError(f"object_pixel_m is {options.object_pixel_m:g}, expected a positive number of metres.")
        return options.object_pixel_m
    if raw.object_pixel_m is not None:
        return raw.object_pixel_m * stored_shape[-1] / size
    if raw.wavelength_m and raw.distance_m and raw.detector_pixel_m:
        return raw.wavelength_m * raw.distance_m / (size * raw.detector_pixel_m)
    return None


def _positions(
    raw: RawScan,
    stored_shape: tuple[int, ...],
    size: int,
    pixel_m: float | None,
    options: ReadOptions,
    notes: list[str],
) -> NDArray[np.float64]:
    if raw.positions is None:  # check_positions has refused such files
        raise AssertionError("positions were not checked")
    order = options.position_order
    if order == "auto":
        if raw.position_order is None:
            notes.append(f"columns of '{raw.positions_name}' taken as y, x (data.position_order).")
        order = raw.position_order or "yx"
    columns = raw.positions[:, :2].astype(np.float64)
    positions = np.array(columns if order == "yx" else columns[:, ::-1])
    if _unit(raw, positions, options, notes) == "m":
        if pixel_m is None:
            raise DataError(
                f"{raw.source}: positions are in metres, but the size of an object pixel is not known: expected "
                "wavelength, distance and detector pixel in the file.",
                hint="Set data.object_pixel_m, or data.position_unit=px if the positions are in pixels.",
            )
        positions /= pixel_m
    else:
        positions *= size / np.array(stored_shape, dtype=np.float64)  # pixels of a cropped frame are larger
    signs = [-1.0 if axis in options.flip_positions else 1.0 for axis in "yx"]
    return np.ascontiguousarray(positions * signs) if options.flip_positions != "none" else positions


def _unit(raw: RawScan, positions: NDArray[np.float64], options: ReadOptions, notes: list[str]) -> str:
    if options.position_unit != "auto":
        return options.position_unit
    if raw.position_unit is not None:
        return raw.position_unit
    span = float(np.ptp(positions, axis=0).max())
    # No scan is a hundredth of a pixel wide, and none is a centimetre wide.
    unit = "m" if 0 < span < 1e-2 else "px"
    notes.append(f"positions span {span:.3g} and are taken to be in {unit} (data.position_unit).")
    return unit


def _probe(raw: RawScan, counts: Array, stored_shape: tuple[int, ...], notes: list[str]) -> NDArray[np.complex64]:
    probe = scan_checks.probe_of(raw, stored_shape)
    if counts.shape[1:] != stored_shape:
        probe = frames.crop_bandwidth(probe, counts.shape[-1])
    photons = float(counts.sum(axis=(1, 2), dtype=np.float64).mean())
    power = float(np.sum(np.abs(probe) ** 2))
    factor = 1.0 if raw.is_native else np.sqrt(photons / power)
    if not 0.8 < factor < 1.25:
        notes.append(f"probe scaled by {factor:.3g} so that its power is the mean photons of a frame, {photons:.3g}.")
    return np.asarray(probe * factor, dtype=np.complex64)


def _judge_motion(counts: Array, positions: NDArray[np.float64], options: ReadOptions, notes: list[str]) -> str | None:
    """Reason why the scan is near-field, if its frames show one; a note where a position axis looks wrong."""
    motion = find_bright_field_motion(counts, positions)
    if motion is None:
        return None
    if motion.beam_px > 1.5 * counts.shape[-1]:
        return (
            f"the sample's image in the bright field moves as in a beam {motion.beam_px:.0f} object pixels wide, and "
            f"far-field frames hold {counts.shape[-1]}"
        )
    if motion.axes_swapped and options.position_order == "auto":
        notes.append(
            "steps along y move the sample's image in the bright field along x: y and x look swapped "
            "(data.position_order)."
        )
    elif motion.one_axis_reversed and options.flip_positions == "none":
        notes.append(
            "the sample's image in the bright field moves with the scan along one axis and against it along the "
            "other: one axis of the positions looks reversed (data.flip_positions)."
        )
    return None


def _truth(
    raw: RawScan, positions: NDArray[np.float64], size: int, *, cropped: bool
) -> tuple[NDArray[np.complex64] | None, tuple[float, float] | None]:
    """The known object and its origin: as stored, or else the usual origin at which all patches lie inside."""
    if raw.truth is None or cropped:
        return None, None
    truth = np.squeeze(raw.truth).astype(np.complex64)
    if truth.ndim != 2:
        return None, None
    if raw.truth_origin_px is not None:
        return truth, raw.truth_origin_px
    shape = np.array(truth.shape, dtype=np.float64)
    low, high = positions.min(axis=0) - size / 2, positions.max(axis=0) + size / 2
    for origin in (np.zeros(2), -shape / 2):
        if np.all(low >= origin - 1) and np.all(high <= origin + shape + 1):
            return truth, (float(origin[0]), float(origin[1]))
    return truth, None
