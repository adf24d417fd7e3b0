"""Agreement of a reconstruction with the counts of a scan."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

from ptycho_cli.data.scan import Scan
from ptycho_cli.data.write import Reconstruction
from ptycho_cli.errors import DataError
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.forward import rates
from ptycho_cli.physics.likelihood import poisson_deviance

_CHUNK = 64  # frames at once


@dataclass(frozen=True)
class Misfit:
    """Agreement with the counts, over the valid pixels of all frames.

    Attributes:
        r_factor: ``sum |sqrt(counts) - sqrt(rate)| / sum sqrt(counts)``.
        deviance: Mean Poisson deviance in nats per pixel; about 0.5 where only noise is left at high counts.
    """

    r_factor: float
    deviance: float


def misfit(result: Reconstruction, scan: Scan) -> Misfit:
    """Compare the forward model of a reconstruction, at its positions, with a scan.

    Raises:
        DataError: If the two do not belong together.
    """
    if len(result.positions_px) != scan.n_frames:
        raise DataError(
            f"{scan.source}: {scan.n_frames} frames, but the reconstruction has {len(result.positions_px)} positions.",
            hint="Give the scan that was reconstructed, with the same data.max_frames.",
        )
    if result.probe.shape[-1] != scan.n_pixels:
        raise DataError(
            f"{scan.source}: frames of {scan.n_pixels} pixels, but the reconstruction's probe is {result.probe.shape}.",
            hint="Give the scan that was reconstructed.",
        )
    origin = np.rint(result.object_origin_px).astype(np.int64)
    corners, shifts = split_positions(result.positions_px, scan.n_pixels)
    if (corners - origin).min() < 0 or np.any(corners - origin + scan.n_pixels > result.object.shape):
        raise DataError(f"{scan.source}: frames lie outside the reconstructed object.", hint="Give its own scan.")
    obj = torch.from_numpy(np.where(np.isfinite(result.object), result.object, 1).astype(np.complex64))
    probe, mask = torch.from_numpy(result.probe), torch.from_numpy(scan.mask)
    difference = total = deviance = 0.0
    for start in range(0, scan.n_frames, _CHUNK):
        part = slice(start, start + _CHUNK)
        places = torch.from_numpy(corners[part] - origin), torch.from_numpy(shifts[part].astype(np.float32))
        factors = None if result.intensities is None else torch.from_numpy(result.intensities[part].astype(np.float32))
        counts = torch.from_numpy(scan.counts[part])[:, mask]
        rate = rates(obj, probe, *places, factors, result.background)[:, mask]
        difference += float((counts.sqrt() - rate.sqrt()).abs().sum(dtype=torch.float64))
        total += float(counts.sqrt().sum(dtype=torch.float64))
        deviance += float(poisson_deviance(counts, rate).sum(dtype=torch.float64))
    return Misfit(difference / total, deviance / (scan.n_frames * int(mask.sum())))
