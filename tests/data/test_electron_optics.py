"""Electron wavelengths as tables have them, and the probe of an aperture: its disc, its phase, its power."""

from __future__ import annotations

import numpy as np
import pytest

from ptycho_cli.data.bright_disc import bright_disc_radius
from ptycho_cli.data.electron_optics import (
    aperture_probe,
    beam_width_m,
    electron_voltage_kv,
    electron_wavelength_m,
    object_pixel_from_angle,
)
from ptycho_cli.geometry import probe_diameter_px

N, ANGLE_MRAD, SEMI_ANGLE_MRAD = 64, 3.25, 30.0
WAVELENGTH_M = electron_wavelength_m(80.0)
PIXEL_M = object_pixel_from_angle(WAVELENGTH_M, N, ANGLE_MRAD)


@pytest.mark.parametrize(
    ("voltage_kv", "picometres"), [(30, 6.9791), (60, 4.8661), (80, 4.1757), (200, 2.5079), (300, 1.9687)]
)
def test_the_relativistic_wavelength_is_that_of_the_tables(voltage_kv: float, picometres: float) -> None:
    """Values of Williams and Carter, Transmission Electron Microscopy (2009), and of Kirkland's formula."""
    wavelength = electron_wavelength_m(voltage_kv)

    assert wavelength == pytest.approx(picometres * 1e-12, abs=5e-17)
    assert electron_voltage_kv(wavelength) == pytest.approx(voltage_kv)


def test_the_object_pixel_is_the_wavelength_over_the_angle_of_the_detector() -> None:
    """At small angles this is the X-ray relation: wavelength times distance over the width of the detector."""
    distance_m, pixel_m = 0.5, 50e-6

    from_angle = object_pixel_from_angle(WAVELENGTH_M, N, 1e3 * pixel_m / distance_m)

    assert from_angle == pytest.approx(WAVELENGTH_M * distance_m / (N * pixel_m))


def far_field(probe: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(probe), norm="ortho"))


def test_the_probe_fills_the_disc_of_its_semi_angle() -> None:
    probe = aperture_probe(N, PIXEL_M, WAVELENGTH_M, SEMI_ANGLE_MRAD, 1e-8, 1e-4)
    intensity = np.abs(far_field(probe)) ** 2

    assert (np.abs(probe) ** 2).sum() == pytest.approx(1.0)
    radius = bright_disc_radius(intensity, np.ones((N, N), dtype=bool))
    assert radius == pytest.approx(SEMI_ANGLE_MRAD / ANGLE_MRAD, rel=0.03)


def test_its_phase_is_that_of_defocus_and_spherical_aberration() -> None:
    """chi = pi w k^2 (cs w^2 k^2 / 2 - defocus), Kirkland eq. 2.10, on the axis of the far field."""
    defocus_m, cs_m = 4e-9, 2e-6
    wave = far_field(aperture_probe(N, PIXEL_M, WAVELENGTH_M, SEMI_ANGLE_MRAD, defocus_m, cs_m))[N // 2, N // 2 :]
    k = np.arange(8) / (N * PIXEL_M)
    chi = np.pi * WAVELENGTH_M * k**2 * (0.5 * cs_m * WAVELENGTH_M**2 * k**2 - defocus_m)

    np.testing.assert_allclose(wave[:8] / wave[0], np.exp(-1j * chi), atol=1e-9)


def test_a_defocused_probe_is_as_wide_as_its_cone() -> None:
    width = beam_width_m(SEMI_ANGLE_MRAD, 1e-8, 0.0)
    wide = aperture_probe(N, PIXEL_M, WAVELENGTH_M, SEMI_ANGLE_MRAD, 1e-8)
    sharp = aperture_probe(N, PIXEL_M, WAVELENGTH_M, SEMI_ANGLE_MRAD)

    assert width == pytest.approx(2 * 30e-3 * 1e-8)
    assert probe_diameter_px(wide[None].astype(np.complex64)) * PIXEL_M == pytest.approx(width, rel=0.1)
    assert probe_diameter_px(sharp[None].astype(np.complex64)) * PIXEL_M < 2 * WAVELENGTH_M / 30e-3


def test_patterns_without_a_disc_have_no_radius() -> None:
    y, x = np.mgrid[:64, :64] - 32.0
    valid = np.ones((64, 64), dtype=bool)
    ring = ((np.hypot(y, x) < 20) & (np.hypot(y, x) > 14)).astype(float)
    square = ((abs(y) < 4) & (abs(x) < 20)).astype(float)

    assert bright_disc_radius(np.exp(-np.hypot(y, x) / 3), valid) is None
    assert bright_disc_radius(ring, valid) is None
    assert bright_disc_radius(square, valid) is None
