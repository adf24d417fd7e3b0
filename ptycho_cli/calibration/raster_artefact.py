"""The raster artefact: a pattern with the period of a regular raster, which probe and object can exchange."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from ptycho_cli.geometry import raster_steps_px
from ptycho_cli.physics.frame_tensors import ScanFrames
from ptycho_cli.physics.probe import scale_probe
from ptycho_cli.physics.propagation import centred, intensity, propagate

MAX_FREQUENCY = 0.25  # in cycles per pixel; a finer pattern aliases in the pixels of the probe
MAX_HARMONICS = 12  # pairs of opposite ones: up to the second order of a square raster
_HALF_STEPS = [(y / 2, x / 2) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


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
    totals = [centred(part.measured()).double().cpu().square().sum(0) for part in frames.parts()]
    pattern = (torch.stack(totals).sum(0) + 1) / len(frames)
    weight = _window(frames.shape, positions + half)
    factors = _raster_factors(
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


def _raster_factors(
    obj: Tensor, probe: Tensor, weight: Tensor, pattern: Tensor, steps_px: Tensor, origin: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Return the periodic factors to multiply a probe by and to divide its object by.

    A frame depends on the product of probe and object, so on a regular raster the two can exchange a factor
    ``exp(sum_k c_k exp(2 pi i k x))``, with ``k`` on the reciprocal lattice, and no frame changes. The ``c_k`` are the
    least-squares solution of two assumptions: at ``k`` the spectrum of an object is no stronger than
    halfway to the next harmonics, and the far field of the probe is the mean pattern of the frames. The spectrum of
    the object is that of the logarithm of its modulus, and of the phase differences between neighbouring pixels, which
    do not wrap.

    Args:
        obj: Object, complex ``(y, x)``.
        probe: Probe, complex ``(mode, y, x)``, in square roots of photons.
        weight: Weight of each pixel of the object, ``(y, x)``; it falls smoothly to 0 at the borders.
        pattern: Mean counts of the frames, above 0, ``(y, x)``, zero frequency at ``n // 2``.
        steps_px: Two steps (y, x) of the raster, ``(2, 2)``.
        origin: Pixel (y, x) of the object under the first pixel of the probe, in any frame, ``(2,)``.

    Returns:
        The factor on the pixels of the probe and on those of the object, complex ``(y, x)`` each; None if the raster
        is so fine that it has no harmonic up to ``MAX_FREQUENCY``.
    """
    reciprocal = torch.linalg.inv(steps_px).T
    harmonics = _half_plane(reciprocal)
    if not len(harmonics):
        return None
    between = harmonics[:, None] + harmonics.new_tensor(_HALF_STEPS) @ reciprocal
    here, around = _spectrum(obj, weight, harmonics), _spectrum(obj, weight, between.reshape(-1, 2))
    chance = around.reshape(2, len(harmonics), -1).abs().square().median(-1).values / math.log(2)
    certainty = (2 / chance.clamp_min(1e-12)).sqrt()[:, None].expand(2, 2, -1).flatten()
    basis = _basis(harmonics, (probe.shape[-2], probe.shape[-1]), origin)
    far, now = (propagate(waves * probe) / pattern.sqrt() for waves in (basis[:, None], torch.ones_like(probe)))
    rows = torch.cat([torch.view_as_real(far.flatten(1)).flatten(1).T, torch.diag(certainty)])
    measured = torch.stack([here.real, here.imag], 1).flatten()
    target = torch.cat([-torch.view_as_real(now.flatten()).flatten(), certainty * measured])
    parts = torch.linalg.lstsq(rows, target[:, None]).solution.reshape(2, 2, -1)
    amplitudes = torch.complex(parts[:, 0], parts[:, 1])
    return (
        _factor(amplitudes, harmonics, (probe.shape[-2], probe.shape[-1]), origin),
        _factor(amplitudes, harmonics, (obj.shape[0], obj.shape[1]), origin.new_zeros(2)),
    )


def _factor(amplitudes: Tensor, harmonics: Tensor, shape: tuple[int, int], origin: Tensor) -> Tensor:
    """Return the factor, complex ``(y, x)``, of the amplitudes of its log modulus and phase, ``(2, k)``."""
    waves_y, waves_x = (waves.conj() for waves in _waves(harmonics, shape, origin))
    modulus, phase = (2 * (amplitude[:, None] * waves_y).T @ waves_x for amplitude in amplitudes)
    return torch.polar(modulus.real.exp(), phase.real)


def _half_plane(reciprocal: Tensor) -> Tensor:
    """Return harmonics ``(k, 2)`` in cycles per pixel, one of each pair of opposite ones, without 0."""
    most = int(MAX_FREQUENCY / float(torch.linalg.svdvals(reciprocal).min())) + 1
    steps = torch.cartesian_prod(*[torch.arange(-most, most + 1, device=reciprocal.device)] * 2)
    steps = steps[(steps[:, 0] > 0) | ((steps[:, 0] == 0) & (steps[:, 1] > 0))]
    harmonics = steps.to(reciprocal.dtype) @ reciprocal
    size = harmonics.norm(dim=1)
    order = size.argsort(stable=True)[:MAX_HARMONICS]
    return harmonics[order[size[order] <= MAX_FREQUENCY * 1.001]]


def _basis(harmonics: Tensor, shape: tuple[int, int], origin: Tensor) -> Tensor:
    """Return the logarithm of the factor for each unknown, complex ``(n, y, x)``.

    The unknowns are the real and the imaginary parts of the amplitudes of the log modulus, then those of the phase.
    """
    waves_y, waves_x = _waves(harmonics, shape, origin)
    wave = 2 * torch.einsum("ky,kx->kyx", waves_y, waves_x)  # sum with its opposite
    real = torch.cat([wave.real, wave.imag])
    return torch.cat([torch.complex(real, torch.zeros_like(real)), torch.complex(torch.zeros_like(real), real)])


def _waves(frequencies: Tensor, shape: tuple[int, int], origin: Tensor) -> list[Tensor]:
    """Return ``exp(-2 pi i k x)`` along each axis, ``(k, pixel)``, for a first pixel at ``origin``."""
    turns = [frequencies[:, axis, None] * (torch.arange(shape[axis]).to(origin) + origin[axis]) for axis in (0, 1)]
    return [torch.polar(torch.ones_like(turn), -2 * math.pi * turn) for turn in turns]


def _spectrum(obj: Tensor, weight: Tensor, frequencies: Tensor) -> Tensor:
    """Return the amplitudes of the logarithm of the modulus and of the phase of an object, complex ``(2, k)``."""
    modulus = _mean_wave(obj.abs().clamp_min(1e-6).log(), weight * obj.abs().square(), frequencies)
    total, size = torch.zeros_like(modulus), torch.zeros_like(frequencies[:, 0])
    for axis in (0, 1):
        pixels = obj.shape[axis] - 1
        product = obj.narrow(axis, 1, pixels) * obj.narrow(axis, 0, pixels).conj()
        found = _mean_wave(product.angle(), weight.narrow(axis, 0, pixels) * product.abs(), frequencies)
        step = torch.polar(torch.ones_like(size), 2 * math.pi * frequencies[:, axis]) - 1
        total, size = total + step.conj() * found, size + step.abs().square()
    return torch.stack([modulus, total / size.clamp_min(1e-12)])


def _mean_wave(values: Tensor, weight: Tensor, frequencies: Tensor) -> Tensor:
    share = weight / weight.sum()
    centred = share * (values - (share * values).sum())
    waves_y, waves_x = _waves(frequencies, (values.shape[0], values.shape[1]), frequencies.new_zeros(2))
    return torch.einsum("yx,ky,kx->k", centred.to(waves_y.dtype), waves_y, waves_x)
