"""Electron wavelengths, and the probe that an aperture with defocus and spherical aberration forms."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

HC_EV_M = 1.23984198433e-6  # Planck's constant times the speed of light, CODATA 2018
ELECTRON_REST_EV = 510998.95  # rest energy of the electron, CODATA 2018


def electron_wavelength_m(voltage_kv: float) -> float:
    """Relativistic wavelength of electrons: ``h c / sqrt(e V (2 m0 c^2 + e V))``.

    Args:
        voltage_kv: Accelerating voltage in kilovolts, above 0.

    Returns:
        The wavelength in metres; 4.1757 pm at 80 kV, 2.5079 pm at 200 kV, 1.9687 pm at 300 kV.

    Source: E. J. Kirkland, Advanced Computing in Electron Microscopy, 3rd edition (2020), eq. 2.5,
    doi:10.1007/978-3-030-33260-0.
    """
    energy_ev = 1e3 * voltage_kv
    return float(HC_EV_M / np.sqrt(energy_ev * (2 * ELECTRON_REST_EV + energy_ev)))


def electron_voltage_kv(wavelength_m: float) -> float:
    """Accelerating voltage in kilovolts of electrons of a wavelength: the inverse of ``electron_wavelength_m``."""
    momentum_ev = HC_EV_M / wavelength_m
    return float(np.hypot(ELECTRON_REST_EV, momentum_ev) - ELECTRON_REST_EV) / 1e3


def object_pixel_from_angle(wavelength_m: float, n_pixels: int, angle_per_pixel_mrad: float) -> float:
    """Object pixel in metres: the wavelength over the angle that ``n_pixels`` detector pixels cover."""
    return wavelength_m / (n_pixels * 1e-3 * angle_per_pixel_mrad)


def aperture_probe(
    n_pixels: int, object_pixel_m: float, wavelength_m: float,
    semi_angle_mrad: float, defocus_m: float = 0.0, cs_m: float = 0.0,
) -> NDArray[np.complex128]:  # fmt: skip
    """Probe of a round aperture with defocus and spherical aberration, of unit power.

    In the far field it is ``A(k) exp(-i chi(k))`` with ``chi(k) = pi w k^2 (cs w^2 k^2 / 2 - defocus)`` for the
    wavelength w and frequencies k in cycles per metre; A is 1 up to the semi-angle over the wavelength, with an edge
    one detector pixel wide. A positive defocus is an underfocus: the beam crosses over behind the object.

    Args:
        n_pixels: Pixels along one side.
        object_pixel_m: Size of an object pixel in metres.
        wavelength_m: Wavelength in metres.
        semi_angle_mrad: Half angle of the converging beam in milliradians.
        defocus_m: Distance from the object to the crossover in metres.
        cs_m: Coefficient of spherical aberration (C30) in metres.

    Returns:
        Probe in real space, its centre at ``n // 2``, ``(y, x)``.

    Source: E. J. Kirkland, Advanced Computing in Electron Microscopy, 3rd edition (2020), eqs. 2.10 and 5.47,
    doi:10.1007/978-3-030-33260-0.
    """
    frequency = np.fft.fftfreq(n_pixels, object_pixel_m)
    squared = frequency[:, None] ** 2 + frequency[None, :] ** 2
    edge = (1e-3 * semi_angle_mrad / wavelength_m - np.sqrt(squared)) * n_pixels * object_pixel_m  # in detector pixels
    chi = np.pi * wavelength_m * squared * (0.5 * cs_m * wavelength_m**2 * squared - defocus_m)
    probe = np.fft.fftshift(np.fft.ifft2(np.clip(edge + 0.5, 0.0, 1.0) * np.exp(-1j * chi)))
    return np.asarray(probe / np.linalg.norm(probe), dtype=np.complex128)


def beam_width_m(semi_angle_mrad: float, defocus_m: float, cs_m: float) -> float:
    """Width in metres that the beam has on the object by geometrical optics: twice the largest shift of a ray."""
    angle = 1e-3 * semi_angle_mrad * np.linspace(0.0, 1.0, 33)
    return 2 * float(np.abs(cs_m * angle**3 - defocus_m * angle).max())
