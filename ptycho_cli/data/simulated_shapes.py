"""Objects for simulated scans that are made of many random shapes: discs, circuits, grains, cells, stars."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

Image = NDArray[np.float64]
MakeObject = Callable[[tuple[int, int], np.random.Generator, float | None], NDArray[np.complex128]]

# Of a shape: its largest absorption exponent and phase in radians, drawn anew for every object.
_ABSORPTION, _PHASE = 0.5, 1.5


def discs(shape: tuple[int, int], rng: np.random.Generator, pixel_m: float | None = None) -> NDArray[np.complex128]:
    """Discs and rings of many sizes, such as beads, that absorb and shift the phase where they overlap."""
    thickness = np.zeros(shape)
    for _ in range(int(np.exp(rng.uniform(np.log(15), np.log(300))))):
        radius = min(shape) * np.exp(rng.uniform(np.log(0.008), np.log(0.12)))
        distance = _distance(shape, rng.uniform(0, 1, 2) * shape, radius + 2)
        if distance is None:
            continue
        window, from_centre = distance
        inner = radius * rng.uniform(0, 0.9) if rng.uniform() < 0.3 else -2.0
        thickness[window] += rng.uniform(0.2, 1) * soft_step(radius - from_centre) * soft_step(from_centre - inner)
    return transmission(thickness, rng)


def circuits(shape: tuple[int, int], rng: np.random.Generator, pixel_m: float | None = None) -> NDArray[np.complex128]:
    """Lines and pads at right angles, in layers, at one random angle, as in an integrated circuit."""
    angle = rng.uniform(0, np.pi / 2)
    y, x = coordinates(shape)
    along, across = np.cos(angle) * x + np.sin(angle) * y, np.cos(angle) * y - np.sin(angle) * x
    size, thickness = float(np.hypot(*shape)), np.zeros(shape)
    for _ in range(int(rng.integers(2, 5))):
        layer = np.zeros(shape)
        for _ in range(int(rng.integers(5, 30))):
            length = size * rng.uniform(0.05, 0.8)
            width = max(1.5, size * np.exp(rng.uniform(np.log(0.006), np.log(0.3))))
            first, second = (along, across) if rng.uniform() < 0.5 else (across, along)
            from_middle = (np.abs(axis - rng.uniform(-size / 2, size / 2)) for axis in (first, second))
            u, v = from_middle
            line = soft_step(length / 2 - u) * soft_step(width / 2 - v)
            if width > 12 and rng.uniform() < 0.5:  # a grating in place of a pad
                line = line * soft_step(_stripes(first if rng.uniform() < 0.5 else second, rng))
            layer = np.maximum(layer, line)
        thickness += rng.uniform(0.2, 1) * layer
    return transmission(thickness, rng)


def grains(shape: tuple[int, int], rng: np.random.Generator, pixel_m: float | None = None) -> NDArray[np.complex128]:
    """Grains of two materials with sharp borders, of any size from a pixel up, and fine structure within."""
    scale, film = np.exp(rng.uniform(np.log(1.0), np.log(8.0))), rng.uniform(0, 0.3)
    field = smooth_field(shape, rng, scale)
    slope = np.sqrt(np.mean(np.square(np.gradient(field))))  # so that borders are about a pixel wide
    thickness = soft_step((field - rng.uniform(-0.7, 0.7)) / slope)
    return transmission(thickness + film * smooth_field(shape, rng, rng.uniform(0.8, 3)), rng)


def cells(shape: tuple[int, int], rng: np.random.Generator, pixel_m: float | None = None) -> NDArray[np.complex128]:
    """Rounded bodies with a rim, a nucleus and grains inside, in a medium of weak structure."""
    thickness = 0.05 * smooth_field(shape, rng, 6.0)
    for _ in range(int(rng.integers(2, 12))):
        radius = min(shape) * rng.uniform(0.08, 0.3)
        distance = _distance(shape, rng.uniform(0, 1, 2) * shape, 1.5 * radius)
        if distance is None:
            continue
        window, from_centre = distance
        lobes = 1 + 0.15 * smooth_field(from_centre.shape, rng, max(radius / 3, 1.0))
        inside = radius * lobes - from_centre
        body = np.sqrt(np.clip(inside / radius, 0, 1)) + 0.4 * np.exp(-((inside / 2.0) ** 2))
        body += 0.6 * soft_step(0.35 * radius - np.abs(from_centre - 0.2 * radius))
        grains = (smooth_field(from_centre.shape, rng, rng.uniform(1.0, 2.5)) > 1.6) & (inside > 0)
        thickness[window] += rng.uniform(0.3, 1) * (body + 0.5 * gaussian_filter(grains.astype(float), 0.7))
    return transmission(thickness, rng)


def stars(shape: tuple[int, int], rng: np.random.Generator, pixel_m: float | None = None) -> NDArray[np.complex128]:
    """A star of spokes of any number, centre and size, with rings and a film of uneven phase."""
    y, x = coordinates(shape)
    y, x = y - rng.uniform(-0.4, 0.4) * shape[0], x - rng.uniform(-0.4, 0.4) * shape[1]
    radius, angle = np.hypot(y, x), np.arctan2(y, x) + rng.uniform(0, 2 * np.pi)
    spokes, outer = int(rng.integers(6, 73)), min(shape) * rng.uniform(0.4, 1.4)
    thickness = soft_step(radius * np.sin(spokes * angle) / spokes) * soft_step(outer - radius)
    thickness *= soft_step(radius - rng.uniform(0.02, 0.15) * outer)
    for _ in range(int(rng.integers(0, 8))):
        ring = np.abs(radius - rng.uniform(0.1, 1) * outer) - rng.uniform(1.0, 0.03 * min(shape) + 1.0)
        thickness = np.maximum(thickness, soft_step(-ring)) if rng.uniform() < 0.5 else thickness * soft_step(ring)
    return transmission(thickness + rng.uniform(0, 0.2) * smooth_field(shape, rng, rng.uniform(3, 12)), rng)


SHAPE_KINDS: dict[str, MakeObject] = {
    "discs": discs,
    "circuits": circuits,
    "grains": grains,
    "cells": cells,
    "stars": stars,
}


def transmission(thickness: Image, rng: np.random.Generator) -> NDArray[np.complex128]:
    """Transmission of a thickness map, of one material with random absorption and phase."""
    absorption, phase = _ABSORPTION * rng.uniform() ** 3, rng.choice([-1, 1]) * rng.uniform(0.1, _PHASE)
    return np.asarray(np.exp((-absorption + 1j * phase) * thickness), dtype=np.complex128)


def _stripes(position_px: Image, rng: np.random.Generator) -> Image:
    """Distance to the nearest edge of stripes of random pitch along a coordinate, positive within them."""
    pitch = np.exp(rng.uniform(np.log(3.0), np.log(14.0)))
    return np.asarray(pitch / np.pi / 2 * np.sin(2 * np.pi * position_px / pitch), dtype=np.float64)


def _distance(
    shape: tuple[int, int], centre: NDArray[np.float64], reach: float
) -> tuple[tuple[slice, slice], Image] | None:
    """The window within ``reach`` of a centre (y, x), and its distances in pixels; None if there is none."""
    low = np.maximum(np.floor(centre - reach), 0).astype(int)
    high = np.minimum(np.ceil(centre + reach) + 1, shape).astype(int)
    if (low >= high).any():
        return None
    y, x = (np.arange(a, b) - c for a, b, c in zip(low, high, centre, strict=True))
    return (slice(low[0], high[0]), slice(low[1], high[1])), np.hypot(y[:, None], x[None])


def coordinates(shape: tuple[int, int]) -> tuple[Image, Image]:
    """Distances (y, x) of pixels from the middle, ``(y, 1)`` and ``(1, x)``."""
    y, x = (np.arange(n, dtype=np.float64) - (n - 1) / 2 for n in shape)
    return y[:, None], x[None, :]


def soft_step(distance_px: Image) -> Image:
    """Smooth step over about a pixel: 1 inside, where the distance to the edge is positive, 0 outside."""
    return np.asarray(0.5 * (1 + np.tanh(2 * distance_px)), dtype=np.float64)


def smooth_field(shape: tuple[int, ...], rng: np.random.Generator, scale_px: float) -> Image:
    """Smooth random field of zero mean and unit variance."""
    field = gaussian_filter(rng.standard_normal(shape), scale_px, mode="wrap")
    return np.asarray((field - field.mean()) / max(float(field.std()), 1e-12), dtype=np.float64)
