"""Agreement of a reconstruction with the counts of a scan: over all pixels, by frame and by detector pixel."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ptycho_cli.data.example_frames import ExampleFrames, block_means
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import DataError
from ptycho_cli.geometry import split_positions
from ptycho_cli.physics.forward import rates
from ptycho_cli.physics.frame_parts import waves_at_once
from ptycho_cli.physics.likelihood import expected_deviance, poisson_deviance
from ptycho_cli.physics.propagation import background_on_detector


@dataclass(frozen=True)
class Misfit:
    """Agreement with the counts, over the valid pixels of all frames.

    Attributes:
        r_factor: ``sum |sqrt(counts) - sqrt(rate)| / sum sqrt(counts)``.
        deviance: Mean Poisson deviance in nats per pixel; about 0.5 where only noise is left at high counts.
    """

    r_factor: float
    deviance: float


@dataclass(frozen=True)
class HeldOutScore:
    """Agreement of a reconstruction with frames that it was made without, in nats per valid pixel.

    Attributes:
        deviance: Mean deviance of these frames.
        noise: What photon noise alone would leave at the rates that the reconstruction expects.
        mean_pattern: Mean deviance under the trivial model, in which every frame is the mean of the others.
    """

    deviance: float
    noise: float
    mean_pattern: float

    @property
    def ratio(self) -> float:
        """Deviance in units of photon noise."""
        return self.deviance / max(self.noise, 1e-12)

    @property
    def explainable(self) -> float:
        """Deviance that the mean pattern leaves beyond photon noise, at least 0."""
        return max(self.mean_pattern - self.noise, 0.0)

    @property
    def unexplained_share(self) -> float:
        """Share of what the mean pattern leaves beyond photon noise that is left here as well; at least 0.

        1 where the frames do not differ by more than photon noise, so that there is nothing to explain.
        """
        return max(self.deviance - self.noise, 0.0) / self.explainable if self.explainable > 0 else 1.0


@dataclass(frozen=True, eq=False)
class Residuals:
    """Deviance of frames and of detector pixels, beside that of photon noise at the rates found, in nats per pixel.

    Attributes:
        frames: Mean deviance of each frame over its valid pixels, ``(frame,)``.
        frames_noise: What photon noise alone would leave of it, ``(frame,)``.
        pixels: Mean deviance of each detector pixel over all frames, ``(y, x)``; 0 where masked.
        pixels_noise: What photon noise alone would leave of it, ``(y, x)``.
    """

    frames: NDArray[np.float64]
    frames_noise: NDArray[np.float64]
    pixels: NDArray[np.float64]
    pixels_noise: NDArray[np.float64]


def misfit(result: Reconstruction, scan: Scan) -> Misfit:
    """Compare the forward model of a reconstruction, at its positions, with a scan.

    Raises:
        DataError: If the two do not belong together.
    """
    mask = torch.from_numpy(scan.mask)
    difference = total = deviance = 0.0
    for _, counts, rate in _modelled(result, scan):
        counts, rate = counts[:, mask], rate[:, mask]
        difference += float((counts.sqrt() - rate.sqrt()).abs().sum(dtype=torch.float64))
        total += float(counts.sqrt().sum(dtype=torch.float64))
        deviance += float(poisson_deviance(counts, rate).sum(dtype=torch.float64))
    return Misfit(difference / total, deviance / (scan.n_frames * int(mask.sum())))


def residuals(result: Reconstruction, scan: Scan) -> Residuals:
    """Deviance of every frame and detector pixel, and what photon noise would leave of it.

    Args:
        result: The reconstruction.
        scan: The scan it was made from.

    Raises:
        DataError: If the two do not belong together.
    """
    mask = torch.from_numpy(scan.mask)
    frames, pixels = np.zeros((2, scan.n_frames)), np.zeros((2, *scan.mask.shape))
    for part, counts, rate in _modelled(result, scan):
        for row, found in enumerate((poisson_deviance(counts, rate), expected_deviance(rate))):
            deviance = found.double() * mask
            frames[row, part] = (deviance.sum((-2, -1)) / mask.sum()).numpy()
            pixels[row] += deviance.sum(0).numpy() / scan.n_frames
    return Residuals(*frames, *pixels)


def example_frames(result: Reconstruction, scan: Scan, worst: Sequence[int] = ()) -> ExampleFrames:
    """Two frames that are explained worst and a typical one, each beside the frame that is expected.

    Args:
        result: The reconstruction, with the residual of each frame.
        scan: The scan it was made from.
        worst: Numbers in the file of frames that are known to be the worst; others are chosen by their residual.

    Raises:
        DataError: If the two do not belong together.
    """
    assert result.frame_residual is not None
    order = np.argsort(-result.frame_residual, kind="stable")
    known = [row for number in worst for row in np.flatnonzero(scan.frame_numbers == number)]
    rows = np.array(list(dict.fromkeys([*known, *order]))[:2])
    typical = order[len(order) // 2]
    roles = ("worst",) * len(rows) + ("typical",) * (typical not in rows)
    rows = np.append(rows, typical)[: len(roles)]
    factors = None if result.intensities is None else result.intensities[rows]
    part = replace(result, positions_px=result.positions_px[rows], intensities=factors)
    pairs = [(counts.numpy(), rate.numpy()) for _, counts, rate in _modelled(part, scan.select(rows))]
    measured, modelled = (block_means(np.concatenate(frames), scan.mask) for frames in zip(*pairs, strict=True))
    residuals = result.frame_residual[rows].astype(np.float64)
    return ExampleFrames(scan.frame_numbers[rows], roles, residuals, measured, modelled)


def _modelled(result: Reconstruction, scan: Scan) -> Iterator[tuple[slice, Tensor, Tensor]]:
    """Parts of the scan: which frames, their counts, and their expected photons, both ``(frame, y, x)``."""
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
    probe = torch.from_numpy(result.probe)
    background = background_on_detector(result.background, probe.real)
    at_once = waves_at_once(probe)
    for start in range(0, scan.n_frames, at_once):
        part = slice(start, start + at_once)
        places = torch.from_numpy(corners[part] - origin), torch.from_numpy(shifts[part].astype(np.float32))
        factors = None if result.intensities is None else torch.from_numpy(result.intensities[part].astype(np.float32))
        yield part, torch.from_numpy(scan.counts[part]), rates(obj, probe, *places, factors, background)
