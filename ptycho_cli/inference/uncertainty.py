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
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.uncertainty_record import Uncertainty
from ptycho_cli.data.write import Reconstruction
from ptycho_cli.errors import DataError
from ptycho_cli.geometry import covered_area, probe_diameter_px
from ptycho_cli.metrics import frc, half_spread
from ptycho_cli.registration import register

Solve = Callable[[Scan, str], Reconstruction]
Indices = NDArray[np.int64]

_HALVES = 4  # first word of the random key, as in data.groups
_MIN_SHARE = 0.9  # of the covered area, that a part must cover too
_MIN_LIGHT = 1.5  # times that a part must light a pixel on average; below, frames hardly overlap


def halves_of(n_frames: int, seed: int) -> NDArray[np.bool_]:
    """Which frames are in the second half: a random choice that depends on (seed, number of frames) alone."""
    second = np.zeros(n_frames, dtype=np.bool_)
    second[np.random.default_rng([_HALVES, seed]).permutation(n_frames)[: n_frames // 2]] = True
    return second


def assess(
    solve: Solve, scan: Scan, whole: Reconstruction, *, held_out: Indices, from_training: bool, seed: int
) -> Uncertainty:
    """Reconstruct two halves, and all but a few frames, and compare.

    Args:
        solve: Reconstructs some frames of the scan as ``whole`` was from all; also given what they are, for progress.
        scan: The scan.
        whole: Its reconstruction; gives positions, where they were refined.
        held_out: Frames to leave out and be scored on.
        from_training: Whether the network has not seen them either.
        seed: Of the halves.

    Raises:
        DataError: If parts of the scan are too sparse to be reconstructed.
    """
    second = halves_of(scan.n_frames, seed)
    halves = _two_halves(solve, scan, whole, second)
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
    """Reconstruct without some frames, and predict those frames.

    Raises:
        DataError: If no frames are held out.
    """
    if len(held_out) == 0:
        raise DataError(f"{scan.source}: {scan.n_frames} frames are too few to hold some out.")
    kept = np.setdiff1d(np.arange(scan.n_frames), held_out)
    found = _on_canvas_of(whole, solve(_at(scan, whole).select(kept), "without held-out frames"))
    intensities = None if whole.intensities is None else whole.intensities[held_out]
    predicted = replace(found, positions_px=whole.positions_px[held_out], intensities=intensities)
    return misfit(predicted, scan.select(held_out))


def _two_halves(solve: Solve, scan: Scan, whole: Reconstruction, second: NDArray[np.bool_]) -> list[Reconstruction]:
    """The halves on the canvas of the whole, if each is dense enough to hold together."""
    total = covered_area(whole.coverage)
    footprint = np.pi * probe_diameter_px(whole.probe) ** 2 / 4
    light = scan.n_frames // 2 * footprint / max(int(total.sum()), 1)
    if light < _MIN_LIGHT:
        raise _too_sparse(scan, f"half of them light a pixel {light:.2g} times on average, expected {_MIN_LIGHT} times")
    halves = []
    for name, chosen in (("first half", ~second), ("second half", second)):
        part = _on_canvas_of(whole, solve(_at(scan, whole).select(np.flatnonzero(chosen)), name))
        share = (covered_area(part.coverage) & total).sum() / max(int(total.sum()), 1)
        if share < _MIN_SHARE:
            raise _too_sparse(scan, f"a half covers {share:.0%} of what all cover, expected {_MIN_SHARE:.0%}")
        halves.append(part)
    return halves


def _too_sparse(scan: Scan, why: str) -> DataError:
    return DataError(
        f"{scan.source}: the frames are too sparse for an uncertainty from their halves: {why} or more.",
        hint="Leave out inference.uncertainty.",
    )


def _at(scan: Scan, whole: Reconstruction) -> Scan:
    """The scan at the positions that the reconstruction of the whole found."""
    return replace(scan, positions_px=whole.positions_px)


def _on_canvas_of(whole: Reconstruction, part: Reconstruction) -> Reconstruction:
    """A reconstruction of a part on the pixels of the whole: vacuum and no light where it has nothing."""
    obj, coverage = np.ones_like(whole.object), np.zeros_like(whole.coverage)
    corner = np.rint(np.subtract(part.object_origin_px, whole.object_origin_px)).astype(int)
    inside, onto = [], []
    for side, target, start in zip(part.object.shape, whole.object.shape, corner.tolist(), strict=True):
        low, high = max(0, -start), min(side, target - start)
        inside.append(slice(low, high))
        onto.append(slice(low + start, high + start))
    obj[tuple(onto)], coverage[tuple(onto)] = part.object[tuple(inside)], part.coverage[tuple(inside)]
    return replace(part, object=obj, coverage=coverage, object_origin_px=whole.object_origin_px)
