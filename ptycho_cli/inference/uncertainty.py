"""Uncertainty of a reconstruction without a known object, from halves of its frames and from frames left out.

The parts are reconstructed as the whole was, with the same network and probe. Both have seen all frames in training,
so their errors are the same in every part and do not show in the differences.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.misfit import Misfit, misfit
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.uncertainty_record import Uncertainty
from ptycho_cli.errors import DataError
from ptycho_cli.geometry import covered_area, probe_diameter_px
from ptycho_cli.metrics import frc, half_spread
from ptycho_cli.registration import register

Solve = Callable[[Scan, str], Reconstruction]
"""Reconstructs some frames of a scan as the whole was; also called with their name, for progress."""

Indices = NDArray[np.int64]

_HALVES_KEY = 4  # first word of the random key, as in data.groups
_MIN_COVERED_SHARE = 0.9  # of the covered area, that a half must cover, too
_MIN_ILLUMINATIONS = 1.5  # of a pixel by a half, on average; below, frames hardly overlap


def second_half(n_frames: int, seed: int) -> NDArray[np.bool_]:
    """True for frames of the second half, ``(frame,)``: a random choice by (seed, number of frames) alone."""
    chosen = np.zeros(n_frames, dtype=np.bool_)
    chosen[np.random.default_rng([_HALVES_KEY, seed]).permutation(n_frames)[: n_frames // 2]] = True
    return chosen


def estimate_uncertainty(
    solve: Solve, scan: Scan, whole: Reconstruction, *, held_out: Indices, from_training: bool, seed: int
) -> Uncertainty:
    """Reconstruct two halves of the frames, and all frames but the held-out ones, and compare.

    Args:
        solve: Reconstructs some frames of the scan.
        scan: The scan.
        whole: Its reconstruction, at whose positions the parts are reconstructed.
        held_out: Frames to leave out and to judge by, int64 ``(frame,)``.
        from_training: Whether training did not see them either.
        seed: Seed of the halves.

    Raises:
        DataError: If parts of the scan are too sparse to be reconstructed.
    """
    second = second_half(scan.n_frames, seed)
    halves = _reconstruct_halves(solve, scan, whole, second)
    area = covered_area(halves[0].coverage) & covered_area(halves[1].coverage)
    everything = (slice(None), slice(None))
    reference = np.asarray(whole.object, dtype=np.complex128)
    aligned = [
        register(np.asarray(half.object, dtype=np.complex128), everything, reference, area)[0] for half in halves
    ]
    amplitude, phase = half_spread(aligned[0], aligned[1], area)
    rings = frc(aligned[0], aligned[1], area)
    left = held_out_misfit(solve, scan, whole, held_out)
    return Uncertainty(
        second_half=second,
        halves=np.where(area, np.stack(aligned), np.nan).astype(np.complex64),
        amplitude_spread=amplitude.astype(np.float32),
        phase_spread_rad=phase.astype(np.float32),
        ring_radius=rings.radius,
        ring_correlation=rings.correlation,
        ring_half_bit=rings.half_bit,
        frc50_nyquist=rings.cut(0.5),
        frc143_nyquist=rings.cut(1 / 7),
        frc_half_bit_nyquist=rings.cut(rings.half_bit),
        held_out=held_out,
        held_out_deviance=left.deviance,
        held_out_r_factor=left.r_factor,
        held_out_from_training=from_training,
    )


def held_out_misfit(solve: Solve, scan: Scan, whole: Reconstruction, held_out: Indices) -> Misfit:
    """Reconstruct without the held-out frames, and compare them with their expected photons.

    Raises:
        DataError: If no frames are held out.
    """
    if len(held_out) == 0:
        raise DataError(f"{scan.source}: {scan.n_frames} frames are too few to hold some out.")
    kept = np.setdiff1d(np.arange(scan.n_frames), held_out)
    found = _on_canvas_of(whole, solve(_with_positions_of(whole, scan).select(kept), "without held-out frames"))
    intensities = None if whole.intensities is None else whole.intensities[held_out]
    predicted = replace(found, positions_px=whole.positions_px[held_out], intensities=intensities)
    return misfit(predicted, scan.select(held_out))


def _reconstruct_halves(
    solve: Solve, scan: Scan, whole: Reconstruction, second: NDArray[np.bool_]
) -> list[Reconstruction]:
    """Both halves on the canvas of the whole; refuses halves whose frames hardly overlap."""
    total = covered_area(whole.coverage)
    footprint = np.pi * probe_diameter_px(whole.probe) ** 2 / 4
    times = scan.n_frames // 2 * footprint / max(int(total.sum()), 1)
    if times < _MIN_ILLUMINATIONS:
        found = f"half of them illuminate a pixel {times:.2g} times on average"
        raise _too_sparse(scan, f"{found}, expected {_MIN_ILLUMINATIONS} times")
    halves = []
    for name, chosen in (("first half", ~second), ("second half", second)):
        part = _on_canvas_of(whole, solve(_with_positions_of(whole, scan).select(np.flatnonzero(chosen)), name))
        share = (covered_area(part.coverage) & total).sum() / max(int(total.sum()), 1)
        if share < _MIN_COVERED_SHARE:
            found = f"a half covers {share:.0%} of what all of them cover"
            raise _too_sparse(scan, f"{found}, expected {_MIN_COVERED_SHARE:.0%}")
        halves.append(part)
    return halves


def _too_sparse(scan: Scan, reason: str) -> DataError:
    return DataError(
        f"{scan.source}: the frames are too sparse for an uncertainty from their halves: {reason} or more.",
        hint="Leave out inference.uncertainty.",
    )


def _with_positions_of(whole: Reconstruction, scan: Scan) -> Scan:
    """The scan at the positions of the whole reconstruction, which may be refined."""
    return replace(scan, positions_px=whole.positions_px)


def _on_canvas_of(whole: Reconstruction, part: Reconstruction) -> Reconstruction:
    """A reconstruction of a part on the pixels of the whole: vacuum and no coverage where it has no pixels."""
    obj, coverage = np.ones_like(whole.object), np.zeros_like(whole.coverage)
    corner = np.rint(np.subtract(part.object_origin_px, whole.object_origin_px)).astype(int)
    inside, onto = [], []
    for side, target, start in zip(part.object.shape, whole.object.shape, corner.tolist(), strict=True):
        low, high = max(0, -start), min(side, target - start)
        inside.append(slice(low, high))
        onto.append(slice(low + start, high + start))
    obj[tuple(onto)], coverage[tuple(onto)] = part.object[tuple(inside)], part.coverage[tuple(inside)]
    return replace(part, object=obj, coverage=coverage, object_origin_px=whole.object_origin_px)
