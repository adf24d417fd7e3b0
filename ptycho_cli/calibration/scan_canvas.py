"""Scans as arrays for the physics: frames on one canvas, its place, and the photons of a frame."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho_cli.data.background import total_background
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.frame_statistics import photons_of
from ptycho_cli.data.scan import Scan
from ptycho_cli.geometry import canvas_shape, split_positions
from ptycho_cli.physics.frame_tensors import DeferredAmplitude, ScanFrames, frames_at_once
from ptycho_cli.physics.propagation import background_on_detector, corner_first

# Regularisation of the PIE in units of the network's: it uses few frames at once, so that the noise of a single frame
# weighs more than in a stage of the network.
PIE_ALPHA_FACTOR = 4.0
MARGIN_PX = 2


def scan_frames(
    scan: Scan, frames: NDArray[np.int64] | None = None, *, dtype: torch.dtype, device: torch.device | str = "cpu"
) -> ScanFrames:
    """Put frames of a scan on the smallest canvas that holds them, with a margin of 2 px.

    Args:
        scan: The scan.
        frames: Numbers of the frames, int64 ``(frame,)``, which are read; None for all. On a CPU many of these are
            made when they are needed: that takes little longer than to copy them, and no memory.
        dtype: Type of real numbers.
        device: Where the tensors are made.
    """
    everything, device = frames is None, torch.device(device)
    frames = np.arange(scan.n_frames) if frames is None else frames
    corners, shifts = split_positions(scan.positions_px[frames], scan.n_pixels)
    intensities = None if scan.intensities is None else torch.from_numpy(scan.intensities[frames]).to(device, dtype)
    valid = None if scan.mask.all() else corner_first(torch.from_numpy(scan.mask).to(device, dtype))

    def read(rows: torch.Tensor) -> torch.Tensor:
        return corner_first(torch.from_numpy(scan.counts[rows.numpy()]).to(device).to(dtype).sqrt())

    amplitude: torch.Tensor | DeferredAmplitude
    if everything and (isinstance(scan.counts, FrameStack) or device.type == "cpu"):
        like = torch.zeros(0, scan.n_pixels, scan.n_pixels, dtype=dtype, device=device)
        amplitude = DeferredAmplitude(read, torch.from_numpy(frames), like)[:]
    else:
        amplitude = torch.empty((len(frames), scan.n_pixels, scan.n_pixels), dtype=dtype, device=device)
        at_once = frames_at_once(scan.n_pixels)
        for first in range(0, len(frames), at_once):  # a part at a time, since it takes three times its memory
            amplitude[first : first + at_once] = read(torch.from_numpy(frames[first : first + at_once]))
    return ScanFrames(
        amplitude=amplitude,
        corners=torch.from_numpy(corners - corners.min(axis=0) + MARGIN_PX).to(device),
        shifts=torch.from_numpy(shifts).to(device, dtype),
        shape=canvas_shape(corners, scan.n_pixels, margin_px=2 * MARGIN_PX),
        valid=valid,
        intensities=intensities,
        background=background_on_detector(scan.background, torch.zeros(0, dtype=dtype, device=device)),
    )


def canvas_origin(scan: Scan) -> tuple[float, float]:
    """Scan coordinate (y, x) of the centre of pixel (0, 0) of ``scan_frames``'s canvas of all frames, in pixels."""
    corners, _ = split_positions(scan.positions_px, scan.n_pixels)
    y, x = (corners.min(axis=0) - MARGIN_PX).tolist()
    half = scan.n_pixels / 2 - scan.n_pixels // 2  # a frame's centre is its pixel n // 2
    return float(y) + half, float(x) + half


def frame_photons(scan: Scan) -> float:
    """Mean photons of a frame at intensity 1, without the background."""
    total = float(photons_of(scan.counts).sum())
    background = scan.n_frames * total_background(scan.background, scan.mask)
    frames = scan.n_frames if scan.intensities is None else float(scan.intensities.sum())
    return max(total - background, 1e-3 * total) / frames


def central_frames(scan: Scan, frames: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    """At most ``most`` of ``frames``, those nearest to the middle of the scan, in the order given, ``(frame,)``."""
    positions = scan.positions_px[frames]
    distance = np.abs(positions - np.median(positions, axis=0)).max(axis=1)
    return frames[np.sort(np.argsort(distance, kind="stable")[:most])]
