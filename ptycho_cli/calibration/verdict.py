"""The verdict on a reconstruction: whether it explains the frames of its scan, and if not, the likely reasons.

Two things decide. The deviance of held-out frames is compared with that of photon noise, and with that of the trivial
model in which every frame is the mean of all others. And other geometries of the positions are tried where those
frames leave a doubt: at low dose, and for weak objects, a wrong axis hardly shows in the deviance.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho_cli.calibration.geometry_trials import geometry_findings
from ptycho_cli.calibration.outlier_frames import standing_out
from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.frame_statistics import photons_of
from ptycho_cli.data.misfit import HeldOutScore, Residuals
from ptycho_cli.data.scan import Scan
from ptycho_cli.finding_ids import GEOMETRY_IDS
from ptycho_cli.progress_callback import Progress

# Held-out frames are not explained if deviance and share exceed both values of a pair.
UNEXPLAINED = ((1.3, 0.3), (2.5, 0.15))
DOUBTFUL_RATIO, DOUBTFUL_SHARE = 1.15, 0.1  # above either, other geometries are tried
# Below so many nats per pixel of photon noise they are always tried: with about one photon in a pixel, wrong positions
# hardly raise the deviance.
LOW_DOSE_NOISE = 0.25
OUTLIER_RATIO = 3.0  # a detector pixel stands out if it has so many times the typical excess
SAME_PROBE = 0.9999  # correlation of two probes that are the same
SHOWN = 5  # worst frames and pixels
Numbers = tuple[int, ...]
# What is unlikely, or makes an object uncertain, and does not contradict the model: a reason only where frames are not
# explained.
SAMPLING = (
    "overlap-low",
    "positions-unit",
    "few-frames",
    "raster-regular",
    "probe-size",
    "positions-duplicated",
    "missing-part",
)


@dataclass(frozen=True)
class Verdict:
    """Whether a reconstruction explains its scan.

    Attributes:
        explained: Whether held-out frames are explained, and no likely fault of the scan stands.
        deviance: Mean deviance of frames that the reconstruction was made without, nats per valid pixel.
        expected_deviance: What photon noise alone would leave at the rates that were found.
        reasons: Findings that are likely to be the cause, the likeliest first; empty if ``explained``.
        notes: Findings on single frames that are no reason.
        worst_frames: Numbers in the file, from 0, of the frames explained worst; where ``explained``, only those that
            stand out.
        worst_pixels: Detector pixels (row, column) in the frames as they are used, chosen alike.
    """

    explained: bool
    deviance: float
    expected_deviance: float
    reasons: tuple[Finding, ...] = ()
    notes: tuple[Finding, ...] = ()
    worst_frames: tuple[int, ...] = ()
    worst_pixels: tuple[tuple[int, int], ...] = ()

    @property
    def ratio(self) -> float:
        """Deviance in units of photon noise."""
        return self.deviance / max(self.expected_deviance, 1e-12)

    def as_json(self) -> dict[str, Any]:
        """The form in ``run.json``, in ``--json`` and in the run record of a reconstruction."""
        return {
            "explained": self.explained,
            "deviance": self.deviance,
            "expected_deviance": self.expected_deviance,
            "ratio": self.ratio,
            "reasons": [finding.id for finding in self.reasons],
            "worst_frames": list(self.worst_frames),
            "worst_pixels": [list(pixel) for pixel in self.worst_pixels],
            "findings": [finding.as_json() for finding in (*self.reasons, *self.notes)],
        }


@dataclass(frozen=True)
class LookedAgain:
    """A second look at frames that stand out.

    Attributes:
        findings: What explains them.
        without: How well the other held-out frames are explained by a reconstruction without them.
    """

    findings: tuple[Finding, ...]
    without: HeldOutScore


def unexplained(score: HeldOutScore) -> bool:
    """Whether held-out frames are not explained, whatever the reason."""
    return any(score.ratio > ratio and score.unexplained_share > share for ratio, share in UNEXPLAINED)


def doubtful(score: HeldOutScore) -> bool:
    """Whether held-out frames leave room for another geometry of the positions."""
    return score.ratio > DOUBTFUL_RATIO or score.unexplained_share > DOUBTFUL_SHARE or score.noise < LOW_DOSE_NOISE


def verdict(
    score: HeldOutScore,
    left: Residuals,
    scan: Scan,
    probe: NDArray[np.complex64],
    *,
    again: LookedAgain | None = None,
    seed: int = 0,
    progress: Progress | None = None,
) -> Verdict:
    """Judge a reconstruction, and look for the reasons where there is a doubt.

    Args:
        score: How well held-out frames are explained.
        left: What the reconstruction leaves of each frame and each detector pixel.
        scan: The scan.
        probe: The probe of the reconstruction, complex ``(mode, y, x)``.
        again: The second look at ``outlying_frames``; None if there was none.
        seed: Seed of the frames that trials leave out.
        progress: Called with (trials done, trials in all).
    """
    bad = unexplained(score)
    singles = () if again is None else again.findings
    if again is not None and bad:  # either these frames are the reason, or nothing can be said of single frames
        explained = not unexplained(again.without)
        singles = tuple(_as_reason(finding, again.without) for finding in singles if explained)
    tried = _tried_geometry(scan, probe, seed, progress) if doubtful(score if again is None else again.without) else []
    reasons = [*tried, *_standing((*singles, *scan.findings), bad=bad)]
    explained = not bad and not reasons
    return Verdict(
        explained,
        score.deviance,
        score.noise,
        tuple(reasons),
        tuple(finding for finding in singles if finding.severity == "note"),
        _worst_frames(left, score, scan, explained),
        _worst_pixels(left, score, scan.mask, explained),
    )


def _as_reason(finding: Finding, without: HeldOutScore) -> Finding:
    """A finding on single frames, without which the others are explained."""
    message = f"{finding.message} Without them the model explains the frames ({without.ratio:.3g} times photon noise)."
    return replace(finding, severity="warning", message=message)


def outlying_frames(score: HeldOutScore, left: Residuals, scan: Scan) -> NDArray[np.int64]:
    """Rows of the frames that the reconstruction explains far worse than the others, int64 ``(frame,)``."""
    return standing_out(left, score.explainable, photons_of(scan.counts))


def _standing(findings: Iterable[Finding], *, bad: bool) -> list[Finding]:
    """Findings that nothing corrected, tried ones first; where frames are not explained also corrected ones, last."""
    rank = {"warning": 1, "error": 1} | ({"fixed": 2} if bad else {})
    chosen = [found for found in findings if found.severity in rank and (bad or found.id not in SAMPLING)]
    return sorted(chosen, key=lambda found: 0 if found.id in GEOMETRY_IDS else rank[found.severity])


def _tried_geometry(scan: Scan, probe: NDArray[np.complex64], seed: int, progress: Progress | None) -> list[Finding]:
    """Findings of trials with the scan as stored, as the user wants them treated; none if they were made before."""
    if scan.geometry_tried or any(finding.id in GEOMETRY_IDS for finding in scan.findings):
        return []
    as_stored = scan.stored_positions_px is None
    stored = scan.positions_px if scan.stored_positions_px is None else scan.stored_positions_px
    scan = replace(scan, positions_px=stored, stored_positions_px=None, intensities=None, background=0.0)
    given = None if _is_same_probe(scan.probe, probe) else torch.from_numpy(probe)
    found = geometry_findings(scan, probe=given, move_frames=as_stored, seed=seed, progress=progress)
    return [finding for finding in found if finding.severity in ("warning", "error")]


def _is_same_probe(stored: NDArray[np.complex64] | None, found: NDArray[np.complex64]) -> bool:
    """Whether a run kept the file's probe, apart from its scale: one probe to try geometries with in place of two."""
    if stored is None or stored.shape != found.shape:
        return False
    return bool(abs(np.vdot(stored, found)) > SAME_PROBE * np.linalg.norm(stored) * np.linalg.norm(found))


def _worst_frames(left: Residuals, score: HeldOutScore, scan: Scan, only_outliers: bool) -> Numbers:
    """Numbers in the file of the frames with the most deviance in units of photon noise."""
    ratio = left.frames / np.maximum(left.frames_noise, 1e-12)
    rows = np.argsort(-ratio, kind="stable")
    if only_outliers:
        rows = rows[np.isin(rows, outlying_frames(score, left, scan))]
    return tuple(int(number) for number in scan.frame_numbers[rows[:SHOWN]])


def _worst_pixels(
    left: Residuals, score: HeldOutScore, mask: NDArray[np.bool_], only_outliers: bool
) -> tuple[tuple[int, int], ...]:
    """Detector pixels with the most deviance beyond photon noise."""
    excess = np.where(mask, left.pixels - left.pixels_noise, 0.0)
    typical = max(float(np.abs(excess[mask]).mean()), float(left.pixels_noise[mask].mean()), score.explainable)
    order = np.argsort(-excess, axis=None, kind="stable")[:SHOWN]
    chosen = [np.unravel_index(i, mask.shape) for i in order]
    return tuple((int(y), int(x)) for y, x in chosen if excess[y, x] > OUTLIER_RATIO * typical or not only_outliers)
