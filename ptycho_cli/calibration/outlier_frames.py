"""Frames that a reconstruction does not explain: found, and looked at once more at other positions and intensities."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.position_search import PositionFit
from ptycho_cli.calibration.scan_canvas import PIE_ALPHA_FACTOR
from ptycho_cli.data.findings.finding import Finding, listed, with_treatments
from ptycho_cli.data.misfit import Residuals
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.frame_intensity import fit_intensities
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.likelihood import expected_deviance, poisson_deviance
from ptycho_cli.physics.object_update import ObjectUpdate

Rows = NDArray[np.int64]
# A frame stands out if its deviance, in units of its photon noise, is so many robust standard deviations, or so many
# times, above that of the frames of like brightness, and leaves such a share of what the mean pattern leaves beyond
# noise. One that is very wrong spoils the frames around it, so that the spread alone would hide it.
SPREADS, TIMES, SHARE = 5.0, 3.0, 0.15
ALIKE = 48  # frames of like brightness
SMALLEST_SPREAD = 0.05  # of the logarithm of that ratio: frames at high dose may be alike to less
RARE, MOST = 0.1, 512  # of the frames, and frames: the worst are looked at; where more are wrong, the model is
REACH_PX, REACH_SHARE = 8.0, 0.25  # how far other positions are tried: in pixels, and in widths of a frame
REFIT_ITERATIONS = 6  # of the object from the frames around, without those that stand out
CANDIDATES = 4  # whole pixels from which a better position is looked for
EXPLAINED = 0.2  # of the deviance beyond noise: what a position or an intensity leaves at most if it explains a frame
CHANGED_LIGHT = 1.2  # times: a smaller factor on the intensity of a frame is no reason
MOVED_PX = 0.5  # nor is a smaller move


def standing_out(left: Residuals, explainable: float, photons: NDArray[np.float64]) -> Rows:
    """Rows of the frames whose deviance is far above that of the frames of like brightness, int64 ``(frame,)``.

    A tenth of all frames at most, and no more than 512, the worst.

    Args:
        left: What the reconstruction leaves of each frame.
        explainable: Deviance that the mean pattern leaves beyond photon noise, nats per pixel.
        photons: Photons of each frame, ``(frame,)``.
    """
    excess = np.log(np.maximum(left.frames, 1e-12) / np.maximum(left.frames_noise, 1e-12))
    n_frames = len(excess)
    order = np.argsort(photons, kind="stable")
    near = min(ALIKE, n_frames)
    first = np.clip(np.arange(n_frames) - near // 2, 0, n_frames - near)
    alike = excess[order][first[:, None] + np.arange(near)]
    median = np.median(alike, axis=1)
    spread = 1.4826 * np.median(np.abs(alike - median[:, None]), axis=1)
    limit = np.minimum(SPREADS * np.maximum(spread, SMALLEST_SPREAD), np.log(TIMES))
    far = np.empty(n_frames, dtype=np.bool_)
    far[order] = excess[order] > median + limit
    beyond = left.frames - left.frames_noise
    rows = np.flatnonzero(far & (beyond > SHARE * explainable))
    return np.sort(rows[np.argsort(-beyond[rows], kind="stable")[: min(MOST, max(1, round(RARE * n_frames)))]])


def look_again(
    rows: Rows, left: Residuals, explainable: float, result: Reconstruction, scan: Scan, *, seed: int = 0
) -> tuple[Finding, ...]:
    """Look once more at frames that stand out: at other positions near by, and with another intensity.

    The object around them is refined without them first, since they spoil it.

    Args:
        rows: Their rows, int64 ``(frame,)``.
        left: What the reconstruction leaves of each frame.
        explainable: Deviance that the mean pattern leaves beyond photon noise, nats per pixel.
        result: The reconstruction.
        scan: Its scan.
        seed: Seed of the subsets.

    Returns:
        At most one finding for each explanation: another position, another intensity, and none. Frames that are
        explained where they are, once the others do not spoil the object, are in none.
    """
    if not len(rows):
        return ()
    tried, numbers = try_elsewhere(rows, left, explainable, result, scan, seed=seed), scan.frame_numbers[rows]
    here, there, moved_px = tried.here, tried.there, tried.moved_px
    light, place, nothing = tried.light, tried.place, tried.nothing
    found = [
        _finding(
            "positions-outlier", numbers[place], f"{number_range(moved_px[place])} px away from the stored position",
            here.ratio[place], there.ratio[place], " physics.refine_positions=true moves frames.",
        ),
        _finding(
            "frames-outlier", numbers[light], f"with {number_range(here.factor[light])} times the light",
            here.deviance[light] / here.noise[light], here.ratio[light], setting="physics.refine_intensity=always",
        ),
        _finding(
            "frames-outlier", numbers[nothing],
            f"nowhere within {reach(scan):g} px of the stored position, with no intensity",
            here.ratio[nothing], there.ratio[nothing],
        ),
    ]  # fmt: skip
    return tuple(with_treatments([item for item in found if item is not None], scan.read_as.options.findings))


@dataclass(frozen=True, eq=False)
class Fit:
    """How well frames are explained, each array ``(frame,)``, deviances in nats per valid pixel.

    Attributes:
        deviance: Deviance of each frame.
        noise: What photon noise alone would leave of it.
        scaled: Deviance with the intensity that suits the frame best.
        factor: That intensity, in units of the one that the frame has.
    """

    deviance: NDArray[np.float64]
    noise: NDArray[np.float64]
    scaled: NDArray[np.float64]
    factor: NDArray[np.float64]

    @property
    def excess(self) -> NDArray[np.float64]:
        """Deviance beyond photon noise."""
        return self.deviance - self.noise

    @property
    def ratio(self) -> NDArray[np.float64]:
        """Deviance in units of photon noise, with the intensity that suits the frame best."""
        return self.scaled / self.noise


def reach(scan: Scan) -> float:
    """How far from the stored ones other positions are tried, in object pixels."""
    return min(REACH_PX, REACH_SHARE * scan.n_pixels)


@dataclass(frozen=True, eq=False)
class TriedElsewhere:
    """What explains frames that stand out, each array ``(frame,)``.

    Attributes:
        here: How well they are explained at their positions.
        there: How well at the best positions near by.
        moved_px: How far away these are.
        light: Whether another intensity explains a frame.
        place: Whether another position does.
        nothing: Whether neither does.
    """

    here: Fit
    there: Fit
    moved_px: NDArray[np.float64]
    light: NDArray[np.bool_]
    place: NDArray[np.bool_]
    nothing: NDArray[np.bool_]


def try_elsewhere(
    rows: Rows, left: Residuals, explainable: float, result: Reconstruction, scan: Scan, *, seed: int = 0
) -> TriedElsewhere:
    """Try other positions and intensities of frames that stand out; arguments as in ``look_again``."""
    search, obj = _object_without(rows, result, scan, reach(scan), seed)
    frames, stored = torch.from_numpy(rows), search.moves[rows] + search.common
    here = fit_of(search.placed(frames), obj, search.probe)
    search.jump(obj, frames, reach(scan), 1, CANDIDATES)
    there = fit_of(search.placed(frames), obj, search.probe)
    moved_px = np.linalg.norm(search.moves[rows] + search.common - stored, axis=1)
    bad = here.excess > np.maximum(EXPLAINED * (left.frames - left.frames_noise)[rows], SHARE * explainable)
    light = bad & (here.scaled - here.noise < EXPLAINED * here.excess)
    light &= np.abs(np.log(here.factor)) > np.log(CHANGED_LIGHT)
    place = bad & ~light & (there.scaled - here.noise < EXPLAINED * here.excess) & (moved_px > MOVED_PX)
    return TriedElsewhere(here, there, moved_px, light, place, bad & ~light & ~place)


def _object_without(
    rows: Rows, result: Reconstruction, scan: Scan, reach_px: float, seed: int
) -> tuple[PositionFit, Tensor]:
    """The frames on a canvas with room to move, and the object there, refined without some of the frames."""
    update = ObjectUpdate(PIE_ALPHA_FACTOR * auto_alpha(scan))
    scan = replace(
        scan, positions_px=result.positions_px, stored_positions_px=None,
        intensities=result.intensities, background=result.background,
    )  # fmt: skip
    search = PositionFit(scan, torch.from_numpy(result.probe), update, reach_px, seed)
    obj = search.vacuum()
    y, x = np.rint(result.object_origin_px).astype(np.int64) - search.corner
    known = torch.from_numpy(np.where(np.isfinite(result.object), result.object, 1).astype(np.complex64))
    obj[y : y + known.shape[0], x : x + known.shape[1]] = known
    away = np.abs(scan.positions_px[:, None] - scan.positions_px[rows]).max(axis=2).min(axis=1)
    around = np.setdiff1d(np.flatnonzero(away < scan.n_pixels / 2), rows)
    if len(around):
        obj = search.refit(obj, torch.from_numpy(around), REFIT_ITERATIONS, update)
    return search, obj


def fit_of(frames: ScanFrames, obj: Tensor, probe: Tensor) -> Fit:
    """How well an object explains frames where they are."""
    valid = torch.ones_like(probe[0].real) if frames.valid is None else frames.valid
    found = []

    def of(deviance: Tensor) -> Tensor:
        return (deviance * valid).sum((-2, -1)) / valid.sum()

    for part in frames.parts():
        counts, rate = part.measured().square(), expected_rate(part, obj, probe)
        light = rate - frames.background
        factor = fit_intensities(counts, light, frames.background, frames.valid)
        scaled = factor[:, None, None] * light + frames.background
        deviances = poisson_deviance(counts, rate), expected_deviance(rate), poisson_deviance(counts, scaled)
        found.append(torch.stack([*map(of, deviances), factor]))
    deviance, noise, scaled, factor = torch.cat(found, 1).double().numpy()
    return Fit(deviance.clip(1e-12), noise.clip(1e-12), scaled.clip(1e-12), factor.clip(1e-9))


def number_range(values: NDArray[np.float64]) -> str:
    """The smallest and the largest of some values, for a message: ``3.1 to 7.9``."""
    low, high = (f"{value:.2g}" for value in (values.min(initial=np.inf), values.max(initial=-np.inf)))
    return low if low == high else f"{low} to {high}"


def _finding(
    id: str, numbers: Rows, text: str, before: NDArray[np.float64], after: NDArray[np.float64],
    more: str = "", setting: str | None = None,
) -> Finding | None:  # fmt: skip
    """The finding on frames with one explanation; None where there are no such frames."""
    if not len(numbers):
        return None
    frames = tuple(int(number) for number in numbers)
    name = f"Frame {listed(frames)} fits" if len(frames) == 1 else f"Frames {listed(frames)} fit"
    return Finding(
        id, "note",
        f"{name} {text}: {after.mean():.3g} instead of {before.mean():.3g} times photon noise.{more}",
        setting=setting or f"data.exclude_frames={','.join(str(frame) for frame in frames)}", frames=frames,
        evidence={"times_noise": float(before.mean()), "times_noise_cured": float(after.mean())},
    )  # fmt: skip
