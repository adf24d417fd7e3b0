"""Frames that fit nowhere, such as those of another sample or two exposures in one: found by a short fit, left out.

A frame that is not the scan's spoils the object around it, and all that is found by the same frames: intensities,
modes, other geometries. So it is looked for before these.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.held_out_frames import MIN_COVERED, covered_share, mean_counts
from ptycho_cli.calibration.initial_probe import unrefined_probe
from ptycho_cli.calibration.outlier_frames import Rows, fit_of, reach, standing_out, try_elsewhere
from ptycho_cli.calibration.scan_canvas import MARGIN_PX, PIE_ALPHA_FACTOR, scan_frames
from ptycho_cli.data.findings.finding import Finding, listed, refuse_errors, with_treatments
from ptycho_cli.data.frame_statistics import photons_of
from ptycho_cli.data.misfit import Residuals
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.likelihood import poisson_deviance
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie

KEEP_FRAMES = "data.reject_bad_frames=never"
# Short, since it must not cost a training much. Frames that stand out are judged after longer fits.
ITERATIONS, ITERATIONS_LONG, MOMENTUM = 4, 64, 0.8
FEWEST_FRAMES = 32  # fewer hardly overlap, so that none of them can be judged by the others
# Of what the mean pattern leaves beyond photon noise: the most that the typical frame may leave. Where it leaves more,
# the probe is rough or the positions are wrong, and no single frame is to blame.
TYPICAL = 0.25
FAR = 3.0  # times the deviance of the typical frame, in units of photon noise: what a frame that fits nowhere leaves
OWN = 0.1  # and so much of what the mean pattern would leave of it


def without_misfits(scan: Scan, *, probe: Tensor | None = None, seed: int = 0) -> Scan:
    """The scan without the frames that fit nowhere near their positions, with no intensity; told as a finding.

    The user's ``data.reject_bad_frames=never`` keeps them, and so does another severity than ``fixed``. Without a
    probe none is looked for: one that is made from the frames explains them too badly.

    Args:
        scan: The scan, as it was read.
        probe: Its probe, complex ``(mode, y, x)``; None for the file's.
        seed: Seed of the subsets.

    Raises:
        DataError: If the user's settings make such a finding an error.
    """
    if scan.n_frames < FEWEST_FRAMES or (probe is None and scan.probe is None):
        return scan
    rows, times = misfits(scan, unrefined_probe(scan, torch.float32) if probe is None else probe.cpu(), seed=seed)
    if not len(rows):
        return scan
    keep = scan.read_as.options.reject_bad_frames == "never"
    numbers = tuple(scan.frame_numbers[rows].tolist())
    frames_fit = f"Frame {numbers[0]} fits" if len(rows) == 1 else f"Frames {listed(numbers)} fit"
    finding = Finding(
        "frames-outlier", "warning" if keep else "fixed",
        f"{frames_fit} nowhere within {reach(scan):g} px of the stored position, with no intensity: at least "
        f"{times:.3g} times photon noise{'' if keep else '; left out'}.",
        KEEP_FRAMES, frames=numbers, evidence={"times_noise": times},
    )  # fmt: skip
    found = with_treatments([finding], scan.read_as.options.findings)
    refuse_errors(scan.source, found)
    scan = replace(scan, findings=(*scan.findings, *found))
    return scan.without(rows) if any(item.severity == "fixed" for item in found) else scan


def misfits(scan: Scan, probe: Tensor, *, seed: int = 0) -> tuple[Rows, float]:
    """Rows of the frames that fit nowhere, int64 ``(frame,)``, and the least deviance of one in units of photon noise.

    After a short fit of all frames, those that stand out are judged by a longer one of the others, and one of all.
    """
    frames, update = scan_frames(scan, dtype=probe.real.dtype), ObjectUpdate(PIE_ALPHA_FACTOR * auto_alpha(scan))

    def fitted(used: ScanFrames, iterations: int) -> Tensor:
        obj, _ = run_pie(
            used, frames.vacuum(), probe, update=update, iterations=iterations, momentum=MOMENTUM, seed=seed
        )
        return obj

    fit, nothing = fit_of(frames, fitted(frames, ITERATIONS), probe), np.zeros(scan.mask.shape)
    left = Residuals(fit.scaled, fit.noise, nothing, nothing)
    of_mean = np.maximum(_of_mean_pattern(frames) - fit.noise, 0.0)
    explainable = float(of_mean.mean())
    rows = standing_out(left, explainable, photons_of(scan.counts))
    rows = rows[covered_share(frames, probe)[rows] >= MIN_COVERED]
    least = np.full(len(rows), np.inf)
    others = frames.select(torch.from_numpy(np.setdiff1d(np.arange(scan.n_frames), rows)))
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)
    y, x = (int(corner) - MARGIN_PX for corner in corners.min(axis=0))
    for used in (others, frames):  # a fit may go wrong in a corner of the scan, but hardly both
        if not len(rows):
            break
        obj = fitted(used, ITERATIONS_LONG)
        fit = fit_of(others, obj, probe)
        if float(np.median(fit.scaled - fit.noise)) > TYPICAL * explainable:
            return rows[:0], 0.0
        found = Reconstruction(
            obj.numpy().astype(np.complex64), probe.numpy().astype(np.complex64), scan.positions_px,
            coverage=np.ones(obj.shape, np.float32), object_origin_px=(y, x), background=scan.background,
        )  # fmt: skip
        tried = try_elsewhere(rows, left, explainable, found, scan, seed=seed)
        scaled, usual = np.minimum(tried.here.scaled, tried.there.scaled), FAR * float(np.median(fit.ratio))
        foreign = (scaled > usual * tried.here.noise) & (scaled - tried.here.noise > OWN * of_mean[rows])
        if _fit_in_line(rows[foreign], frames, obj, probe, scan, usual):
            return rows[:0], 0.0
        rows, least = rows[foreign], np.minimum(least, scaled / tried.here.noise)[foreign]
    return rows, float(least.min(initial=np.inf))


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
