"""Probes: sub-pixel shifts, first guesses and scale."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptycho_cli.physics.propagation import back_propagate

FILLING = 0.33  # rms radius of the widest probe that is looked for, of the frame's side
MOST_DEFOCI = 40  # to either side


def shift_probe(probe: Tensor, shifts: Tensor) -> Tensor:
    """Move a probe by fractions of a pixel, through the shift theorem.

    Exact for a band-limited probe, differentiable in both arguments, and it keeps every photon.

    Args:
        probe: Complex ``(mode, y, x)``.
        shifts: Distance (y, x) in pixels, ``(..., 2)``; positive moves to larger indices.

    Returns:
        Complex ``(..., mode, y, x)``.
    """
    return shift_waves(probe, shifts)


def shift_waves(waves: Tensor, shifts: Tensor) -> Tensor:
    """Move each wave of ``(..., mode, y, x)`` by its own distance of ``(..., 2)`` pixels."""
    shifted: Tensor = torch.fft.ifft2(torch.fft.fft2(waves) * _ramp(waves, shifts)[..., None, :, :])
    return shifted


def _ramp(waves: Tensor, shifts: Tensor) -> Tensor:
    """Phase ramps ``(..., y, x)`` that shift by ``(..., 2)`` pixels.

    The Nyquist row of an even size has no conjugate partner: it is both signs, and either keeps the photons.
    """
    height, width = waves.shape[-2:]
    turns_y = shifts[..., 0, None] * torch.fft.fftfreq(height, device=waves.device, dtype=shifts.dtype)
    turns_x = shifts[..., 1, None] * torch.fft.fftfreq(width, device=waves.device, dtype=shifts.dtype)
    ramp_y = torch.polar(torch.ones_like(turns_y), -2 * math.pi * turns_y)
    ramp_x = torch.polar(torch.ones_like(turns_x), -2 * math.pi * turns_x)
    return ramp_y[..., :, None] * ramp_x[..., None, :]


def scale_probe(probe: Tensor, photons: float) -> Tensor:
    """Scale all modes by one factor so that ``sum |P|^2`` is ``photons``, the mean of an unattenuated frame."""
    return probe * math.sqrt(photons / float(probe.abs().square().sum()))


def initial_probe(pattern: Tensor, defocus: float = 0.0) -> Tensor:
    """A first guess of a probe where none is known: the mean pattern's modulus and the phase of a defocus.

    Args:
        pattern: Mean counts of a scan, ``(y, x)``, zero frequency at ``n // 2``.
        defocus: Wavelength times distance from focus over the object pixel squared: a ray at frequency ``q`` (cycles
            a pixel) lands ``defocus * q`` pixels from the axis.

    Returns:
        Complex ``(1, y, x)``, its centre at ``n // 2``; ``sum |P|^2`` is the photons of ``pattern``.
    """
    far = pattern.clamp_min(0).sqrt()
    return back_propagate(torch.polar(far, -math.pi * defocus * _squared_frequency(pattern)))[None]


def defocus_candidates(pattern: Tensor) -> list[float]:
    """Defoci from one end to the other that a probe may have, 0 among them, so close that none is missed.

    Neighbours differ by 1.5 rad at the root-mean-square frequency; the ends fill the frame with the probe.

    Args:
        pattern: Mean counts of a scan, ``(y, x)``, zero frequency at ``n // 2``.
    """
    weight = pattern.clamp_min(0)
    spread = math.sqrt(float((weight * _squared_frequency(pattern)).sum() / weight.sum()))
    step = 1.5 / (math.pi * max(spread, 1e-3) ** 2)
    # rms radius of the probe: defocus * spread; of a disc that fills the frame: 0.35 of its side
    count = int(min(FILLING * pattern.shape[-1] / max(spread, 1e-3) / step, MOST_DEFOCI))
    return [step * k for k in range(-count, count + 1)]


def _squared_frequency(pattern: Tensor) -> Tensor:
    """Squared frequency of each detector pixel, cycles a pixel, ``(y, x)``, zero at ``n // 2``."""
    y, x = (torch.fft.fftshift(torch.fft.fftfreq(n, dtype=pattern.dtype, device=pattern.device)) for n in pattern.shape)
    squared: Tensor = y[:, None].square() + x.square()
    return squared
