"""Recipes of simulated scans: ranges that every scan of a stream draws its object, probe, positions and noise from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator
from scipy.ndimage import gaussian_filter

from ptycho_cli.data.recipe_files import forget_files, grey_image, images_at, object_from_image, probe_from_file
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulated_imperfections import Imperfections
from ptycho_cli.data.simulated_objects import LARGEST_ATOM_PIXEL_M, OBJECT_KINDS
from ptycho_cli.data.simulated_probes import PROBE_KINDS, with_random_modes
from ptycho_cli.data.simulated_shapes import smooth_field
from ptycho_cli.data.simulation import PATTERNS, expected_counts, object_frame
from ptycho_cli.geometry import probe_diameter_px

_STREAM = 11  # first word of the random keys; see data.groups
_BLUR_PX = (0.0, 1.2)  # of objects, since measured ones are not sharp to the pixel
_CONTRAST = (0.3, 1.3)  # factors on the logarithm of a transmission
_GRAIN, _GRAIN_PX = (0.01, 0.15), (0.4, 2.0)  # strength of fine random structure in a transmission, and its scale
_FRINGE_PX = 5.0  # largest width of the fringes of an object that is out of focus


Range = tuple[float, float]
# Limits of the ranges, and the names that lists choose from.
_LIMITS = {
    "photons": (1.0, 1e12), "modes": (1, 3), "diameter": (0.05, 0.6), "step": (0.02, 1.0), "background": (0.0, 1e6),
    "intensity_jitter": (0.0, 1.0), "position_error_px": (0.0, 10.0), "gap_px": (1, 64),
}  # fmt: skip
IMAGES, MEASURED = "images", "measured"  # kinds of objects and probes that come from files
_KINDS = {
    "objects": (*OBJECT_KINDS, IMAGES), "probes": (*PROBE_KINDS, MEASURED), "patterns": tuple(PATTERNS),
}  # fmt: skip
_FILES = {"image_files": ("objects", IMAGES), "probe_files": ("probes", MEASURED)}


class Recipe(BaseModel):
    """Ranges for simulated scans; each scan draws from all of them.

    Ranges are ``[low, high]``. Photons, and diameters of the beam, are drawn evenly on a logarithmic scale.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    frames: int = Field(64, ge=4, le=4096, description="Frames of a scan.")
    size: int = Field(64, ge=16, le=1024, multiple_of=2, description="Pixels along one side of a frame.")
    photons: Range = Field((1e3, 1e8), description="Mean photons of a frame without the object.")
    objects: tuple[str, ...] = Field(
        ("discs", "circuits", "grains", "cells", "stars", "texture", "weak"), description="Kinds of objects."
    )
    image_files: tuple[str, ...] = Field(
        (), validate_default=True, description="Images, or folders of them, that the objects `images` are made from."
    )
    independent: float = Field(
        0.5,
        ge=0.0,
        le=1.0,
        description="Share of the scans whose amplitude is that of another object than their phase.",
    )
    grain: float = Field(0.0, ge=0.0, le=1.0, description="Share of the objects that have fine random structure, too.")
    defocused: float = Field(
        0.0, ge=0.0, le=1.0, description="Share of the objects that are out of focus, with fringes at their edges."
    )
    probes: tuple[str, ...] = Field(tuple(PROBE_KINDS), description="Kinds of probes.")
    probe_files: tuple[str, ...] = Field(
        (), validate_default=True, description="Scans, reconstructions or runs with the probes `measured`."
    )
    modes: tuple[int, int] = Field((1, 1), description="Number of probe modes.")
    diameter: Range = Field((0.2, 0.5), description="Diameter of the beam, relative to the side of a frame.")
    step: Range = Field((0.12, 0.3), description="Step of the scan, relative to the diameter.")
    patterns: tuple[str, ...] = Field(tuple(PATTERNS), description="Patterns of the positions.")
    background: Range = Field((0.0, 0.0), description="Constant background in photons per pixel.")
    intensity_jitter: Range = Field((0.0, 0.05), description="Relative spread (rms) of the frames' intensities.")
    position_error_px: Range = Field((0.0, 0.2), description="Error (rms) of the positions in pixels.")
    gaps: float = Field(0.1, ge=0.0, le=1.0, description="Share of the scans whose detector has a cross of gaps.")
    gap_px: tuple[int, int] = Field((1, 3), description="Width of these gaps in pixels.")
    uses: int = Field(
        1, ge=1, le=100, description="Number of times that a training uses each scan, in different symmetries."
    )
    validation_scans: int = Field(8, ge=1, le=1000, description="Scans that are kept apart to validate on.")

    @field_validator(*_LIMITS)
    @classmethod
    def _within_limits(cls, value: Range, info: ValidationInfo) -> Range:
        low, high = _LIMITS[str(info.field_name)]
        if not low <= value[0] <= value[1] <= high:
            raise ValueError(f"expected [low, high] from {low:g} to {high:g}, low first")
        return value

    @field_validator(*_KINDS)
    @classmethod
    def _known(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        known = _KINDS[str(info.field_name)]
        if not value or not set(value) <= set(known):
            raise ValueError(f"expected names among {', '.join(known)}")
        return value

    @field_validator(*_FILES)
    @classmethod
    def _are_used(cls, value: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        key, kind = _FILES[str(info.field_name)]
        if value and kind not in info.data.get(key, (kind,)):
            raise ValueError(f"these files are not used, since {key} has no `{kind}`")
        if not value and kind in info.data.get(key, ()):
            raise ValueError(f"{key} has `{kind}`, so name at least one file")
        return value

    def check_files(self) -> None:
        """Read all images and probes as they are now.

        Raises:
            PtychoError: If one of them cannot be used.
        """
        forget_files()
        for image in images_at(self.image_files):
            grey_image(image)
        for path in self.probe_files:
            probe_from_file(path, self.size)

    def canvas(self) -> tuple[int, int]:
        """Height and width of a canvas that holds any scan, a multiple of 8 pixels."""
        widest = self.size * self.diameter[1] * self.step[1] * (1.15 * np.sqrt(self.frames) + 1)
        side = -(-int(self.size + widest + 8) // 8) * 8
        return side, side


@dataclass(frozen=True, eq=False)
class SimulatedScan:
    """A simulated scan, and what a perfect model of it would expect.

    Attributes:
        scan: The scan with its probe, true object, mask, intensities and background; its counts have Poisson noise.
        expected: Photons without noise at the stated positions, ``(frame, y, x)``.
    """

    scan: Scan
    expected: NDArray[np.float32]


def simulated_scan(recipe: Recipe, seed: int, number: int) -> SimulatedScan:
    """Make one scan of a recipe's stream; it depends on (recipe, seed, number) alone.

    Args:
        recipe: The ranges.
        seed: Key of the stream.
        number: Number of the scan in it.
    """
    rng = np.random.default_rng([_STREAM, seed, number])
    size, n_frames = recipe.size, recipe.frames
    photons = _log_uniform(rng, *recipe.photons)
    geometric_px = size * _log_uniform(rng, *recipe.diameter)
    probe = _probe(recipe, geometric_px, rng)
    probe = probe * np.sqrt(photons / np.sum(np.abs(probe) ** 2))
    step_px = rng.uniform(*recipe.step) * min(probe_diameter_px(probe.astype(np.complex64)), size * recipe.diameter[1])
    positions = rng.permutation(PATTERNS[str(rng.choice(recipe.patterns))](n_frames, step_px, rng))
    true = positions + rng.uniform(*recipe.position_error_px) / np.sqrt(2) * rng.standard_normal(positions.shape)
    origin, shape = object_frame(np.concatenate([positions, true]), size)
    truth = _object(recipe, shape, rng)
    own = np.random.default_rng([_STREAM, seed, number, 1])
    if own.uniform() < recipe.independent:
        truth = _with_amplitude_of(truth, _object(recipe, shape, own), own)
    intensities = Imperfections(rng.uniform(*recipe.intensity_jitter)).intensities(n_frames, int(rng.integers(2**31)))
    background = float(rng.uniform(*recipe.background))
    expected, measured = (
        expected_counts(truth, probe, places, origin) * intensities[:, None, None] + background
        for places in (positions, true)
    )
    mask = _mask(size, rng, recipe.gap_px, gaps=bool(rng.uniform() < recipe.gaps))
    scan = Scan(
        source=f"simulated scan {number}",
        counts=(rng.poisson(measured) * mask).astype(np.float32),
        positions_px=positions,
        mask=mask,
        probe=probe.astype(np.complex64),
        truth=truth.astype(np.complex64),
        truth_origin_px=(float(origin[0]), float(origin[1])),
        intensities=intensities,
        background=background,
    )
    return SimulatedScan(scan, expected.astype(np.float32))


def _probe(recipe: Recipe, geometric_px: float, rng: np.random.Generator) -> NDArray[np.complex128]:
    """A probe of random kind, ``(mode, y, x)``; one from a file has the modes that are there."""
    kind = str(rng.choice(recipe.probes))
    if kind == MEASURED:
        return probe_from_file(str(rng.choice(recipe.probe_files)), recipe.size)
    made = PROBE_KINDS[kind](recipe.size, geometric_px, rng)
    return with_random_modes(made, int(rng.integers(recipe.modes[0], recipe.modes[1] + 1)), rng)


def _object(recipe: Recipe, shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.complex128]:
    """An object of random kind, contrast and sharpness, and as often as the recipe says with grain or out of focus."""
    kind = str(rng.choice(recipe.objects))
    pixel_m = rng.uniform(0.3, 1.0) * LARGEST_ATOM_PIXEL_M if kind == "atoms" else None
    made = (
        object_from_image(recipe.image_files, shape, rng) if kind == IMAGES else OBJECT_KINDS[kind](shape, rng, pixel_m)
    )
    absorption, phase = np.log(np.abs(made)), np.angle(made)
    blur = rng.uniform(*_BLUR_PX)
    exponent = rng.uniform(*_CONTRAST) * absorption + 1j * rng.uniform(*_CONTRAST) * phase
    if recipe.grain and rng.uniform() < recipe.grain:
        exponent = exponent + sum(
            unit * _log_uniform(rng, *_GRAIN) * smooth_field(shape, rng, rng.uniform(*_GRAIN_PX)) for unit in (1, 1j)
        )
    transmission = gaussian_filter(np.exp(exponent), blur)
    if recipe.defocused and rng.uniform() < recipe.defocused:
        transmission = _propagated(transmission, rng.uniform(-1, 1) * _FRINGE_PX**2)
    return np.asarray(transmission, dtype=np.complex128)


def _propagated(field: NDArray[np.complex128], area_px: float) -> NDArray[np.complex128]:
    """Propagate a wave by the distance whose product with the wavelength is ``area_px``, in pixels squared."""
    y, x = (np.fft.fftfreq(n) for n in field.shape)
    return np.asarray(np.fft.ifft2(np.fft.fft2(field) * np.exp(-1j * np.pi * area_px * (y[:, None] ** 2 + x**2))))


def _with_amplitude_of(
    phase: NDArray[np.complex128], amplitude: NDArray[np.complex128], rng: np.random.Generator
) -> NDArray[np.complex128]:
    """An object of several materials: the phase of one object, and the other's phase, made small, as absorption."""
    exponent = rng.uniform(0.02, 0.4) * np.angle(amplitude) + rng.uniform(0, 1) * np.log(np.abs(amplitude))
    return np.asarray(np.exp(np.minimum(exponent, 0.1) + 1j * np.angle(phase)))


def _mask(size: int, rng: np.random.Generator, width_px: tuple[int, int], *, gaps: bool) -> NDArray[np.bool_]:
    """True for valid pixels, with a cross of gaps of random place and width, or without."""
    mask = np.ones((size, size), dtype=np.bool_)
    if gaps:
        for axis in range(2):
            start, width = int(rng.integers(size // 4, 3 * size // 4)), int(rng.integers(width_px[0], width_px[1] + 1))
            np.moveaxis(mask, axis, 0)[start : start + width] = False
    return mask


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
