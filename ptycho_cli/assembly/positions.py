"""Refined positions of a scan: a search from coarse to fine, then Gauss-Newton, the object being made anew between."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor

from ptycho_cli.assembly.physics import ENGINE_ALPHA, MARGIN_PX, exposure_of, frame_photons
from ptycho_cli.assembly.warmup import WarmProbe, plain_probe, warm_probe
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.engine import Exposure, iterate
from ptycho_cli.physics.positions import gauss_newton, misfit_at, smoothed
from ptycho_cli.physics.probe import scale_probe

# Radii of the random search, of the largest move allowed; the object is blurred to a fraction of each radius.
RADII = (0.67, 0.67, 0.67, 0.5, 0.5, 0.5, 0.33, 0.33, 0.33)
BLUR = 0.25
TRIALS, TRIALS_LOST = 12, 40
COARSE_ALPHA = 5.0  # times the engine's: a smooth object leads further
FIRST_ITERATIONS = 5
ROUNDS = 18
LAST_ROUNDS = 4  # in which every frame is left where it fits best
NEIGHBOURS = 16
PARTY = 3.0  # times the spread that the median move of neighbours has by chance
LOST = 1.5  # a frame whose misfit is so many times the median is looked for elsewhere
FEW_LOST = 0.01
SETTLED_PX = 0.05  # median first move of positions that need no search
LONGEST_STEP_PX = 0.5
FEWEST_FOR_AFFINE = 16

Progress = Callable[[int, int], None]


def moved(scan: Scan, positions_px: NDArray[np.float64]) -> Scan:
    """The scan at other positions; those that it was stored with are kept beside them."""
    return replace(scan, positions_px=positions_px, stored_positions_px=scan.positions_px)


Scans = tuple[Scan, ...]


@dataclass(frozen=True)
class PositionSearch:
    """How positions of scans are refined before training; the fields are arguments of ``refine_positions``."""

    alpha: float
    most_px: float
    seed: int
    dtype: torch.dtype
    progress: Progress | None = None
    modes: int | None = None

    def settle(
        self,
        scans: Scans,
        validation: Scans,
        warm: WarmProbe,
        held_out: NDArray[np.int64],
        again: int | str | None,
        known: Sequence[Tensor] = (),
    ) -> tuple[Scans, Scans, WarmProbe, list[str]]:
        """Scans at refined positions, the probe for them, and what to tell.

        Args:
            scans: Training scans; the probe is that of the first.
            validation: Validation scans.
            warm: Its probe at the stored positions. Positions are found with the file's where that explains anything.
            held_out: As for ``warm_probe``.
            again: Iterations of the probe's refinement at the refined positions; None to leave the probe as it is.
            known: Positions of all scans that were refined before; nothing is searched where they are given.
        """
        if known:
            placed = [
                moved(scan, at.double().cpu().numpy()) for scan, at in zip((*scans, *validation), known, strict=True)
            ]
            return tuple(placed[: len(scans)]), tuple(placed[len(scans) :]), warm, []
        probe = plain_probe(scans[0], self.dtype) if warm.given_explains else warm.probe
        placed, notes = [], []
        for scan in (*scans, *validation):
            own = scale_probe(probe, frame_photons(scan))
            found = refine_positions(
                scan, own, alpha=self.alpha, most_px=self.most_px, seed=self.seed, progress=self.progress
            )
            length = np.linalg.norm(found - scan.positions_px, axis=1)
            rms = float(np.sqrt(np.mean(length**2)))
            notes.append(f"{scan.source}: positions moved by {rms:.3g} px rms, at most {length.max():.3g} px.")
            placed.append(moved(scan, found))
        if again is not None:
            first = replace(placed[0], probe=probe.cpu().numpy())
            warm = warm_probe(
                first, held_out, again, alpha=self.alpha, seed=self.seed, dtype=self.dtype, modes=self.modes
            )  # fmt: skip
            notes.append(f"At the refined positions: {warm.note[0].lower()}{warm.note[1:]}")
        return tuple(placed[: len(scans)]), tuple(placed[len(scans) :]), warm, notes


def refine_positions(
    scan: Scan, probe: Tensor, *, alpha: float, most_px: float, seed: int, progress: Progress | None = None
) -> NDArray[np.float64]:
    """Positions that explain a scan's frames better, (y, x) in object pixels, ``(frame, 2)``.

    The mean of all moves is held at 0, and their linear part at what their spread gives by chance. A common move is
    the object's, not the frames'; a common stretch, rotation or shear is next to invisible in any one frame, and drifts
    by itself: from exact positions a scan of 200 frames came to lie 0.13 px rms away without this, and 0.11 with it.

    Args:
        scan: The scan.
        probe: Its probe, complex ``(mode, y, x)``; also says on which device.
        alpha: Regularisation of the network; the engine's follows from it.
        most_px: Longest move of a frame.
        seed: Seed of the places that are tried.
        progress: Called with (steps done, steps at most).
    """
    search = _Search(scan, probe, ENGINE_ALPHA * alpha, most_px, seed)
    tell = progress or (lambda done, most: None)
    steps = len(RADII) + ROUNDS
    tell(0, steps)
    obj = search.refit(search.vacuum(), search.everyone, FIRST_ITERATIONS, 1.0)
    if float(gauss_newton(search.exposure(), obj, probe).norm(dim=1).median()) > SETTLED_PX:
        obj = search.refit(search.vacuum(), search.everyone, FIRST_ITERATIONS, COARSE_ALPHA)
        for done, radius in enumerate(RADII):
            obj = smoothed(obj, BLUR * radius * most_px)
            search.look_around(obj, search.everyone, radius * most_px, TRIALS)
            obj = search.refit(obj, search.everyone, 2, COARSE_ALPHA)
            tell(done + 1, steps)
    for done in range(ROUNDS):
        misfit = search.misfit(obj)
        lost = misfit > LOST * misfit.median()
        if done < ROUNDS - LAST_ROUNDS:
            lost |= search.part_parties()
        obj = search.refit(obj, search.everyone[~lost], 2, 1.0)
        search.look_around(obj, search.everyone[lost], RADII[0] * most_px, TRIALS_LOST, from_stored=True)
        longest = search.descend(obj)
        tell(len(RADII) + done + 1, steps)
        if float(lost.double().mean()) < FEW_LOST and longest < SETTLED_PX / 5:
            break
    tell(steps, steps)
    return search.found()


@dataclass(eq=False)
class _Search:
    """Positions as they are now, and what they are tried on."""

    scan: Scan
    probe: Tensor
    alpha: float
    most_px: float
    seed: int

    def __post_init__(self) -> None:
        self.moves = np.zeros_like(self.scan.positions_px)
        self.frames = exposure_of(self.scan, dtype=self.probe.real.dtype, device=self.probe.device)
        room = int(np.ceil(2 * self.most_px)) + MARGIN_PX
        self.room = room
        height, width = self.frames.shape
        self.frames = replace(self.frames, shape=(height + 2 * room, width + 2 * room))
        self.corner = split_positions(self.scan.positions_px, self.scan.n_pixels)[0].min(axis=0) - MARGIN_PX - room
        self.rng = torch.Generator().manual_seed(self.seed)
        self.everyone = torch.arange(self.scan.n_frames, device=self.probe.device)
        self.refits = 0
        near = min(NEIGHBOURS, self.scan.n_frames)
        _, nearest = cKDTree(self.scan.positions_px).query(self.scan.positions_px, k=near)
        self.neighbours = np.asarray(nearest, dtype=np.int64).reshape(-1, near)

    def exposure(self) -> Exposure:
        """The frames at their present places."""
        corners, shifts = split_positions(self.scan.positions_px + self.moves, self.scan.n_pixels)
        places: dict[str, Any] = {"corners": torch.from_numpy(corners - self.corner).to(self.probe.device)}
        places["shifts"] = torch.from_numpy(shifts).to(self.frames.shifts)
        return replace(self.frames, **places)

    def vacuum(self) -> Tensor:
        """An object of ones."""
        return torch.ones(self.frames.shape, dtype=self.probe.dtype, device=self.probe.device)

    def refit(self, obj: Tensor, which: Tensor, iterations: int, smoothing: float) -> Tensor:
        """The object after some iterations with some of the frames."""
        self.refits += 1
        part, seed = self.exposure().select(which), self.seed + self.refits
        return iterate(part, obj, self.probe, iterations=iterations, alpha=smoothing * self.alpha, seed=seed)[0]

    def misfit(self, obj: Tensor) -> Tensor:
        """Misfit of each frame where it is, ``(frame,)``."""
        return misfit_at(self.exposure(), obj, self.probe, self.frames.shifts.new_zeros(self.scan.n_frames, 1, 2))[:, 0]

    def part_parties(self) -> Tensor:
        """Take back what whole neighbourhoods moved together, and tell whose, bool ``(frame,)``.

        Errors of single frames differ, so the median move of many neighbours is near nothing. Where it is not, they
        have settled together on a piece of the object that they made themselves.
        """
        common = np.median(self.moves[self.neighbours], axis=1)
        spread = 1.4826 * np.median(np.abs(self.moves))
        usual = PARTY * 1.2533 * spread / np.sqrt(self.neighbours.shape[1])
        together = np.linalg.norm(common, axis=1) > usual
        self.moves = np.where(together[:, None], self.moves - common, self.moves)
        return torch.from_numpy(together).to(self.probe.device)

    def look_around(
        self, obj: Tensor, which: Tensor, radius_px: float, trials: int, *, from_stored: bool = False
    ) -> None:
        """Move each frame to the best of some random places around it, or leave it.

        Half of the places may lie around the stored position, within two and a half usual moves.
        """
        if not len(which):
            return
        angle = 2 * np.pi * torch.rand(len(which), trials, generator=self.rng)
        radius = radius_px * torch.rand(len(which), trials, generator=self.rng).sqrt()
        radius[:, 0] = 0  # where it is
        places = torch.stack([radius * angle.sin(), radius * angle.cos()], -1).to(self.frames.shifts)
        if from_stored:
            half, usual = trials // 2, float(np.sqrt(np.mean(np.sum(self.moves**2, axis=1))))
            back = torch.from_numpy(self.moves).to(places)[which][:, None]
            places[:, half:] *= min(self.most_px, 2.5 * usual) / radius_px
            places[:, half:] -= back
        best = misfit_at(self.exposure().select(which), obj, self.probe, places).argmin(1)
        self._move(which, places[torch.arange(len(which), device=best.device), best])

    def descend(self, obj: Tensor) -> float:
        """Move every frame down its misfit; return the median length, in pixels."""
        step = gauss_newton(self.exposure(), obj, self.probe)
        length = step.norm(dim=1, keepdim=True)
        self._move(self.everyone, step * (LONGEST_STEP_PX / length.clamp_min(LONGEST_STEP_PX)))
        self.moves = without_affine(self.scan.positions_px, self.moves)
        return float(length.median())

    def _move(self, which: Tensor, step: Tensor) -> None:
        moves = self.moves.copy()
        moves[which.cpu().numpy()] += step.cpu().numpy().astype(np.float64)
        moves -= np.median(moves, axis=0)
        length = np.linalg.norm(moves, axis=1, keepdims=True)
        self.moves = moves * np.minimum(1.0, self.most_px / np.maximum(length, 1e-12))

    def found(self) -> NDArray[np.float64]:
        """The positions as they are now."""
        exact = torch.from_numpy(self.scan.positions_px + self.moves)
        return np.asarray(exact.to(self.probe.real.dtype).double().numpy())  # as they are kept with the weights


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
