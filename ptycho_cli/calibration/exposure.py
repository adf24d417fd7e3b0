"""Scans as the physics wants them, and what ``auto`` stands for, decided by the data."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho_cli.data.dose import counts_photons, typical_rate
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import canvas_shape, split_positions
from ptycho_cli.physics.pie import ScanFrames
from ptycho_cli.physics.propagation import corner_first

# The engine uses few frames at once, so single frames' noise weighs more than in a stage of the network.
ENGINE_ALPHA = 4.0
MARGIN_PX = 2


def auto_alpha(scan: Scan) -> float:
    """Regularisation of the network's physics steps for a scan's photons.

    ``50 / typical rate``, within 0.05 and 4: near the best of each of three scans, at 540, 220 and 5 photons.
    """
    return float(np.clip(50.0 / max(typical_rate(scan), 1e-3), 0.05, 4.0))


def auto_withheld(scan: Scan, *, at_any_dose: bool) -> float:
    """Share of the photons kept from the network: a quarter, or none.

    None where counts are not whole numbers, for only those can be thinned into independent parts; and none above 20
    photons in a bright pixel, unless at any dose: a network that starts from converged physics has nothing
    but noise left to learn from photons that it has seen.
    """
    return 0.25 if counts_photons(scan) and (at_any_dose or typical_rate(scan) < 20.0) else 0.0


def exposure_of(
    scan: Scan, frames: NDArray[np.int64] | None = None, *, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> ScanFrames:
    """Frames of a scan, by default all, on one canvas of their own."""
    frames = np.arange(scan.n_frames) if frames is None else frames
    corners, shifts = split_positions(scan.positions_px[frames], scan.n_pixels)
    lit = None if scan.intensities is None else torch.from_numpy(scan.intensities[frames]).to(device, dtype)
    valid = None if scan.mask.all() else corner_first(torch.from_numpy(scan.mask).to(device, dtype))
    return ScanFrames(
        amplitude=corner_first(torch.from_numpy(scan.counts[frames]).to(device, dtype).sqrt()),
        corners=torch.from_numpy(corners - corners.min(axis=0) + MARGIN_PX).to(device),
        shifts=torch.from_numpy(shifts).to(device, dtype),
        shape=canvas_shape(corners, scan.n_pixels, margin_px=2 * MARGIN_PX),
        valid=valid,
        intensities=lit,
        background=scan.background,
    )


def canvas_origin(scan: Scan) -> tuple[float, float]:
    """Scan coordinate (y, x) of the centre of pixel (0, 0) of ``exposure_of``'s canvas of all frames."""
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)
    y, x = (corners.min(axis=0) - MARGIN_PX).tolist()
    half = scan.n_pixels / 2 - scan.n_pixels // 2  # a frame's centre is its pixel n // 2
    return float(y) + half, float(x) + half


def frame_photons(scan: Scan) -> float:
    """Mean photons of a frame at intensity 1, without the background."""
    total = float(scan.counts.sum(dtype=np.float64))
    behind = scan.background * scan.n_frames * int(scan.mask.sum())
    frames = scan.n_frames if scan.intensities is None else float(scan.intensities.sum())
    return max(total - behind, 1e-3 * total) / frames


def around_the_middle(scan: Scan, frames: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most so many of ``frames``, those nearest to the middle of the scan, in their order."""
    positions = scan.positions_px[frames]
    distance = np.abs(positions - np.median(positions, axis=0)).max(axis=1)
    return frames[np.sort(np.argsort(distance, kind="stable")[:most])]
