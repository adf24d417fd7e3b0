"""Objects for simulated scans: complex transmissions on a pixel grid, 1 in vacuum."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Image = NDArray[np.float64]


def siemens(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.complex128]:
    """A Siemens star of 18 spokes in three rings, absorbing and phase-shifting, on a film of smooth phase."""
    y, x = _coordinates(shape)
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    outer = 0.46 * min(shape)
    # distance to the nearest edge in pixels: edges are one pixel soft at every radius
    to_edge = radius * np.sin(18 * angle) / 18
    star = _soft(to_edge) * _soft(outer - radius) * _soft(radius - 0.06 * outer)
    for share in (0.3, 0.62):
        star *= _soft(np.abs(radius - share * outer) - 0.015 * outer - 1.0)
    film = _texture(shape, rng, 12.0)
    return np.asarray(np.exp(-0.22 * star + 1j * (-0.7 * star + 0.12 * film)), dtype=np.complex128)


def weak(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.complex128]:
    """A weak phase object, such as a cell: 0.1 rad of structure at several scales, hardly any absorption."""
    structure = sum(_texture(shape, rng, scale) for scale in (2.0, 5.0, 12.0)) / np.sqrt(3.0)
    return np.asarray(np.exp((-0.005 + 0.1j) * structure - 0.01), dtype=np.complex128)


def texture(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.complex128]:
    """Strong structure everywhere: amplitudes between 0.6 and 1, and an independent phase."""
    thickness = 0.5 * (1 + np.tanh(1.5 * _texture(shape, rng, 2.5)))
    phase = 0.5 * _texture(shape, rng, 4.0)
    return np.asarray((1 - 0.4 * thickness) * np.exp(1j * phase), dtype=np.complex128)


OBJECT_KINDS: dict[str, Callable[[tuple[int, int], np.random.Generator], NDArray[np.complex128]]] = {
    "siemens": siemens,
    "texture": texture,
    "weak": weak,
}


def _coordinates(shape: tuple[int, int]) -> tuple[Image, Image]:
    y, x = (np.arange(n, dtype=np.float64) - (n - 1) / 2 for n in shape)
    return y[:, None], x[None, :]


def _soft(distance_px: Image) -> Image:
    """Smooth step over about a pixel: 1 inside, where the distance to the edge is positive, 0 outside."""
    return np.asarray(0.5 * (1 + np.tanh(2 * distance_px)), dtype=np.float64)


def _texture(shape: tuple[int, int], rng: np.random.Generator, scale_px: float) -> Image:
    """Smooth random field of zero mean and unit variance."""
    field = gaussian_filter(rng.standard_normal(shape), scale_px, mode="wrap")
    return np.asarray((field - field.mean()) / field.std(), dtype=np.float64)
