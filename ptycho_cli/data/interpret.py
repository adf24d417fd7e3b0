"""From a scan as stored to a ``Scan``: every assumption is made here or in ``data.findings``, and written down."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ptycho_cli.data import frames, scan_checks
from ptycho_cli.data.bright_field_motion import find_bright_field_motion
from ptycho_cli.data.findings import count_units, frame_masks, position_outliers, run_checks, sampling, unused_keys
from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import Finding, refuse_errors, with_refusal
from ptycho_cli.data.frame_corrections import ClipNegative, Orient
from ptycho_cli.data.frame_numbers import frame_numbers
from ptycho_cli.data.frame_stack import FrameStack, stack_of
from ptycho_cli.data.frame_statistics import photons_of, total_of, use_known
from ptycho_cli.data.islands import truth_of_islands
from ptycho_cli.data.orientation import FRAME_TRANSFORMS, oriented_frames
from ptycho_cli.data.position_sequence import in_sequence
from ptycho_cli.data.read_as import ReadAs
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.data.scan import COMPUTED_PROBE, FILE_PROBE, Counts, LeftOut, Scan
from ptycho_cli.data.scan_geometry import PlacedFrames, column_order, place_frames
from ptycho_cli.data.starting_probe import probe_is_computed, starting_probe
from ptycho_cli.data.stated_numbers import with_raster
from ptycho_cli.errors import DataError
from ptycho_cli.progress_callback import Progress


def interpret(raw: RawScan, options: ReadOptions, progress: Progress | None = None) -> Scan:
    """Convert a scan as stored into the conventions of this program.

    The order matters: shapes are checked before values, and values before anything is computed from them.

    Args:
        raw: The scan as a reader returns it.
        options: How to understand what the file does not say.
        progress: Called in passes through frames that stay in a file with (frames done, frames in all).

    Returns:
        The scan; its ``assumptions`` has a line for everything that neither file nor options say.

    Raises:
        DataError: If it cannot be used as a scan; its ``findings`` are those until then.
    """
    findings: list[Finding] = []
    try:
        # values that are none are found, and reported
        with stack_of(raw.counts).reporting(progress), np.errstate(over="ignore", invalid="ignore"):
            return _interpret(raw, options, findings)
    except DataError as error:
        with_refusal(error, findings, raw.source)
        raise


def _interpret(raw: RawScan, options: ReadOptions, findings: list[Finding]) -> Scan:
    raw = with_raster(raw, options)
    draft = _draft(raw, options, findings)
    run_checks(draft)
    if draft.of_pixels.smallest.min() < 0:
        draft.correct(ClipNegative())  # whatever the user ignores, counts are not negative
    scan_checks.check_light(raw, draft.of_pixels.total, len(draft.counts))
    stored_shape = draft.counts.shape[1:]
    stack, mask = frames.square(draft.counts, draft.valid, draft.notes, options.crop_px, options.bin)
    size = stack.shape[-1]
    placed = place_frames(draft, stored_shape, size * options.bin, size)
    stack = stack if placed.kept.all() else stack.select(placed.kept)
    counts, positions = stack.as_counts(float(draft.of_pixels.largest.max())), placed.positions_px
    if isinstance(counts, FrameStack) and draft.known_photons is not None and options.bin == 1 and placed.kept.all():
        use_known(counts, draft.of_pixels, draft.known_photons, frames.crop_window(stored_shape, size))
    given = starting_probe(draft, placed.geometry, placed.object_pixel_m, size)
    probe = None if given is None else _scaled_probe(draft, given, counts, mask)
    if raw.is_native or raw.near_field:
        near_field = raw.near_field
    else:
        near_field = _judge_motion(counts, positions, options, draft.notes)
    near_field = _unless_permitted(draft, near_field)
    sampling.check(draft, positions, probe, total_of(counts), mask)
    unused_keys.check(draft)
    truth, origin = _truth(raw, placed, size, cropped=stored_shape != (size, size))
    refuse_errors(raw.source, draft.findings)
    n_stored = 0 if raw.positions is None else len(raw.positions)
    return Scan(
        source=raw.source,
        counts=counts,
        positions_px=positions,
        mask=np.ascontiguousarray(mask),
        probe=probe,
        probe_name=COMPUTED_PROBE if probe_is_computed(draft) else FILE_PROBE,
        object_pixel_m=placed.object_pixel_m,
        wavelength_m=placed.geometry.value("wavelength"),
        distance_m=placed.geometry.value("distance"),
        radiation=placed.geometry.known_radiation,
        assumptions=tuple(draft.notes),
        findings=tuple(draft.findings),
        stored_frames=None if len(draft.frames) == n_stored else draft.frames,
        moved_px=placed.moved_px,
        left_out=_left_out(draft, placed),
        truth=truth,
        truth_origin_px=origin,
        near_field=near_field,
        layout=raw.layout,
        read_as=ReadAs(column_order(draft), options, n_stored, placed.scale_from),
    )


def _draft(raw: RawScan, options: ReadOptions, findings: list[Finding]) -> Draft:
    """Frames, their masks and positions as stored, of the right shapes, without frames that the user left out."""
    scan_checks.check_kinds(raw)
    notes = list(raw.notes)
    counts, moved_axes = scan_checks.frames_of(raw)
    positions = _in_sequence(raw, scan_checks.positions_of(raw, len(counts)), options)
    orientation = FRAME_TRANSFORMS[options.frame_transform]
    mask = oriented_frames(frames.stored_mask(raw, counts.shape, notes), orientation)
    counts = counts if orientation == FRAME_TRANSFORMS["none"] else counts.then(Orient(orientation))
    n_frames = len(counts)
    numbers = np.arange(n_frames, dtype=np.int64)
    if options.position_delay:
        shifted = numbers + np.where(numbers < options.position_delay_from, 0, options.position_delay)
        with_position = (shifted >= 0) & (shifted < n_frames)
        counts, positions = counts.select(with_position), positions[shifted[with_position]]
        numbers = numbers[with_position]
    valid = np.ones(counts.shape[1:], dtype=np.bool_)
    draft = Draft(raw, options, counts, valid, numbers, positions, notes, findings)
    if moved_axes:
        draft.report(
            "frame-axes", "fixed", f"'{raw.counts_name}' has its frames along the last axis; taken as (frame, y, x)."
        )
    if options.exclude_frames:
        left_out = frame_numbers(options.exclude_frames, raw.source, n_frames)
        draft.drop(np.flatnonzero(np.isin(draft.frames, left_out)))
    position_outliers.check_unknown(draft)
    scan_checks.check_places(raw, draft.positions, draft.frames)
    if mask.ndim == 3:
        frame_masks.check(draft, ~mask[draft.frames])
    else:
        draft.mask(~mask)
    _as_stated(draft)
    return draft


def _in_sequence(raw: RawScan, positions: NDArray[np.float64], options: ReadOptions) -> NDArray[np.float64]:
    """The stored positions in the sequence that the user asked for."""
    if options.position_sequence != "stored" and options.max_frames is not None:
        raise DataError(
            f"{raw.source}: data.position_sequence={options.position_sequence} needs all positions, but "
            f"data.max_frames reads only {options.max_frames}.",
            hint="Leave out data.max_frames; data.exclude_frames leaves out frames by their numbers.",
        )
    found = in_sequence(positions, options.position_sequence)
    if found is None:
        raise DataError(
            f"{raw.source}: data.position_sequence=snake, but the positions form no rows of a raster.",
            hint="data.position_sequence=stored takes them as they are.",
            finding="positions-index",
        )
    return found


def _as_stated(draft: Draft) -> None:
    """Square amplitudes where the setting, the layout or a name says that these are stored; undo stated logarithms."""
    raw, options = draft.raw, draft.options
    stored = options.stored if options.stored != "auto" else raw.stored
    if options.stored != "auto":
        draft.notes[:] = [note for note in draft.notes if "data.stored" not in note]
    if stored == "amplitude":
        count_units.square_stated(draft)
    elif stored in count_units.LOGARITHMS:
        count_units.undo_stated(draft, count_units.LOGARITHMS[stored])


def _scaled_probe(draft: Draft, probe: Array, counts: Counts, mask: NDArray[np.bool_]) -> NDArray[np.complex64]:
    """The probe ``(mode, y, x)`` with the mean photons of a frame."""
    is_computed = probe_is_computed(draft)
    photons = float(photons_of(counts).mean()) / frames.share_of_light(probe, mask)
    power = float(np.sum(np.abs(probe) ** 2))
    factor = 1.0 if draft.raw.is_native and not is_computed else np.sqrt(photons / power)
    if not 0.8 < factor < 1.25 and not is_computed:
        draft.notes.append(
            f"probe scaled by {factor:.3g} so that its power is the mean photons of a frame, {photons:.3g}."
        )
    return np.asarray(probe * factor, dtype=np.complex64)


def _judge_motion(counts: Counts, positions: NDArray[np.float64], options: ReadOptions, notes: list[str]) -> str | None:
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


def _left_out(draft: Draft, placed: PlacedFrames) -> LeftOut | None:
    """Frames that were left out, at the places where the positions of the others put them."""
    if not draft.dropped:
        return None
    numbers, stored = (np.concatenate(parts) for parts in zip(*draft.dropped, strict=True))
    order = np.argsort(numbers)
    # Units, axes, rotation and scale are one affine map, which the kept frames determine.
    middle, scale = draft.positions.mean(axis=0), max(float(np.ptp(draft.positions, axis=0).max()), 1e-30)

    def terms(positions: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.column_stack([(positions - middle) / scale, np.ones(len(positions))])

    fit, *_ = np.linalg.lstsq(terms(draft.positions), placed.stored_px, rcond=None)
    found = np.asarray(terms(stored[order]) @ fit)
    if placed.moved_px is not None:  # with the island that is nearest
        known = np.isfinite(found).all(axis=1)
        found[known] -= placed.moved_px[cKDTree(placed.stored_px).query(found[known])[1]]
    return LeftOut(numbers[order], found)


def _unless_permitted(draft: Draft, near_field: str | None) -> str | None:
    """The reason why a scan is near-field; None where the user makes of this finding less than an error."""
    if near_field is None or dict(draft.options.findings).get("near-field", "error") == "error":
        return near_field
    draft.report("near-field", "error", f"This looks like a near-field scan: {near_field}.")
    return None


def _truth(
    raw: RawScan, placed: PlacedFrames, size: int, *, cropped: bool
) -> tuple[NDArray[np.complex64] | None, tuple[float, float] | None]:
    """The known object and its origin: as stored, or else the usual origin at which all patches lie inside."""
    if raw.truth is None or cropped:
        return None, None
    truth = np.squeeze(raw.truth).astype(np.complex64)
    if truth.ndim != 2:
        return None, None
    origin = raw.truth_origin_px or _usual_origin(truth, placed.stored_px, size)
    if placed.moved_px is None or origin is None:
        return truth, origin
    return truth_of_islands(truth, origin, placed.positions_px, placed.moved_px, size)


def _usual_origin(
    truth: NDArray[np.complex64], positions: NDArray[np.float64], size: int
) -> tuple[float, float] | None:
    """The usual origin of a known object at which all patches lie inside: a corner or the middle; None if neither."""
    shape = np.array(truth.shape, dtype=np.float64)
    low, high = positions.min(axis=0) - size / 2, positions.max(axis=0) + size / 2
    for origin in (np.zeros(2), -shape / 2):
        if np.all(low >= origin - 1) and np.all(high <= origin + shape + 1):
            return float(origin[0]), float(origin[1])
    return None
