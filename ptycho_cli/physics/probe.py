"""Probes: sub-pixel shifts, scale, and initial guesses."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ptycho_cli.physics.propagation import back_propagate, propagate

MAX_RADIUS = 0.33  # rms radius of the widest probe among the candidates, relative to the frame's side
MAX_DEFOCI = 40  # candidates on either side of focus


def shift_waves(waves: Tensor, shifts: Tensor) -> Tensor:
    """Move waves by fractions of a pixel, through the shift theorem.

    Exact for band-limited waves, differentiable in both arguments, and it keeps every photon.

    Args:
        waves: Complex ``(..., mode, y, x)``: a wave for each shift, or a probe ``(mode, y, x)`` for all shifts.
        shifts: Distance (y, x) in pixels, ``(..., 2)``; positive moves to larger indices.

    Returns:
        Complex ``(..., mode, y, x)``.
    """
    shifted: Tensor = torch.fft.ifft2(torch.fft.fft2(waves) * _ramp(waves, shifts)[..., None, :, :])
    return shifted


def sum_shifted_back(waves: Tensor, shifts: Tensor) -> Tensor:
    """Return the sum of waves that are each moved back by its shift: the adjoint of ``shift_waves`` of one probe.

    Args:
        waves: Complex ``(frame, mode, y, x)``.
        shifts: Distance (y, x) in pixels of which to undo the move, ``(frame, 2)``.

    Returns:
        Complex ``(mode, y, x)``.
    """
    spectra = torch.fft.fft2(waves) * _ramp(waves, -shifts)[:, None]
    summed: Tensor = torch.fft.ifft2(spectra.sum(0))  # once, in place of once for each frame
    return summed


def _ramp(waves: Tensor, shifts: Tensor) -> Tensor:
    """Return phase ramps ``(..., y, x)`` that shift by ``(..., 2)`` pixels.

    The Nyquist frequency of an even size has no conjugate partner; it takes the negative sign, which keeps the photons.
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
    """Return an initial guess of an unknown probe: the modulus of the mean pattern with the phase of a defocus.

    Args:
        pattern: Mean counts of a scan, ``(y, x)``, zero frequency at ``n // 2``.
        defocus: Wavelength times distance from focus over the square of the object pixel. A ray at frequency ``q``, in
            cycles per pixel, meets the object ``defocus * q`` pixels from the axis.

    Returns:
        Complex ``(1, y, x)``, centred at ``n // 2``; ``sum |P|^2`` is the number of photons of ``pattern``.
    """
    far = pattern.clamp_min(0).sqrt()
    return back_propagate(torch.polar(far, -math.pi * defocus * _squared_frequency(pattern)))[None]


def refocused(probe: Tensor, defocus: float) -> Tensor:
    """Return a probe at another focus.

    Args:
        probe: Complex ``(mode, y, x)``, centred at ``n // 2``.
        defocus: Change of the defocus, as for ``initial_probe``.
    """
    squared = _squared_frequency(probe[0].real)
    return back_propagate(propagate(probe) * torch.polar(torch.ones_like(squared), -math.pi * defocus * squared))


def largest_defocus(probe: Tensor) -> float:
    """Return the defocus that spreads light of the frequencies of a probe over its root-mean-square radius.

    Args:
        probe: Complex ``(mode, y, x)``, centred at ``n // 2``.

    Returns:
        A value of ``defocus`` for ``initial_probe``. A probe far from focus has about this one.
    """
    near, far = (waves.abs().square().sum(0) for waves in (probe, propagate(probe)))
    return _spread(near) * near.shape[-1] / max(_spread(far), 1e-3)


def defocus_candidates(pattern: Tensor) -> list[float]:
    """Return defoci to try for an unknown probe, in ascending order, 0 among them.

    Neighbours differ by 1.5 rad at the root-mean-square frequency of the pattern. At both ends the probe fills the
    frame.

    Args:
        pattern: Mean counts of a scan, ``(y, x)``, zero frequency at ``n // 2``.

    Returns:
        Values of ``defocus`` for ``initial_probe``.
    """
    weight = pattern.clamp_min(0)
    spread = _spread(weight)
    step = 1.5 / (math.pi * max(spread, 1e-3) ** 2)
    # The rms radius of the probe is defocus * spread; that of a disc that fills the frame is 0.35 of its side.
    count = int(min(MAX_RADIUS * pattern.shape[-1] / max(spread, 1e-3) / step, MAX_DEFOCI))
    return [step * k for k in range(-count, count + 1)]


def _spread(light: Tensor) -> float:
    """Root-mean-square distance of light ``(y, x)`` from ``n // 2``, relative to the side of the grid."""
    return math.sqrt(float((light * _squared_frequency(light)).sum() / light.sum()))


def _squared_frequency(pattern: Tensor) -> Tensor:
    """Squared frequency of each detector pixel, in cycles per pixel squared, ``(y, x)``, zero at ``n // 2``."""
    y, x = (torch.fft.fftshift(torch.fft.fftfreq(n, dtype=pattern.dtype, device=pattern.device)) for n in pattern.shape)
    squared: Tensor = y[:, None].square() + x.square()
    return squared
