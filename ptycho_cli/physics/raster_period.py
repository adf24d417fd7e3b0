"""What repeats with a regular raster: probe and object can hand it to each other, and this finds the probe's part."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptycho_cli.physics.propagation import propagate

MOST_FREQUENCY = 0.25  # cycles a pixel; finer patterns take a probe beyond what its pixels hold
MOST_HARMONICS = 12  # pairs: up to the second order of a square raster
_HALVES = [(y / 2, x / 2) for y in (-1, 0, 1) for x in (-1, 0, 1) if (y, x) != (0, 0)]


def raster_factor(
    obj: Tensor, probe: Tensor, weight: Tensor, pattern: Tensor, steps_px: Tensor, origin: Tensor
) -> tuple[Tensor, Tensor] | None:
    """Factor of the raster's period to multiply a probe by, and to divide its object by.

    A frame sees the product of probe and object, so on a regular raster the two can exchange ``exp(sum c_k
    exp(2 pi i k x))``, ``k`` on the reciprocal lattice, and no frame changes. It is chosen by what is known beside the
    frames, in least squares: an object has no more at ``k`` than halfway to the next harmonics, and a probe lights the
    detector as frames do in the mean. The object is measured in the logarithm of its modulus and in the phase's
    differences between neighbouring pixels, which do not wrap.

    Args:
        obj: Object, complex ``(y, x)``.
        probe: Probe, complex ``(mode, y, x)``, in square roots of photons.
        weight: What each pixel of the object counts, ``(y, x)``; 0 at the borders, and falling smoothly towards them.
        pattern: Mean counts of the frames, above 0, ``(y, x)``, zero frequency at ``n // 2``.
        steps_px: Two steps (y, x) of the raster, ``(2, 2)``.
        origin: Pixel (y, x) of the object that the probe's first one lies on, in any frame, ``(2,)``.

    Returns:
        The factor on the pixels of the probe and on those of the object; None where the raster is too fine for one.
    """
    reciprocal = torch.linalg.inv(steps_px).T
    harmonics = _half_plane(reciprocal)
    if not len(harmonics):
        return None
    between = harmonics[:, None] + harmonics.new_tensor(_HALVES) @ reciprocal
    here, around = _spectrum(obj, weight, harmonics), _spectrum(obj, weight, between.reshape(-1, 2))
    chance = around.reshape(2, len(harmonics), -1).abs().square().median(-1).values / math.log(2)
    sure = (2 / chance.clamp_min(1e-12)).sqrt()[:, None].expand(2, 2, -1).flatten()
    basis = _basis(harmonics, (probe.shape[-2], probe.shape[-1]), origin)
    far, now = (propagate(waves * probe) / pattern.sqrt() for waves in (basis[:, None], torch.ones_like(probe)))
    rows = torch.cat([torch.view_as_real(far.flatten(1)).flatten(1).T, torch.diag(sure)])
    said = torch.stack([here.real, here.imag], 1).flatten()
    wanted = torch.cat([-torch.view_as_real(now.flatten()).flatten(), sure * said])
    parts = torch.linalg.lstsq(rows, wanted[:, None]).solution.reshape(2, 2, -1)
    amplitudes = torch.complex(parts[:, 0], parts[:, 1])
    return (
        _factor(amplitudes, harmonics, (probe.shape[-2], probe.shape[-1]), origin),
        _factor(amplitudes, harmonics, (obj.shape[0], obj.shape[1]), origin.new_zeros(2)),
    )


def _factor(amplitudes: Tensor, harmonics: Tensor, shape: tuple[int, int], origin: Tensor) -> Tensor:
    """The factor with amplitudes of log modulus and phase, ``(2, k)``, complex ``(y, x)``."""
    waves_y, waves_x = (waves.conj() for waves in _waves(harmonics, shape, origin))
    modulus, phase = (2 * (amplitude[:, None] * waves_y).T @ waves_x for amplitude in amplitudes)
    return torch.polar(modulus.real.exp(), phase.real)


def _half_plane(reciprocal: Tensor) -> Tensor:
    """Harmonics ``(k, 2)`` in cycles a pixel, one of each pair of opposite ones, without 0."""
    most = int(MOST_FREQUENCY / float(torch.linalg.svdvals(reciprocal).min())) + 1
    steps = torch.cartesian_prod(*[torch.arange(-most, most + 1, device=reciprocal.device)] * 2)
    steps = steps[(steps[:, 0] > 0) | ((steps[:, 0] == 0) & (steps[:, 1] > 0))]
    harmonics = steps.to(reciprocal.dtype) @ reciprocal
    size = harmonics.norm(dim=1)
    order = size.argsort(stable=True)[:MOST_HARMONICS]
    return harmonics[order[size[order] <= MOST_FREQUENCY * 1.001]]


def _basis(harmonics: Tensor, shape: tuple[int, int], origin: Tensor) -> Tensor:
    """Logarithms of factors for the parts, real and imaginary, of amplitudes of modulus, then phase: ``(n, y, x)``."""
    waves_y, waves_x = _waves(harmonics, shape, origin)
    wave = 2 * torch.einsum("ky,kx->kyx", waves_y, waves_x)  # with its opposite
    real = torch.cat([wave.real, wave.imag])
    return torch.cat([torch.complex(real, torch.zeros_like(real)), torch.complex(torch.zeros_like(real), real)])


def _waves(frequencies: Tensor, shape: tuple[int, int], origin: Tensor) -> list[Tensor]:
    """``exp(-2 pi i k x)`` along each axis, ``(k, pixel)``, the first pixel at ``origin``."""
    turns = [frequencies[:, axis, None] * (torch.arange(shape[axis]).to(origin) + origin[axis]) for axis in (0, 1)]
    return [torch.polar(torch.ones_like(turn), -2 * math.pi * turn) for turn in turns]


def _spectrum(obj: Tensor, weight: Tensor, frequencies: Tensor) -> Tensor:
    """Amplitudes of the logarithm of the modulus, and of the phase, ``(2, k)``."""
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
