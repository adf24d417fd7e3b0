"""The raster artefact: a pattern with the period of a regular raster, which probe and object can exchange."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ptycho_cli.geometry import raster_steps_px
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.physics.propagation import centred, intensity
from ptycho_cli.physics.raster_period import raster_factor


def remove_raster_artefact(frames: ScanFrames, obj: Tensor, probe: Tensor) -> tuple[Tensor, Tensor, float] | None:
    """Give each part of a pattern that repeats with the raster to the one that it belongs to, object or probe.

    The expected photons of all frames stay the same.

    Args:
        frames: Frames of the scan, on one canvas.
        obj: The object, complex ``(y, x)``.
        probe: The probe, complex ``(mode, y, x)``.

    Returns:
        Object, probe, and the root mean square of the logarithm of the factor between before and after. None where the
        positions lie on no regular raster.
    """
    positions = (frames.corners + frames.shifts).double().cpu()
    steps = raster_steps_px(positions.numpy())
    if steps is None:
        return None
    half = frames.amplitude.shape[-1] // 2
    counts = centred(frames.amplitude).double().cpu().square()
    pattern = (counts.sum(0) + 1) / len(counts)
    weight = _window(frames.shape, positions + half)
    factors = raster_factor(
        obj.cpu().to(torch.complex128), probe.cpu().to(torch.complex128), weight, pattern,
        torch.from_numpy(np.ascontiguousarray(steps)), positions[0],
    )  # fmt: skip
    if factors is None:
        return None
    on_probe, on_object = (factor.to(probe) for factor in factors)
    photons = float(intensity(probe).sum())
    changed = probe * on_probe
    scaled = scale_probe(changed, photons)
    size = float(on_object.log().abs().square().mean().sqrt())
    return obj / on_object * (changed.abs().amax() / scaled.abs().amax()), scaled, size


def _window(shape: tuple[int, int], positions: Tensor) -> Tensor:
    """A window that is 1 in the middle of probe positions and falls to 0 at the outermost, ``(y, x)``.

    Args:
        shape: Shape (y, x) of the canvas.
        positions: Positions (y, x) on it, in pixels, ``(frame, 2)``.
    """
    least, most = positions.amin(0), positions.amax(0)
    sides = []
    for axis in (0, 1):
        share = (torch.arange(shape[axis]).to(positions) - least[axis]) / (most[axis] - least[axis])
        sides.append(torch.sin(torch.pi * share.clamp(0, 1)).square())
    return sides[0][:, None] * sides[1]
