"""Axes, rotation, scale and order of the positions, found by trying.

Each hypothesis is fitted to the same frames and judged by the same left-out frames (``scan_trials``). It is reported
if it explains them significantly better than the stored geometry *and* removes much of the deviance beyond photon
noise. At low dose, where the hypotheses do not differ, nothing is reported.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.calibration.scan_trials import ScanTrials, Score
from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import rotated
from ptycho_cli.progress_callback import Progress

Positions = NDArray[np.float64]
FEWEST_FRAMES = 32  # a quarter of them judges
SIGNIFICANT = 4.0  # standard errors over the left-out frames
MUCH = 0.6  # of the deviance beyond noise: what must be left at most
UNEXPLAINED = 0.5  # of the mean pattern's deviance beyond noise: a fit that leaves more explains nothing
LARGEST_TURN_DEG, TURN_STEP_DEG = 44.0, 4.0
SCALES = tuple(float(scale) for scale in np.exp(np.linspace(np.log(0.7), np.log(1.43), 15)))
UNIT_SCALES = (0.1, 10.0)  # electron scans are stored in angstrom or nanometres; other units are impossible
SMALLEST_TURN_DEG, SMALLEST_STRETCH = 1.5, 0.04  # less is for the refinement of positions
DELAYS = (-3, -2, -1, 1, 2, 3)
REFINEMENTS = 3  # halvings of the step around the best rotation or scale

# Changes of the axes: whether columns are swapped, and which axes are reversed after that.
AXES: dict[str, tuple[bool, str]] = {
    "flip y": (False, "y"),
    "flip x": (False, "x"),
    "flip both": (False, "yx"),
    "swap": (True, ""),
    "swap, flip y": (True, "y"),
    "swap, flip x": (True, "x"),
    "swap, flip both": (True, "yx"),
}
FRAMES: dict[str, Callable[[NDArray[np.float32]], NDArray[np.float32]]] = {
    "transpose": lambda c: np.swapaxes(c, 1, 2),
}


@dataclass(frozen=True)
class ReadAs:
    """How the positions of a scan were read, to which a setting that changes them is relative.

    Attributes:
        order: Order of the stored columns, ``yx`` or ``xy``.
        options: How the file was read otherwise.
    """

    order: str = "yx"
    options: ReadOptions = field(default_factory=ReadOptions)

    def axes_setting(self, swap: bool, flips: str) -> str:
        """Settings that swap and then reverse axes of the positions as they were read."""
        before: str = "" if self.options.flip_positions == "none" else self.options.flip_positions
        if swap:
            before = before.translate(str.maketrans("yx", "xy"))
        both = "".join(axis for axis in "yx" if (axis in before) != (axis in flips)) or "none"
        order = self.order[::-1] if swap else self.order
        parts = [f"data.position_order={order}"] * swap + [f"data.flip_positions={both}"] * (
            both != self.options.flip_positions
        )
        return " ".join(parts)


@dataclass(frozen=True, eq=False)
class Tried:
    """One hypothesis: which finding it is, how it is called, the setting that keeps it, and how it scored."""

    id: str
    name: str
    setting: str
    score: Score


def try_geometry(
    scan: Scan, read_as: ReadAs, *, seed: int = 0, progress: Progress | None = None
) -> tuple[Score, list[Tried]]:
    """Score the stored geometry and every other one that is tried.

    Args:
        scan: The scan.
        read_as: How its positions were read.
        seed: Which frames are left out.
        progress: Called with (trials done, trials in all).

    Returns:
        The score of the scan as stored, and the other hypotheses, best first.
    """
    trials = ScanTrials(scan, seed=seed)
    p = scan.positions_px
    stored = trials.score(p)
    others = _families(trials, p, read_as, progress)
    if min([stored.excess, *(tried.score.excess for tried in others)]) > UNEXPLAINED * (stored.of_mean - stored.noise):
        # Nothing explains the frames with the probe as it is: refine the probe within each trial.
        trials = ScanTrials(scan, seed=seed, refine_probe=True)
        stored = trials.score(p)
        others = _families(trials, p, read_as, progress)
    return stored, sorted(others, key=lambda tried: tried.score.mean)


def geometry_findings(scan: Scan, read_as: ReadAs, *, seed: int = 0, progress: Progress | None = None) -> list[Finding]:
    """Return at most one finding: the geometry that explains left-out frames much better than the stored one.

    Nothing is tried on scans of fewer than ``FEWEST_FRAMES`` frames.

    One ambiguity remains: flipping both axes, with object and probe turned by 180 degrees and conjugated, changes no
    frame. It shows only if the file has a good probe.
    """
    if scan.n_frames < FEWEST_FRAMES:
        return []
    stored, others = try_geometry(scan, read_as, seed=seed, progress=progress)
    for tried in others:
        if improves(tried.score, stored):
            ratio = stored.excess / tried.score.excess
            return [
                Finding(
                    tried.id, "warning",
                    f"With {tried.name}, left-out frames are explained {ratio:.3g} times better: deviance "
                    f"{tried.score.mean:.3g} instead of {stored.mean:.3g}, photon noise alone {tried.score.noise:.3g}.",
                    setting=tried.setting,
                    evidence={"deviance": stored.mean, "deviance_cured": tried.score.mean, "noise": tried.score.noise,
                              "significance": tried.score.significance(stored)},
                )
            ]  # fmt: skip
    return []


def improves(score: Score, stored: Score) -> bool:
    """Whether a hypothesis explains left-out frames significantly and much better."""
    return score.excess < MUCH * stored.excess and score.significance(stored) > SIGNIFICANT


def _families(trials: ScanTrials, p: Positions, read_as: ReadAs, progress: Progress | None) -> list[Tried]:
    total = len(AXES) + len(FRAMES) + len(DELAYS) + 2 + 23 + len(SCALES) + len(UNIT_SCALES) + 4 * REFINEMENTS
    done = 0

    def score(positions: Positions, counts: NDArray[np.float32] | None = None) -> Score:
        nonlocal done
        done += 1
        if progress is not None:
            progress(min(done, total), total)
        return trials.score(positions, counts)

    found = []
    for name, (swap, flips) in AXES.items():
        changed = score((p[:, ::-1] if swap else p) * [-1.0 if axis in flips else 1.0 for axis in "yx"])
        setting = read_as.axes_setting(swap, flips)
        found.append(Tried("positions-axes", f"the axes of the positions changed ({name})", setting, changed))
    for name, transform in FRAMES.items() if read_as.options.frame_transform == "none" else ():
        changed = score(p, transform(trials.scan.counts))
        found.append(Tried("positions-axes", f"the frames changed ({name})", f"data.frame_transform={name}", changed))
    angles = np.arange(-LARGEST_TURN_DEG, LARGEST_TURN_DEG + 1, TURN_STEP_DEG)
    angle, turned = _best(angles, lambda a: score(rotated(p, a)), TURN_STEP_DEG, additive=True)
    if abs(angle) >= SMALLEST_TURN_DEG:
        name = f"the positions rotated by {angle:.3g} degrees"
        found.append(
            Tried(
                "positions-rotation",
                name,
                f"data.scan_rotation_deg={read_as.options.scan_rotation_deg + angle:.4g}",
                turned,
            )
        )
    middle = p.mean(axis=0)
    scale, stretched = _best(
        np.array(SCALES), lambda s: score((p - middle) * s + middle), SCALES[1] / SCALES[0], additive=False
    )  # fmt: skip
    if abs(np.log(scale)) >= SMALLEST_STRETCH:
        name = f"the positions stretched by {scale:.4g}, as with a wrong pixel size"
        found.append(
            Tried(
                "positions-scale", name, f"data.position_scale={read_as.options.position_scale * scale:.4g}", stretched
            )
        )
    for factor in UNIT_SCALES if trials.scan.radiation == "electron" else ():
        name = f"the positions {factor:g} times as far apart, as in another unit"
        setting = f"data.position_scale={read_as.options.position_scale * factor:.4g}"
        found.append(Tried("positions-unit", name, setting, score((p - middle) * factor + middle)))
    for delay in DELAYS:
        name = f"each frame at the position {abs(delay)} {'later' if delay > 0 else 'earlier'} in the file"
        setting = f"data.position_delay={read_as.options.position_delay + delay}"
        found.append(Tried("positions-index", name, setting, score(_delayed(p, delay))))
    return found


def _delayed(positions: Positions, delay: int) -> Positions:
    """Positions moved by some frames; those at the end, which have no partner, keep the last one."""
    return positions[np.clip(np.arange(len(positions)) + delay, 0, len(positions) - 1)]


def _best(
    values: NDArray[np.float64], score: Callable[[float], Score], step: float, *, additive: bool
) -> tuple[float, Score]:
    """The best of a row of values, refined by halving the step around it."""
    tried = {float(value): score(float(value)) for value in values}
    for _ in range(REFINEMENTS):
        best = min(tried, key=lambda value: tried[value].mean)
        step = step / 2 if additive else np.sqrt(step)
        for near in (best - step, best + step) if additive else (best / step, best * step):
            tried[float(near)] = score(float(near))
    best = min(tried, key=lambda value: tried[value].mean)
    return best, tried[best]
