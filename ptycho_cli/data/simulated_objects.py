"""Objects for simulated scans: complex transmissions on a pixel grid, 1 in vacuum."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.simulated_shapes import SHAPE_KINDS, Image, MakeObject, coordinates, smooth_field, soft_step
from ptycho_cli.errors import DataError


def siemens(shape: tuple[int, int], rng: np.random.Generator, pixel_m: float | None = None) -> NDArray[np.complex128]:
    """A Siemens star of 18 spokes in three rings, absorbing and phase-shifting, on a film of smooth phase."""
    y, x = coordinates(shape)
    radius, angle = np.hypot(y, x), np.arctan2(y, x)
    outer = 0.46 * min(shape)
    # distance to the nearest edge in pixels: edges are one pixel soft at every radius
    to_edge = radius * np.sin(18 * angle) / 18
    star = soft_step(to_edge) * soft_step(outer - radius) * soft_step(radius - 0.06 * outer)
    for share in (0.3, 0.62):
        star *= soft_step(np.abs(radius - share * outer) - 0.015 * outer - 1.0)
    film = smooth_field(shape, rng, 12.0)
    return np.asarray(np.exp(-0.22 * star + 1j * (-0.7 * star + 0.12 * film)), dtype=np.complex128)


def weak(shape: tuple[int, int], rng: np.random.Generator, pixel_m: float | None = None) -> NDArray[np.complex128]:
    """A weak phase object, such as a cell: 0.1 rad of structure at several scales, hardly any absorption."""
    structure = sum(smooth_field(shape, rng, scale) for scale in (2.0, 5.0, 12.0)) / np.sqrt(3.0)
    return np.asarray(np.exp((-0.005 + 0.1j) * structure - 0.01), dtype=np.complex128)


def texture(shape: tuple[int, int], rng: np.random.Generator, pixel_m: float | None = None) -> NDArray[np.complex128]:
    """Strong structure everywhere: amplitudes between 0.6 and 1, and an independent phase."""
    thickness = 0.5 * (1 + np.tanh(1.5 * smooth_field(shape, rng, 2.5)))
    phase = 0.5 * smooth_field(shape, rng, 4.0)
    return np.asarray((1 - 0.4 * thickness) * np.exp(1j * phase), dtype=np.complex128)


LATTICE_M = 3.16e-10  # lattice constant of MoS2
ATOM_WIDTH_M = 0.35e-10  # standard deviation of an atom's projected potential, with its thermal motion
ATOM_PHASES = (0.6, 0.4)  # radians at the centres of Mo and of two S atoms
VACANCIES = 0.06  # of the S sites, one of two atoms is missing
LARGEST_ATOM_PIXEL_M = 0.5e-10


def atoms(shape: tuple[int, int], rng: np.random.Generator, pixel_m: float | None = None) -> NDArray[np.complex128]:
    """A layer of MoS2 at a random angle, with sulphur vacancies, as a phase object that absorbs little.

    Args:
        shape: Pixels (y, x).
        rng: Random numbers for the angle and the vacancies.
        pixel_m: Size of a pixel.

    Raises:
        DataError: If it is not known, or too large for atoms.
    """
    if pixel_m is None or pixel_m > LARGEST_ATOM_PIXEL_M:
        found = "of unknown size" if pixel_m is None else f"of {pixel_m:.3g} m"
        raise DataError(
            f"simulate: the object 'atoms' needs pixels of at most {LARGEST_ATOM_PIXEL_M:g} m, but they are {found}.",
            hint="Simulate an electron scan: --preset electron.",
        )
    angle, lattice = rng.uniform(0, np.pi / 3), LATTICE_M / pixel_m
    basis = lattice * np.array([[np.sin(angle), np.cos(angle)], [np.sin(angle + np.pi / 3), np.cos(angle + np.pi / 3)]])
    reach = int(np.hypot(*shape) / lattice) + 2
    cells = np.stack(np.meshgrid(*(np.arange(-reach, reach + 1),) * 2, indexing="ij"), axis=-1).reshape(-1, 2)
    metal = cells @ basis + np.array(shape) / 2
    sites = np.concatenate([metal, metal + basis.sum(axis=0) / 3])
    phases = np.repeat(ATOM_PHASES, len(metal))
    phases[len(metal) :] *= np.where(rng.uniform(size=len(metal)) < VACANCIES, 0.5, 1.0)
    phase = _sum_of_atoms(shape, sites, phases, ATOM_WIDTH_M / pixel_m)
    return np.asarray(np.exp((1j - 0.1) * phase), dtype=np.complex128)


def _sum_of_atoms(shape: tuple[int, int], sites: Image, peaks: Image, width_px: float) -> Image:
    """Gaussians at sites (y, x), each of its peak value; exact, in the window where they exceed 1e-5."""
    total, reach = np.zeros(shape), int(np.ceil(5 * width_px))
    for (y, x), peak in zip(sites, peaks, strict=True):
        low = (max(int(y) - reach, 0), max(int(x) - reach, 0))
        high = (min(int(y) + reach + 1, shape[0]), min(int(x) + reach + 1, shape[1]))
        if low[0] < high[0] and low[1] < high[1]:
            squared = (np.arange(low[0], high[0])[:, None] - y) ** 2 + (np.arange(low[1], high[1])[None] - x) ** 2
            total[low[0] : high[0], low[1] : high[1]] += peak * np.exp(-squared / (2 * width_px**2))
    return total


OBJECT_KINDS: dict[str, MakeObject] = {
    "siemens": siemens,
    "texture": texture,
    "weak": weak,
    "atoms": atoms,
    **SHAPE_KINDS,
}
