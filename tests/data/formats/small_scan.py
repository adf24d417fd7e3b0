"""The scan that the small files of this folder hold: no random numbers, so that every program writes the same."""

from __future__ import annotations

import numpy as np

ROWS, COLUMNS, SIZE = 4, 5, 16
N_FRAMES = ROWS * COLUMNS

# Electrons: a raster with a bright disc of 4 detector pixels.
VOLTAGE_KV, ELECTRON_WAVELENGTH_M = 80.0, 4.17571e-12
ANGLE_MRAD, SEMI_ANGLE_MRAD = 3.25, 13.0
RECIPROCAL_PER_NM = 1e-12 * ANGLE_MRAD / ELECTRON_WAVELENGTH_M
STEP_NM = 0.05

# X-rays: positions that form no raster, in metres, (y, x).
ENERGY_EV, WAVELENGTH_M = 8856.0, 1.4e-10
OBJECT_PIXEL_M, DETECTOR_PIXEL_M = 10e-9, 75e-6
DISTANCE_M = OBJECT_PIXEL_M * SIZE * DETECTOR_PIXEL_M / WAVELENGTH_M


def counts() -> np.ndarray:
    """Frames ``(row, column, y, x)``, uint8: a disc that differs from frame to frame, brighter at the top left."""
    frame, y, x = np.ogrid[:N_FRAMES, :SIZE, :SIZE]
    disc = np.hypot(y - SIZE // 2, x - SIZE // 2) < 4.3
    values = np.where(disc, 60 + (7 * frame + 3 * y + 5 * x + frame * y * x) % 23 - y - 2 * x, (frame + y + x) % 2)
    return values.astype(np.uint8).reshape(ROWS, COLUMNS, SIZE, SIZE)


def positions_m() -> np.ndarray:
    """Positions ``(frame, 2)`` of the X-ray scan, in metres: a bent raster."""
    row, column = np.divmod(np.arange(N_FRAMES), COLUMNS)
    y, x = 40.0 * row + 3.0 * np.sin(2.0 * column), 40.0 * column + 5.0 * np.cos(3.0 * row)
    return 1e-9 * np.stack([y, x], axis=1)


def probe() -> np.ndarray:
    """A probe ``(y, x)``, complex64."""
    y, x = np.mgrid[:SIZE, :SIZE] - SIZE / 2
    return (np.exp(-(y**2 + x**2) / 18.0) * np.exp(0.1j * y)).astype(np.complex64)
