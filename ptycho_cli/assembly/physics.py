"""Probes and regularisation from scans: what ``auto`` stands for, decided by the data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import canvas_shape, split_positions
from ptycho_cli.physics.engine import Exposure, expected, iterate
from ptycho_cli.physics.fields import corner_first
from ptycho_cli.physics.likelihood import poisson_deviance
from ptycho_cli.physics.probe import first_probe, scale_probe

# The engine uses few frames at once, so single frames' noise weighs more than in a stage of the network.
ENGINE_ALPHA = 4.0
WARMUP_ROUND = 10  # iterations between two looks at the held-out frames
WARMUP_ROUNDS = 4
WARMUP_FRAMES = 512  # frames around the middle of a scan; a probe needs no more
MARGIN_PX = 2


def typical_rate(scan: Scan) -> float:
    """Photons that a bright pixel expects: the mean rate weighted by itself, ``sum n(n - 1) / sum n``.

    Unlike a plain mean it does not depend on how much dark detector surrounds the pattern.
    """
    counts = scan.counts
    total = float(counts.sum(dtype=np.float64))
    return max(float(np.square(counts, dtype=np.float64).sum()) / total - 1.0, 0.0)


def auto_alpha(scan: Scan) -> float:
    """Regularisation of the network's physics steps for a scan's photons.

    ``50 / typical rate``, within 0.05 and 4: near the best of each of three scans, at 540, 220 and 5 photons.
    """
    return float(np.clip(50.0 / max(typical_rate(scan), 1e-3), 0.05, 4.0))


def auto_split(scan: Scan) -> float:
    """Share of frames kept from the network: none where photons are many, a quarter below 20 in a bright pixel."""
    return 0.25 if typical_rate(scan) < 20.0 else 0.0


def exposure_of(
    scan: Scan, frames: NDArray[np.int64] | None = None, *, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> Exposure:
    """Frames of a scan, by default all, on one canvas of their own."""
    frames = np.arange(scan.n_frames) if frames is None else frames
    corners, shifts = split_positions(scan.positions_px[frames], scan.n_pixels)
    trusted = None if scan.mask.all() else corner_first(torch.from_numpy(scan.mask).to(device, dtype))
    return Exposure(
        amplitude=corner_first(torch.from_numpy(scan.counts[frames]).to(device, dtype).sqrt()),
        corners=torch.from_numpy(corners - corners.min(axis=0) + MARGIN_PX).to(device),
        shifts=torch.from_numpy(shifts).to(device, dtype),
        shape=canvas_shape(corners, scan.n_pixels, margin_px=2 * MARGIN_PX),
        trusted=trusted,
    )


def canvas_origin(scan: Scan) -> tuple[float, float]:
    """Scan coordinate (y, x) of the centre of pixel (0, 0) of ``exposure_of``'s canvas of all frames."""
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)
    y, x = (corners.min(axis=0) - MARGIN_PX).tolist()
    half = scan.n_pixels / 2 - scan.n_pixels // 2  # a frame's centre is its pixel n // 2
    return float(y) + half, float(x) + half


def frame_photons(scan: Scan) -> float:
    """Mean photons of a frame."""
    return float(scan.counts.sum(dtype=np.float64)) / scan.n_frames


@dataclass(frozen=True, eq=False, slots=True)
class WarmProbe:
    """A probe to start from. ``iterations`` refined it; ``note`` tells why, for people."""

    probe: Tensor
    iterations: int
    note: str


def warm_probe(
    scan: Scan,
    held_out: NDArray[np.int64],
    iterations: int | str,
    *,
    alpha: float,
    seed: int,
    dtype: torch.dtype,
    progress: Callable[[int, int], None] | None = None,
) -> WarmProbe:
    """First probe of a scan, refined by physics alone where that explains frames it has not seen.

    Args:
        scan: The scan; a missing probe is made from its mean pattern.
        held_out: Frames that training must not see; they are not looked at here either.
        iterations: Iterations of refinement, or ``auto``: rounds of ten as long as the deviance of frames
            left out here falls, and none where the probe as given explains them better.
        alpha: Regularisation of the network; the engine's follows from it.
        seed: Seed of the frames left out and of the subsets.
        dtype: Type of real numbers.
        progress: Called with (iterations done, iterations at most).

    Returns:
        The probe, scaled to the photons of the scan, complex ``(mode, y, x)``.
    """
    complex_type = torch.complex128 if dtype == torch.float64 else torch.complex64
    given = scan.probe is not None
    probe = (
        torch.from_numpy(scan.probe) if scan.probe is not None else first_probe(torch.from_numpy(scan.counts.mean(0)))
    )
    probe = scale_probe(probe.to(complex_type), frame_photons(scan))
    if iterations == 0:
        return WarmProbe(
            probe, 0, "The probe starts as the file has it." if given else "The probe starts from the mean pattern."
        )
    frames = _around_the_middle(scan, np.setdiff1d(np.arange(scan.n_frames), held_out))
    exposure = exposure_of(scan, frames, dtype=dtype)
    lots = torch.from_numpy(np.random.default_rng([seed, 3]).permutation(len(frames)))
    n_test = max(1, len(frames) // 20)
    test, rest = exposure.select(lots[:n_test]), exposure.select(lots[n_test:])
    vacuum = torch.ones(exposure.shape, dtype=complex_type)
    limit = WARMUP_ROUND * (WARMUP_ROUNDS + given) if iterations == "auto" else int(iterations)

    def run(obj: Tensor, probe: Tensor, count: int, step: float, done: int) -> tuple[Tensor, Tensor, float]:
        obj, probe = iterate(
            rest, obj, probe, iterations=count, alpha=ENGINE_ALPHA * alpha, probe_step=step, seed=seed + done,
            report=None if progress is None else lambda i: progress(done + i, limit),
        )  # fmt: skip
        rate = expected(test, obj, probe)
        deviance = poisson_deviance(test.amplitude.square(), rate)
        trusted = torch.ones_like(deviance[0]) if test.trusted is None else test.trusted
        return obj, probe, float((deviance * trusted).sum() / (trusted.sum() * n_test))

    if iterations != "auto":
        _, probe, reached = run(vacuum, probe, int(iterations), 1.0, 0)
        return WarmProbe(probe, limit, f"The probe was refined in {limit} iterations; held-out deviance {reached:.3g}.")
    before = run(vacuum, probe, WARMUP_ROUND, 0.0, 0)[2] if given else float("inf")
    obj, best, done, reached = vacuum, probe, 0, before
    for _ in range(WARMUP_ROUNDS):
        obj, refined, deviance = run(obj, best, WARMUP_ROUND, 1.0, done + WARMUP_ROUND * given)
        if not deviance < reached:
            break
        gained, reached, best, done = deviance < 0.95 * reached, deviance, refined, done + WARMUP_ROUND
        if not gained:
            break
    if done == 0:
        return WarmProbe(probe, 0, f"The file's probe explains held-out frames as it is (deviance {before:.3g}).")
    was = f"{before:.3g} with the file's" if given else "no probe in the file"
    return WarmProbe(
        best, done, f"The probe was refined in {done} iterations; held-out deviance {reached:.3g} ({was})."
    )


def _around_the_middle(scan: Scan, frames: NDArray[np.int64]) -> NDArray[np.int64]:
    positions = scan.positions_px[frames]
    distance = np.abs(positions - np.median(positions, axis=0)).max(axis=1)
    return frames[np.sort(np.argsort(distance, kind="stable")[:WARMUP_FRAMES])]
