"""Where the frames of a scan lie: a search over whole pixels, then Gauss-Newton, the object being made anew between."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.exposure import ENGINE_ALPHA, MARGIN_PX, exposure_of
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.pie import ScanFrames, run_pie
from ptycho_cli.physics.position_update import gauss_newton_moves, gaussian_blur, misfit_at
from ptycho_cli.progress_callback import Progress

FIRST_ITERATIONS, COARSE_ITERATIONS, FINE_ITERATIONS = 5, 3, 2
COARSE_ALPHA = 2.0  # at least: a smooth object leads further
COARSE_BLUR_PX, FINE_BLUR_PX = 0.5, 0.3
# Radii and steps of the search of all frames; None is the longest move allowed.
COARSE = ((None, 2), (3, 1), (2, 1), (2, 1))
FEW_JUMPS = 0.05  # a share of frames: fewer than these, and all have found their place to a pixel
FINE_ROUNDS = 20
SETTLED, SETTLED_PX = 0.002, 0.01  # share of frames that jump, and median length of the moves, of the last rounds
BAD = 1.25  # a frame whose misfit is so many times the median is looked for on an object made without it
MANY_BAD = 0.15
NEAR_PX = 2  # how far frames are looked for while many are bad
CANDIDATES, DESCENTS = 4, 4  # places from which a bad frame is led down its misfit, and steps of each
LONGEST_STEP_PX = 0.5
MOST_COMMON_PX = 0.5  # of the common move: whole pixels of it are the object's
FEWEST_FOR_AFFINE = 16
# Noise of a move beyond what the frame itself has, for the object is not known exactly: in variances.
DOUBT = 4.0


def refine_positions(
    scan: Scan, probe: Tensor, *, alpha: float, most_px: float, seed: int, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Positions that explain a scan's frames better, (y, x) in object pixels, ``(frame, 2)``.

    Of what object and positions can hand to each other, the positions keep none: the mean of all moves is held at
    less than half a pixel (the rest of a pixel is left to the data, since an object that has structure up to the
    smallest pixel tells where its pixels lie), and their linear part at what their spread gives by chance. In the
    end moves are shrunk by what noise explains of them; positions that are right stay where they are.

    Args:
        scan: The scan.
        probe: Its probe, complex ``(mode, y, x)``; also says on which device.
        alpha: Regularisation of the network; the engine's follows from it.
        most_px: Longest move of a frame.
        seed: Seed of the subsets of frames.
        progress: Called with (steps done, steps at most).
    """
    search = _Search(scan, probe, ENGINE_ALPHA * alpha, most_px, seed)
    tell, steps = progress or (lambda done, most: None), len(COARSE) + FINE_ROUNDS
    coarse = max(search.alpha, COARSE_ALPHA)
    tell(0, steps)
    obj = search.refit(search.vacuum(), search.everyone, FIRST_ITERATIONS, coarse)
    for done, (radius, step) in enumerate(COARSE):
        obj = gaussian_blur(obj, COARSE_BLUR_PX)
        jumped = search.hop(obj, search.everyone, most_px if radius is None else min(radius, most_px), step)
        for _ in range(2):
            search.descend(obj)
        obj = search.refit(gaussian_blur(obj, COARSE_BLUR_PX), search.everyone, COARSE_ITERATIONS, coarse)
        tell(done + 1, steps)
        if jumped < FEW_JUMPS * scan.n_frames:
            break
    stuck = False
    for done in range(FINE_ROUNDS):
        misfit = search.misfit(obj)
        bad = misfit > BAD * misfit.median()
        obj = search.refit(gaussian_blur(obj, FINE_BLUR_PX), search.everyone[~bad], FINE_ITERATIONS, search.alpha)
        near = float(bad.double().mean()) > MANY_BAD and not stuck
        jumped = search.hop(obj, search.everyone[bad], min(NEAR_PX, most_px) if near else most_px, 1, CANDIDATES)
        longest = search.descend(obj)
        obj = search.refit(obj, search.everyone, 1, search.alpha)
        tell(len(COARSE) + done + 1, steps)
        was, stuck = stuck, jumped < 1 + SETTLED * scan.n_frames
        if was and stuck and longest < SETTLED_PX:
            break
    tell(steps, steps)
    return search.found(obj)


@dataclass(eq=False)
class _Search:
    """Positions as they are now, and what they are tried on."""

    scan: Scan
    probe: Tensor
    alpha: float
    most_px: float
    seed: int

    def __post_init__(self) -> None:
        self.moves, self.common = np.zeros_like(self.scan.positions_px), np.zeros(2)
        self.frames = exposure_of(self.scan, dtype=self.probe.real.dtype, device=self.probe.device)
        room = int(np.ceil(2 * self.most_px)) + MARGIN_PX
        height, width = self.frames.shape
        self.frames = replace(self.frames, shape=(height + 2 * room, width + 2 * room))
        self.corner = split_positions(self.scan.positions_px, self.scan.n_pixels)[0].min(axis=0) - MARGIN_PX - room
        self.everyone = torch.arange(self.scan.n_frames, device=self.probe.device)
        self.refits = 0

    def exposure(self, which: Tensor | None = None, step: Tensor | float = 0.0) -> ScanFrames:
        """All frames or some at their present places, or a step ``(frame, 2)`` from there."""
        which = self.everyone if which is None else which
        moves = (self._moves_of(which) + step).cpu().numpy()
        places_px = self.scan.positions_px[which.cpu().numpy()] + moves + self.common
        corners, shifts = split_positions(places_px, self.scan.n_pixels)
        places: dict[str, Any] = {"corners": torch.from_numpy(corners - self.corner).to(self.probe.device)}
        places["shifts"] = torch.from_numpy(shifts).to(self.frames.shifts)
        return replace(self.frames.select(which), **places)

    def vacuum(self) -> Tensor:
        """An object of ones."""
        return self.frames.vacuum()

    def refit(self, obj: Tensor, which: Tensor, iterations: int, alpha: float) -> Tensor:
        """The object after some iterations with some of the frames."""
        self.refits += 1
        part, seed = self.exposure(which), self.seed + self.refits
        return run_pie(part, obj, self.probe, iterations=iterations, alpha=alpha, seed=seed)[0]

    def misfit(self, obj: Tensor) -> Tensor:
        """Misfit of each frame where it is, ``(frame,)``."""
        return misfit_at(self.exposure(), obj, self.probe, self.everyone.new_zeros(1, 2))[:, 0]

    def hop(self, obj: Tensor, which: Tensor, radius_px: float, step: int, candidates: int = 1) -> int:
        """Move frames to where they fit best, within a radius; return how many were moved by more than half a pixel.

        Whole pixels are tried, and the best ``candidates`` of them led down their misfit, if there are several: where
        the object is a grating, the valley of a misfit is long and narrow, and its lowest place can be a pixel from
        the best whole one, with a rise between.
        """
        if not len(which):
            return 0
        reach = torch.arange(-int(radius_px // step), int(radius_px // step) + 1, device=which.device) * step
        places = torch.cartesian_prod(reach, reach)
        places = places[places.double().norm(dim=1) <= radius_px + 0.5]
        misfit = misfit_at(self.exposure(which), obj, self.probe, places)
        lands = self._moves_of(which)[:, None] + places
        too_far = (lands.norm(dim=-1) > self.most_px) & (places != 0).any(1)
        tried = places[misfit.masked_fill(too_far, torch.inf).topk(min(candidates, len(places)), largest=False).indices]
        best = tried[:, 0].double() if candidates == 1 else self._lowest(obj, which, tried)
        self._move(which, best)
        return int((best.norm(dim=1) > LONGEST_STEP_PX).sum())

    def _lowest(self, obj: Tensor, which: Tensor, tried: Tensor) -> Tensor:
        """Of moves ``(frame, candidate, 2)``, each led down its misfit, the ones that fit best, ``(frame, 2)``."""
        here, still = self._moves_of(which), self.everyone.new_zeros(1, 2)
        ends, misfits = [], []
        for move in tried.to(here).unbind(1):
            for _ in range(DESCENTS):
                move = move + bounded(gauss_newton_moves(self.exposure(which, move), obj, self.probe)[0]).to(here)
            misfit = misfit_at(self.exposure(which, move), obj, self.probe, still)[:, 0]
            misfits.append(misfit.masked_fill((here + move).norm(dim=1) > self.most_px, torch.inf))
            ends.append(move)
        best = torch.stack(misfits).argmin(0)
        move = torch.stack(ends)[best, torch.arange(len(which), device=which.device)]
        far = move.norm(dim=1, keepdim=True) > LONGEST_STEP_PX
        return torch.where(far, move, 0.0)  # what is near, `descend` finds

    def _moves_of(self, which: Tensor) -> Tensor:
        return torch.from_numpy(self.moves).to(which.device)[which]

    def descend(self, obj: Tensor) -> float:
        """Move every frame down its misfit; return the median length of the moves beside the common one, in pixels."""
        step = gauss_newton_moves(self.exposure(), obj, self.probe)[0]
        self._move(self.everyone, bounded(step))
        self.moves = without_affine(self.scan.positions_px, self.moves)
        return float((step - step.median(dim=0).values).norm(dim=1).median())

    def _move(self, which: Tensor, step: Tensor) -> None:
        moves = self.moves.copy()
        moves[which.cpu().numpy()] += step.cpu().numpy().astype(np.float64)
        centre = moves.mean(axis=0)
        self.common = np.clip(self.common + centre, -MOST_COMMON_PX, MOST_COMMON_PX)
        moves -= centre
        length = np.linalg.norm(moves, axis=1, keepdims=True)
        self.moves = moves * np.minimum(1.0, self.most_px / np.maximum(length, 1e-12))

    def found(self, obj: Tensor) -> NDArray[np.float64]:
        """The positions as they are now, moves shrunk by what noise explains of them."""
        _, variance = gauss_newton_moves(self.exposure(), obj, self.probe)
        moves = shrunk(self.moves, DOUBT * variance.double().cpu().numpy())
        common = self.common if np.any(moves) else 0.0
        exact = torch.from_numpy(self.scan.positions_px + moves + common)
        return np.asarray(exact.to(self.probe.real.dtype).double().numpy())  # as they are kept with the weights


def bounded(step: Tensor) -> Tensor:
    """Steps ``(frame, 2)`` down a misfit, none longer than half a pixel: what is further it does not know."""
    length = step.norm(dim=1, keepdim=True)
    return torch.where(length > LONGEST_STEP_PX, step * (LONGEST_STEP_PX / length), step)


def shrunk(moves: NDArray[np.float64], variance: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moves ``(frame, 2)`` less what noise explains of them, by an empirical Bayes estimate.

    Moves are taken for a normal error of positions and noise together. The spread of the error is what the median
    length has beyond the noise; where it has nothing beyond, all positions stay.

    Args:
        moves: Moves (y, x), in pixels.
        variance: Variance of the length of each by noise, square pixels, ``(frame,)``.
    """
    # the median square of a length in two dimensions is log 2 times the mean
    errors = max(float(np.median(np.sum(moves**2, axis=1))) / np.log(2) - float(np.median(variance)), 0.0)
    return np.asarray(moves * (errors / np.maximum(errors + variance, 1e-12))[:, None])


def without_affine(positions_px: NDArray[np.float64], moves: NDArray[np.float64]) -> NDArray[np.float64]:
    """Moves ``(frame, 2)`` less their mean, and less what of their linear part is more than their spread explains.

    Independent moves have a linear part of ``spread * sqrt(2 / frames)`` by chance; twice that is left to them.
    """
    moves = moves - moves.mean(axis=0)
    if len(moves) < FEWEST_FOR_AFFINE:
        return np.asarray(moves)
    terms = positions_px - positions_px.mean(axis=0)
    weights, *_ = np.linalg.lstsq(terms, moves, rcond=None)
    linear = terms @ weights
    spread = 1.4826 * float(np.median(np.abs(moves - linear)))
    by_chance = 2 * spread * np.sqrt(2 / len(moves))
    size = max(float(np.sqrt(np.mean(linear**2))), 1e-12)
    return np.asarray(moves - linear * max(0.0, 1 - by_chance / size))
