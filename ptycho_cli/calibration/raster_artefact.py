"""The part of a regular raster in a refined probe and its object."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ptycho_cli.geometry import raster_steps_px
from ptycho_cli.physics.pie import ScanFrames
from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.physics.propagation import centred, intensity
from ptycho_cli.physics.raster_period import raster_factor


def without_raster(exposure: ScanFrames, obj: Tensor, probe: Tensor) -> tuple[Tensor, Tensor, float] | None:
    """Object and probe with what repeats with the raster where it belongs, and the rms of the factor's logarithm.

    No frame expects other photons than before. None where the positions are on no regular raster.
    """
    positions = (exposure.corners + exposure.shifts).double().cpu()
    steps = raster_steps_px(positions.numpy())
    if steps is None:
        return None
    half = exposure.amplitude.shape[-1] // 2
    counts = centred(exposure.amplitude).double().cpu().square()
    pattern = (counts.sum(0) + 1) / len(counts)
    weight = _window(exposure.shape, positions + half)
    factors = raster_factor(
        obj.cpu().to(torch.complex128), probe.cpu().to(torch.complex128), weight, pattern,
        torch.from_numpy(np.ascontiguousarray(steps)), positions[0],
    )  # fmt: skip
    if factors is None:
        return None
    on_probe, on_object = (factor.to(probe) for factor in factors)
    photons = float(intensity(probe).sum())
    given = probe * on_probe
    held = scale_probe(given, photons)
    size = float(on_object.log().abs().square().mean().sqrt())
    return obj / on_object * (given.abs().amax() / held.abs().amax()), held, size


def _window(shape: tuple[int, int], places: Tensor) -> Tensor:
    """One in the middle of the places where the probe was, falling to nothing at the outermost, ``(y, x)``."""
    least, most = places.amin(0), places.amax(0)
    sides = []
    for axis in (0, 1):
        share = (torch.arange(shape[axis]).to(places) - least[axis]) / (most[axis] - least[axis])
        sides.append(torch.sin(torch.pi * share.clamp(0, 1)).square())
    return sides[0][:, None] * sides[1]
