"""Frames that fit nowhere, such as those of another sample or two exposures in one: found by a short fit, left out.

A frame that is not the scan's spoils the object around it, and all that is found by the same frames: intensities,
modes, other geometries. So it is looked for before these.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.held_out_frames import MIN_COVERED, covered_share, mean_counts
from ptycho_cli.calibration.initial_probe import unrefined_probe
from ptycho_cli.calibration.outlier_frames import Rows, fit_of, number_range, reach, standing_out, try_elsewhere
from ptycho_cli.calibration.scan_canvas import MARGIN_PX, PIE_ALPHA_FACTOR, scan_frames
from ptycho_cli.data.findings.draft import KEEP_FRAMES
from ptycho_cli.data.findings.finding import Finding, Severity, listed, refuse_errors, with_treatments
from ptycho_cli.data.frame_statistics import photons_of
from ptycho_cli.data.misfit import Residuals
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.likelihood import poisson_deviance
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie

# Short, since it must not cost a training much. Frames that stand out are judged after longer fits.
ITERATIONS, ITERATIONS_LONG, MOMENTUM = 4, 64, 0.8
FEWEST_FRAMES = 32  # fewer hardly overlap, so that none of them can be judged by the others
ROUNDS = 3  # a bad frame spoils those around it, which are judged once it is left out
NEAR = 1.5  # widths of a frame around those that stand out, from which frames are fitted
# Of what the mean pattern leaves beyond photon noise: the most that the typical frame may leave. Where it leaves more,
# the probe is rough or the positions are wrong, and no single frame is to blame.
TYPICAL = 0.25
FAR = 3.0  # times the deviance of the typical frame, in units of photon noise: what a frame that fits nowhere leaves
OWN = 0.1  # and so much of what the mean pattern would leave of it
GOOD = 3.0  # times photon noise: more of the typical frame may come from positions that are all a little wrong


@dataclass(frozen=True, eq=False)
class Misfits:
    """Frames that are not where they should be.

    Attributes:
        nowhere: Rows of those that fit nowhere near by, int64 ``(frame,)``.
        moved: Rows of those that fit at another position near by, int64 ``(frame,)``.
        times_noise: Deviance of these and those, in units of photon noise, where they are; of the first at best.
        moved_px: How far away the second fit, ``(frame,)``.
    """

    nowhere: Rows
    moved: Rows
    times_noise: tuple[NDArray[np.float64], NDArray[np.float64]]
    moved_px: NDArray[np.float64]

    @property
    def rows(self) -> Rows:
        """Rows of all of them."""
        return np.concatenate([self.nowhere, self.moved])


def without_misfits(scan: Scan, *, probe: Tensor | None = None, keep_moved: bool = False, seed: int = 0) -> Scan:
    """The scan without the frames that fit nowhere near their positions, or only away from them; told as findings.

    The user's ``data.reject_bad_frames=never`` keeps them, and so does another severity than ``fixed``. Without a
    probe none is looked for: one that is made from the frames explains them too badly.

    Args:
        scan: The scan, as it was read.
        probe: Its probe, complex ``(mode, y, x)``; None for the file's.
        keep_moved: Keep those that fit at another position, as where positions are refined anyway.
        seed: Seed of the subsets.

    Raises:
        DataError: If the user's settings make such a finding an error.
    """
    if scan.n_frames < FEWEST_FRAMES or (probe is None and scan.probe is None):
        return scan
    probe, left, found = unrefined_probe(scan, torch.float32) if probe is None else probe.cpu(), scan, []
    for _ in range(ROUNDS):
        misfits = find_misfits(left, probe, seed=seed)
        if not len(misfits.rows):
            break
        found.append((left.frame_numbers, misfits))
        left = left.without(misfits.rows)
    findings = [] if not found else _findings(scan, found, keep_moved)
    refuse_errors(scan.source, findings)
    dropped = [number for finding in findings if finding.severity == "fixed" for number in finding.frames]
    return replace(scan, findings=(*scan.findings, *findings)).leaving_out(dropped) if findings else scan


def _findings(scan: Scan, found: list[tuple[NDArray[np.int64], Misfits]], keep_moved: bool) -> list[Finding]:
    """The findings on frames that were found in several rounds, each with the numbers of all frames then."""
    keep = scan.read_as.options.reject_bad_frames == "never"
    end, findings = "" if keep else "; left out", []
    nowhere = np.concatenate([numbers[misfits.nowhere] for numbers, misfits in found])
    moved = np.concatenate([numbers[misfits.moved] for numbers, misfits in found])
    least = [min(misfits.times_noise[which].min(initial=np.inf) for _, misfits in found) for which in (0, 1)]

    def report(id: str, numbers: NDArray[np.int64], text: str, times_noise: float) -> None:
        numbers = np.setdiff1d(numbers, [frame for found in scan.findings if found.id == id for frame in found.frames])
        if not len(numbers):  # all of them were named before, and are kept
            return
        frames, evidence = tuple(numbers.tolist()), {"times_noise": float(times_noise)}
        fit = f"Frame {frames[0]} fits" if len(frames) == 1 else f"Frames {listed(frames)} fit"
        severity: Severity = "warning" if keep else "fixed"
        findings.append(Finding(id, severity, f"{fit} {text}.", KEEP_FRAMES, frames=frames, evidence=evidence))

    if len(nowhere):
        report(
            "frames-outlier", nowhere,
            f"nowhere within {reach(scan):g} px of the stored position, with no intensity: at least {least[0]:.3g} "
            f"times photon noise{end}",
            least[0],
        )  # fmt: skip
    if len(moved) and not keep_moved:
        far = np.concatenate([misfits.moved_px for _, misfits in found])
        report(
            "positions-outlier", moved,
            f"only {number_range(far)} px away from the stored position, where at least {least[1]:.3g} times photon "
            f"noise are left{end}; physics.refine_positions=true moves frames",
            least[1],
        )  # fmt: skip
    return with_treatments(findings, scan.read_as.options.findings)


def find_misfits(scan: Scan, probe: Tensor, *, seed: int = 0) -> Misfits:
    """Find frames that fit nowhere, as far as the others cover them, or only away from their positions.

    After a short fit of all frames, those that stand out are judged by a longer one of the others, and one of all.
    """
    frames, update = scan_frames(scan, dtype=probe.real.dtype), ObjectUpdate(PIE_ALPHA_FACTOR * auto_alpha(scan))

    def fitted(rows: Rows, iterations: int) -> Tensor:
        part = frames if len(rows) == scan.n_frames else frames.select(torch.from_numpy(rows))
        obj, _ = run_pie(
            part, frames.vacuum(), probe, update=update, iterations=iterations, momentum=MOMENTUM, seed=seed
        )
        return obj

    everything = np.arange(scan.n_frames)
    fit, nothing = fit_of(frames, fitted(everything, ITERATIONS), probe), np.zeros(scan.mask.shape)
    left = Residuals(fit.scaled, fit.noise, nothing, nothing)
    of_mean = np.maximum(_of_mean_pattern(frames) - fit.noise, 0.0)
    explainable = float(of_mean.mean())
    rows = standing_out(left, explainable, photons_of(scan.counts))
    none = Misfits(rows[:0], rows[:0], (np.empty(0), np.empty(0)), np.empty(0))
    if not len(rows):
        return none
    away = np.min([np.abs(scan.positions_px - scan.positions_px[row]).max(axis=1) for row in rows], axis=0)
    near = np.flatnonzero(away < NEAR * scan.n_pixels)
    others = np.setdiff1d(near, rows)
    if not len(others):  # frames that stand alone cannot be judged
        return none
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)
    y, x = (int(corner) - MARGIN_PX for corner in corners.min(axis=0))
    verdicts = []
    for used in (others, near):  # a fit may go wrong in a corner of the scan, but hardly both
        obj = fitted(used, ITERATIONS_LONG)
        fit = fit_of(frames.select(torch.from_numpy(others)), obj, probe)
        if float(np.median(fit.scaled - fit.noise)) > TYPICAL * explainable:
            return none
        found = Reconstruction(
            obj.numpy().astype(np.complex64), probe.numpy().astype(np.complex64), scan.positions_px,
            coverage=np.ones(obj.shape, np.float32), object_origin_px=(y, x), background=scan.background,
        )  # fmt: skip
        tried, usual = try_elsewhere(rows, left, explainable, found, scan, seed=seed), float(np.median(fit.ratio))
        noise, here, there = tried.here.noise, tried.here.scaled, np.minimum(tried.here.scaled, tried.there.scaled)
        nowhere, bad = ((some > FAR * usual * noise) & (some - noise > OWN * of_mean[rows]) for some in (there, here))
        moved = bad & ~nowhere & tried.place & (usual < GOOD)
        if _fit_in_line(rows[nowhere], frames, obj, probe, scan, FAR * usual):
            return none
        verdicts.append((nowhere, moved, there / noise, here / noise, tried.moved_px))
        others = np.setdiff1d(near, rows[bad])
    (nowhere, moved, *_), (nowhere_too, moved_too, at_best, as_stored, moved_px) = verdicts
    covered = covered_share(frames.select(torch.from_numpy(rows)), probe, frames.select(torch.from_numpy(others)))
    nowhere, moved = nowhere & nowhere_too & (covered >= MIN_COVERED), moved & moved_too
    return Misfits(rows[nowhere], rows[moved], (at_best[nowhere], as_stored[moved]), moved_px[moved])


def _fit_in_line(rows: Rows, frames: ScanFrames, obj: Tensor, probe: Tensor, scan: Scan, most: float) -> bool:
    """Whether a frame fits where the line of the frames after it or before it leads, up to so much photon noise.

    Then it is the positions that are wrong, as at the ends of rows if each frame has the position of the one before.
    """
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)
    for step in (1, -1):
        known = rows[(rows + 2 * step >= 0) & (rows + 2 * step < scan.n_frames)]
        places = 2 * scan.positions_px[known + step] - scan.positions_px[known + 2 * step]
        there, shifts = split_positions(places, scan.n_pixels)
        there = there - corners.min(axis=0) + MARGIN_PX
        inside = ((there >= 0) & (there + scan.n_pixels <= frames.shape)).all(axis=1)
        if not inside.any():
            continue
        moved = replace(
            frames.select(torch.from_numpy(known[inside])),
            corners=torch.from_numpy(there[inside]), shifts=torch.from_numpy(shifts[inside]).to(frames.shifts),
        )  # fmt: skip
        if (fit_of(moved, obj, probe).ratio < most).any():
            return True
    return False


def _of_mean_pattern(frames: ScanFrames) -> NDArray[np.float64]:
    """Deviance of each frame if it were the mean of all with its own photons, nats per valid pixel, ``(frame,)``."""
    mean = mean_counts(frames)
    valid = torch.ones_like(mean) if frames.valid is None else frames.valid
    mean, found = mean * valid, []
    for part in frames.parts():
        counts = part.measured().square() * valid
        rate = mean * (counts.sum((-2, -1), keepdim=True) / mean.sum())
        found.append((poisson_deviance(counts, rate) * valid).sum((-2, -1)) / valid.sum())
    return torch.cat(found).double().numpy()
