"""Trial fits: a few iterations of physics on some frames, judged by frames that were left out.

A wrong axis, a rotated stage, a wrong pixel size or positions that are one frame behind cannot be seen in the file.
But they can be tried: the right geometry explains left-out frames far better. One trial of 64 frames takes about a
tenth of a second of CPU time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.scan_canvas import PIE_ALPHA_FACTOR, central_frames, scan_frames
from ptycho_cli.data.frames import crop_bandwidth, crop_window
from ptycho_cli.data.scan import Scan
from ptycho_cli.physics.forward import expected_rate
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.likelihood import poisson_deviance
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie
from ptycho_cli.physics.probe import defocus_candidates, initial_probe, scale_probe

FRAMES = 64
LEFT_OUT = 4  # one of so many frames
ITERATIONS = 8
REFINING = 12  # iterations where the probe has to be refined at the same time
LARGEST_FRAME_PX = 64  # larger frames are cropped: low angles tell right from wrong, at a quarter of the time
MOMENTUM = 0.5


@dataclass(frozen=True, eq=False)
class Score:
    """How well a trial explains the frames that it left out, in nats per pixel.

    Attributes:
        deviance: Mean deviance of each left-out frame, ``(frame,)``.
        noise: What photon noise alone would leave at the rates found, mean over frames.
        of_mean: Mean deviance under the trivial model: every frame is the mean of all.
    """

    deviance: NDArray[np.float64]
    noise: float
    of_mean: float

    @property
    def mean(self) -> float:
        """Mean deviance of the left-out frames."""
        return float(self.deviance.mean())

    @property
    def excess(self) -> float:
        """Deviance beyond photon noise, at least a thousandth of the noise."""
        return max(self.mean - self.noise, 1e-3 * self.noise)

    def significance(self, other: Score) -> float:
        """How many standard errors the left-out frames are explained better here than in another trial."""
        gain = np.log(np.maximum(other.deviance, 1e-9) / np.maximum(self.deviance, 1e-9))
        error = float(gain.std(ddof=1)) / np.sqrt(len(gain)) if len(gain) > 1 else np.inf
        return float(gain.mean()) / max(error, 1e-12)


class ScanTrials:
    """Trial fits of one scan, all with the same frames, the same left-out frames and the same probe.

    Args:
        scan: The scan; its positions are the ones to doubt.
        seed: Which frames are left out.
        probe: Probe to use, complex ``(mode, y, x)``; by default the scan's, or one made from the mean pattern.
        refine_probe: Refine the probe within each trial.
    """

    def __init__(self, scan: Scan, *, seed: int = 0, probe: Tensor | None = None, refine_probe: bool = False) -> None:
        scan, self.shrink = _cropped(scan, probe)
        self.scan, self.seed, self.refine_probe = scan, seed, refine_probe
        rows = central_frames(scan, np.arange(scan.n_frames), FRAMES)
        lots = np.random.default_rng([seed, 7]).permutation(len(rows))
        n_out = max(2, len(rows) // LEFT_OUT)
        self.out, self.used = np.sort(rows[lots[:n_out]]), np.sort(rows[lots[n_out:]])
        self.update = ObjectUpdate(PIE_ALPHA_FACTOR * auto_alpha(scan))
        photons = float(scan.counts.sum(dtype=np.float64)) / scan.n_frames
        if scan.probe is None:
            self.probes = [scale_probe(probe, photons) for probe in _made_probes(scan)]
        else:
            self.probes = [scale_probe(torch.from_numpy(scan.probe), photons)]

    def score(self, positions_px: NDArray[np.float64], counts: NDArray[np.float32] | None = None) -> Score:
        """Fit and judge with other positions, and perhaps other frames.

        Args:
            positions_px: Position of every frame of the scan, ``(frame, 2)``, in its own object pixels.
            counts: Frames to use in place of the scan's, ``(frame, y, x)``, cropped as the scan's are.
        """
        scan = replace(
            self.scan,
            positions_px=np.ascontiguousarray(positions_px * self.shrink),
            counts=self.scan.counts if counts is None else np.ascontiguousarray(counts),
            stored_positions_px=None,
        )
        both = scan_frames(scan, np.concatenate((self.out, self.used)), dtype=torch.float32)
        out, used = both.select(slice(0, len(self.out))), both.select(slice(len(self.out), None))
        step, iterations = (1.0, REFINING) if self.refine_probe else (0.0, ITERATIONS)
        best: Score | None = None
        for probe in self.probes:
            obj, fitted = run_pie(
                used, used.vacuum(), probe, update=self.update, iterations=iterations, probe_step=step,
                momentum=MOMENTUM, seed=self.seed,
            )  # fmt: skip
            found = _judge(out, used, obj, fitted, self.seed)
            if best is None or found.mean < best.mean:
                best = found
        assert best is not None
        return best


def _judge(out: ScanFrames, used: ScanFrames, obj: Tensor, probe: Tensor, seed: int) -> Score:
    rate = expected_rate(out, obj, probe)
    counts, valid = out.amplitude.square(), out.valid
    mean = used.amplitude.square().mean(0).expand_as(counts)
    usable = torch.nan_to_num(rate, nan=1e6, posinf=1e6).clamp(1e-9, 1e9)
    drawn = torch.poisson(usable, torch.Generator().manual_seed(seed))
    return Score(_of_frames(counts, usable, valid), float(_of_frames(drawn, usable, valid).mean()),
                 float(_of_frames(counts, mean, valid).mean()))  # fmt: skip


def _of_frames(counts: Tensor, rate: Tensor, valid: Tensor | None) -> NDArray[np.float64]:
    """Mean deviance of each frame over its valid pixels."""
    deviance = poisson_deviance(counts, rate.clamp_min(1e-9))
    if valid is None:
        return np.asarray(deviance.mean((-2, -1)).double().numpy())
    return np.asarray(((deviance * valid).sum((-2, -1)) / valid.sum()).double().numpy())


def _cropped(scan: Scan, probe: Tensor | None) -> tuple[Scan, float]:
    """The scan with the middle of large frames alone, in larger object pixels, and the factor on its positions."""
    given = scan.probe if probe is None else probe.numpy()
    if scan.n_pixels <= LARGEST_FRAME_PX:
        return replace(scan, probe=given), 1.0
    size = LARGEST_FRAME_PX
    window = crop_window((scan.n_pixels, scan.n_pixels), size)
    smaller = None if given is None else crop_bandwidth(given, size).astype(np.complex64)
    shrink = size / scan.n_pixels
    scan = replace(
        scan, counts=np.ascontiguousarray(scan.counts[:, *window]), mask=np.ascontiguousarray(scan.mask[window]),
        positions_px=scan.positions_px * shrink, probe=smaller, truth=None,
        stored_positions_px=None,
    )  # fmt: skip
    return scan, shrink


def _made_probes(scan: Scan) -> list[Tensor]:
    """Probes of several defoci from the mean pattern, for a scan without one."""
    pattern = torch.from_numpy(scan.counts.mean(0, dtype=np.float64))
    candidates = defocus_candidates(pattern)
    return [
        initial_probe(pattern, defocus).to(torch.complex64) for defocus in candidates[:: max(1, len(candidates) // 4)]
    ]
