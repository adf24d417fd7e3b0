"""Positions that explain the frames of a scan: a search over whole pixels, then Gauss-Newton steps.

Between the two, and between their repetitions, the object is reconstructed anew from the frames where they are now.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.scan_canvas import MARGIN_PX, PIE_ALPHA_FACTOR, scan_frames
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.physics.position_update import gauss_newton_moves, gaussian_blur, misfit_at
from ptycho_cli.progress_callback import Progress

FIRST_ITERATIONS, COARSE_ITERATIONS, FINE_ITERATIONS = 5, 3, 2  # of the object
MIN_COARSE_ALPHA = 2.0  # a smooth object guides frames from further away
COARSE_BLUR_PX, FINE_BLUR_PX = 0.5, 0.3
# Radius and step, in pixels, of each search of all frames; a radius of None is the longest move allowed.
COARSE_SEARCHES = ((None, 2), (3, 1), (2, 1), (2, 1))
# The coarse search ends when fewer than this share of the frames jump: the others are right to a pixel.
MIN_JUMP_SHARE = 0.05
FINE_ROUNDS = 20
# The fine search ends when no more than this share of the frames jump, twice, and the median step is shorter than this.
CONVERGED_JUMP_SHARE, CONVERGED_STEP_PX = 0.002, 0.01
# A frame with more than this many times the median misfit is an outlier: the object is made without it.
OUTLIER_RATIO = 1.25
MANY_OUTLIERS, NEAR_RADIUS_PX = 0.15, 2  # with more than this share of outliers, they are searched for nearby only
CANDIDATES, DESCENT_STEPS = 4, 4  # starting points of Gauss-Newton for an outlier, and steps from each
MAX_STEP_PX = 0.5  # of Gauss-Newton, which is valid no further
MAX_COMMON_PX = 0.5  # of the shift of all frames: whole pixels of it are the object's
MIN_AFFINE_FRAMES = 16
# Variance of a move in units of what the photon noise of its frame gives, since the object is not known exactly either.
VARIANCE_FACTOR = 4.0


def refine_positions(
    scan: Scan, probe: Tensor, *, update: ObjectUpdate, max_shift_px: float, seed: int, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Find positions that explain a scan's frames better, (y, x) in object pixels, ``(frame, 2)``.

    Object and positions can exchange a common shift and a linear transformation. The positions keep as little of both
    as possible: the mean of all moves stays below half a pixel (the rest of a pixel is left to the data, since an
    object with structure down to the smallest pixel fixes where its pixels lie), and their linear part is limited to
    what independent moves give by chance. At the end moves are shrunk by the part that noise explains, so that
    correct positions stay where they are.

    Args:
        scan: The scan.
        probe: Its probe, complex ``(mode, y, x)``, on the device to compute on.
        update: Regularised update of the network's physics; the PIE here uses four times its regularisation.
        max_shift_px: Longest move of a frame.
        seed: Seed of the subsets of frames.
        progress: Called with (steps done, steps at most).
    """
    search = PositionFit(scan, probe, update.scaled(PIE_ALPHA_FACTOR), max_shift_px, seed)
    report, steps = progress or (lambda done, most: None), len(COARSE_SEARCHES) + FINE_ROUNDS
    report(0, steps)
    obj = _search_coarsely(search, lambda done: report(done, steps))
    obj = _search_finely(search, obj, lambda done: report(len(COARSE_SEARCHES) + done, steps))
    report(steps, steps)
    return search.positions(obj)


def _search_coarsely(search: PositionFit, report: Callable[[int], None]) -> Tensor:
    """Search whole pixels for all frames, in ever smaller circles; return the object, complex ``(y, x)``."""
    everything = search.all_frames
    update = search.update.with_alpha(max(search.update.alpha, MIN_COARSE_ALPHA))
    obj = search.refit(search.vacuum(), everything, FIRST_ITERATIONS, update)
    for done, (radius, step) in enumerate(COARSE_SEARCHES):
        obj = gaussian_blur(obj, COARSE_BLUR_PX)
        reach = search.max_shift_px if radius is None else min(radius, search.max_shift_px)
        jumped = search.jump(obj, everything, reach, step)
        for _ in range(2):
            search.step(obj)
        obj = search.refit(gaussian_blur(obj, COARSE_BLUR_PX), everything, COARSE_ITERATIONS, update)
        report(done + 1)
        if jumped < MIN_JUMP_SHARE * len(everything):
            break
    return obj


def _search_finely(search: PositionFit, obj: Tensor, report: Callable[[int], None]) -> Tensor:
    """Repeat Gauss-Newton steps of all frames and searches for outliers; return the object, complex ``(y, x)``."""
    everything, few_jumps = search.all_frames, False
    for done in range(FINE_ROUNDS):
        misfit = search.misfit(obj)
        outliers = misfit > OUTLIER_RATIO * misfit.median()
        obj = search.refit(gaussian_blur(obj, FINE_BLUR_PX), everything[~outliers], FINE_ITERATIONS, search.update)
        near = float(outliers.double().mean()) > MANY_OUTLIERS and not few_jumps
        reach = min(NEAR_RADIUS_PX, search.max_shift_px) if near else search.max_shift_px
        jumped = search.jump(obj, everything[outliers], reach, 1, CANDIDATES)
        median_step_px = search.step(obj)
        obj = search.refit(obj, everything, 1, search.update)
        report(done + 1)
        few_before, few_jumps = few_jumps, jumped < 1 + CONVERGED_JUMP_SHARE * len(everything)
        if few_before and few_jumps and median_step_px < CONVERGED_STEP_PX:
            break
    return obj


@dataclass(eq=False)
class PositionFit:
    """Moves of the frames so far, and what they are fitted with.

    Attributes:
        scan: The scan, at its stored positions.
        probe: Its probe, complex ``(mode, y, x)``.
        update: Regularised update of the PIE.
        max_shift_px: Longest move of a frame.
        seed: Seed of the subsets.
        moves: Move (y, x) of each frame less the common shift, float64 ``(frame, 2)``.
        common: Shift (y, x) of all frames, float64 ``(2,)``.
        all_frames: Numbers of all frames, int64 ``(frame,)``.
        corner: Corner (y, x) of the canvas, which has room for the longest move, int64 ``(2,)``.
    """

    scan: Scan
    probe: Tensor
    update: ObjectUpdate
    max_shift_px: float
    seed: int

    def __post_init__(self) -> None:
        self.moves, self.common = np.zeros_like(self.scan.positions_px), np.zeros(2)
        self._frames = scan_frames(self.scan, dtype=self.probe.real.dtype, device=self.probe.device)
        room = int(np.ceil(2 * self.max_shift_px)) + MARGIN_PX
        height, width = self._frames.shape
        self._frames = replace(self._frames, shape=(height + 2 * room, width + 2 * room))
        self.corner = split_positions(self.scan.positions_px, self.scan.n_pixels)[0].min(axis=0) - MARGIN_PX - room
        self.all_frames = torch.arange(self.scan.n_frames, device=self.probe.device)
        self._refits = 0

    def placed(self, frames: Tensor | None = None, step: Tensor | float = 0.0) -> ScanFrames:
        """Some frames, by default all, where they are now, or a step (y, x) from there, ``(frame, 2)``."""
        frames = self.all_frames if frames is None else frames
        moves = (self._moves_of(frames) + step).cpu().numpy()
        positions_px = self.scan.positions_px[frames.cpu().numpy()] + moves + self.common
        corners, shifts = split_positions(positions_px, self.scan.n_pixels)
        places: dict[str, Any] = {"corners": torch.from_numpy(corners - self.corner).to(self.probe.device)}
        places["shifts"] = torch.from_numpy(shifts).to(self._frames.shifts)
        return replace(self._frames.select(frames), **places)

    def vacuum(self) -> Tensor:
        """An object of ones, complex ``(y, x)``."""
        return self._frames.vacuum()

    def refit(self, obj: Tensor, frames: Tensor, iterations: int, update: ObjectUpdate) -> Tensor:
        """The object after some iterations with some of the frames."""
        self._refits += 1
        part, seed = self.placed(frames), self.seed + self._refits
        return run_pie(part, obj, self.probe, update=update, iterations=iterations, seed=seed)[0]

    def misfit(self, obj: Tensor) -> Tensor:
        """Misfit of each frame where it is now, ``(frame,)``."""
        return misfit_at(self.placed(), obj, self.probe, self.all_frames.new_zeros(1, 2))[:, 0]

    def jump(self, obj: Tensor, frames: Tensor, radius_px: float, step_px: int, candidates: int = 1) -> int:
        """Move frames to the whole pixel within a radius where they fit best.

        With several candidates, Gauss-Newton starts from each of the best pixels. Where the object is a grating, the
        valley of a misfit is long and narrow: its lowest place can be a pixel away from the best whole pixel, behind
        a rise.

        Args:
            obj: The object, complex ``(y, x)``.
            frames: Numbers of the frames to move.
            radius_px: How far to search.
            step_px: Distance between the pixels that are tried.
            candidates: Number of starting points of Gauss-Newton; 1 takes the best pixel as it is.

        Returns:
            The number of frames that moved by more than half a pixel.
        """
        if not len(frames):
            return 0
        reach = torch.arange(-int(radius_px // step_px), int(radius_px // step_px) + 1, device=frames.device) * step_px
        offsets = torch.cartesian_prod(reach, reach)
        offsets = offsets[offsets.double().norm(dim=1) <= radius_px + 0.5]
        misfit = misfit_at(self.placed(frames), obj, self.probe, offsets)
        ends = self._moves_of(frames)[:, None] + offsets
        too_far = (ends.norm(dim=-1) > self.max_shift_px) & (offsets != 0).any(1)
        lowest = misfit.masked_fill(too_far, torch.inf).topk(min(candidates, len(offsets)), largest=False).indices
        tried = offsets[lowest]
        best = tried[:, 0].double() if candidates == 1 else self._descend(obj, frames, tried)
        self._move(frames, best)
        return int((best.norm(dim=1) > MAX_STEP_PX).sum())

    def _descend(self, obj: Tensor, frames: Tensor, tried: Tensor) -> Tensor:
        """Of moves ``(frame, candidate, 2)``, the best of each frame after Gauss-Newton, ``(frame, 2)``."""
        here, none = self._moves_of(frames), self.all_frames.new_zeros(1, 2)
        ends, misfits = [], []
        for move in tried.to(here).unbind(1):
            for _ in range(DESCENT_STEPS):
                move = move + clip_steps(gauss_newton_moves(self.placed(frames, move), obj, self.probe)[0]).to(here)
            misfit = misfit_at(self.placed(frames, move), obj, self.probe, none)[:, 0]
            misfits.append(misfit.masked_fill((here + move).norm(dim=1) > self.max_shift_px, torch.inf))
            ends.append(move)
        best = torch.stack(misfits).argmin(0)
        move = torch.stack(ends)[best, torch.arange(len(frames), device=frames.device)]
        far = move.norm(dim=1, keepdim=True) > MAX_STEP_PX
        return torch.where(far, move, 0.0)  # a near one is found by `step`

    def _moves_of(self, frames: Tensor) -> Tensor:
        return torch.from_numpy(self.moves).to(frames.device)[frames]

    def step(self, obj: Tensor) -> float:
        """Make one Gauss-Newton step of every frame; return the median length of the steps less the common one, px."""
        step = gauss_newton_moves(self.placed(), obj, self.probe)[0]
        self._move(self.all_frames, clip_steps(step))
        self.moves = remove_affine(self.scan.positions_px, self.moves)
        return float((step - step.median(dim=0).values).norm(dim=1).median())

    def _move(self, frames: Tensor, step: Tensor) -> None:
        moves = self.moves.copy()
        moves[frames.cpu().numpy()] += step.cpu().numpy().astype(np.float64)
        centre = moves.mean(axis=0)
        self.common = np.clip(self.common + centre, -MAX_COMMON_PX, MAX_COMMON_PX)
        moves -= centre
        length = np.linalg.norm(moves, axis=1, keepdims=True)
        self.moves = moves * np.minimum(1.0, self.max_shift_px / np.maximum(length, 1e-12))

    def positions(self, obj: Tensor) -> NDArray[np.float64]:
        """Positions (y, x) of all frames in pixels, moves shrunk by the part that noise explains, ``(frame, 2)``."""
        _, variance = gauss_newton_moves(self.placed(), obj, self.probe)
        moves = shrink_moves(self.moves, VARIANCE_FACTOR * variance.double().cpu().numpy())
        common = self.common if np.any(moves) else 0.0
        exact = torch.from_numpy(self.scan.positions_px + moves + common)
        return np.asarray(exact.to(self.probe.real.dtype).double().numpy())  # rounded as the weights file keeps them


def clip_steps(step: Tensor) -> Tensor:
    """Gauss-Newton steps ``(frame, 2)``, none longer than half a pixel."""
    length = step.norm(dim=1, keepdim=True)
    return torch.where(length > MAX_STEP_PX, step * (MAX_STEP_PX / length), step)


def shrink_moves(moves: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moves ``(frame, 2)`` less the part that noise explains, by an empirical Bayes estimate.

    Moves are normal errors of the positions plus noise. The variance of the errors is what the median squared length
    has beyond the noise; where it has nothing beyond, all positions stay.

    Args:
        moves: Moves (y, x), in pixels.
        variance: Variance of the length of each by noise, square pixels, ``(frame,)``.
    """
    # the median square of a length in two dimensions is log 2 times the mean
    errors = max(float(np.median(np.sum(moves**2, axis=1))) / np.log(2) - float(np.median(variance)), 0.0)
    return np.asarray(moves * (errors / np.maximum(errors + variance, 1e-12))[:, None])


def remove_affine(positions_px: NDArray[np.float64], moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moves ``(frame, 2)`` less their mean, and less the linear part that is larger than chance gives.

    Independent moves have a linear part of ``spread * sqrt(2 / frames)`` by chance; twice that is left.
    """
    moves = moves - moves.mean(axis=0)
    if len(moves) < MIN_AFFINE_FRAMES:
        return np.asarray(moves)
    terms = positions_px - positions_px.mean(axis=0)
    weights, *_ = np.linalg.lstsq(terms, moves, rcond=None)
    linear = terms @ weights
    spread = 1.4826 * float(np.median(np.abs(moves - linear)))
    by_chance = 2 * spread * np.sqrt(2 / len(moves))
    size = max(float(np.sqrt(np.mean(linear**2))), 1e-12)
    return np.asarray(moves - linear * max(0.0, 1 - by_chance / size))
