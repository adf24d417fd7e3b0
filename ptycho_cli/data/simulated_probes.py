"""Random probes for simulated scans: zone plates and round apertures, out of focus and aberrated, with modes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

# Orders of radius and angle of the aberrations that are drawn: astigmatism, coma, trefoil, spherical.
_ABERRATIONS = ((2, 2), (3, 1), (3, 3), (4, 0))
_OUTER = (0.14, 0.35)  # radius of the pupil in cycles per pixel
_STOP = (0.2, 0.5)  # radius of a zone plate's central stop, relative to the pupil

Probe = NDArray[np.complex128]


def zone_plate(n_pixels: int, diameter_px: float, rng: np.random.Generator) -> Probe:
    """Probe ``(y, x)`` of a zone plate with a central stop; arguments as for :func:`round_aperture`."""
    return _probe(n_pixels, diameter_px, rng, stop=rng.uniform(*_STOP))


def round_aperture(n_pixels: int, diameter_px: float, rng: np.random.Generator) -> Probe:
    """Probe ``(y, x)`` of a round aperture, as in an electron microscope; centred at ``n // 2``.

    Args:
        n_pixels: Pixels along one side.
        diameter_px: Diameter of the geometric beam at the object, which sets the defocus.
        rng: Random numbers for radius of the pupil, side of the focus and aberrations.
    """
    return _probe(n_pixels, diameter_px, rng, stop=0.0)


PROBE_KINDS: dict[str, Callable[[int, float, np.random.Generator], Probe]] = {
    "zone-plate": zone_plate,
    "aperture": round_aperture,
}


def with_random_modes(probe: Probe, n_modes: int, rng: np.random.Generator) -> Probe:
    """Add modes of a partially coherent beam, ``(mode, y, x)``: the probe times linear functions of the position.

    They are those of a Gaussian-Schell beam to first order, each with 2 to 25 % of the first mode's photons, and
    orthogonal where the probe is symmetric.

    Args:
        probe: The first mode, ``(y, x)``.
        n_modes: Number of modes, 1 to 3.
        rng: Random numbers for directions and shares.

    Source: Vartanyants and Singer (2010), doi:10.1088/1367-2630/12/3/035004.
    """
    power = np.sum(np.abs(probe) ** 2)
    position = np.arange(len(probe)) - len(probe) // 2
    angle = rng.uniform(0, np.pi)
    modes = [probe]
    for turn in (0.0, np.pi / 2)[: n_modes - 1]:
        along = np.sin(angle + turn) * position[:, None] + np.cos(angle + turn) * position[None]
        mode = probe * along
        share = np.exp(rng.uniform(np.log(0.02), np.log(0.25)))
        modes.append(mode * np.sqrt(share * power / np.sum(np.abs(mode) ** 2)))
    return np.stack(modes)


def _probe(n_pixels: int, diameter_px: float, rng: np.random.Generator, stop: float) -> Probe:
    frequency = np.fft.fftfreq(n_pixels)
    qy, qx = frequency[:, None], frequency[None, :]
    radius, angle = np.hypot(qy, qx), np.arctan2(qy, qx)
    outer, soft = rng.uniform(*_OUTER), 1.0 / n_pixels
    pupil = 0.5 * (1 + np.tanh((outer - radius) / soft))
    if stop:
        pupil = pupil * 0.5 * (1 + np.tanh((radius - stop * outer) / soft))
    defocus = rng.choice([-1, 1]) * diameter_px / (2 * outer)  # a ray at frequency q lands defocus * q from the axis
    phase = -np.pi * defocus * radius**2
    for order, turns in _ABERRATIONS:
        phase = phase + rng.normal(0, 0.3) * (radius / outer) ** order * np.cos(
            turns * angle - rng.uniform(0, 2 * np.pi)
        )
    return np.asarray(np.fft.fftshift(np.fft.ifft2(pupil * np.exp(1j * phase))), dtype=np.complex128)
