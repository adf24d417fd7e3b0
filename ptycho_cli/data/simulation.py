"""Simulated scans with a known object: a zone plate's probe, sub-pixel positions, Poisson noise."""

from __future__ import annotations

from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from ptycho_cli.data.containers import is_hdf5
from ptycho_cli.data.memory import refuse_if_too_large
from ptycho_cli.data.object_files import is_reconstruction
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.readers.registry import PluginReaders
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulated_imperfections import Imperfections
from ptycho_cli.data.simulated_objects import OBJECT_KINDS
from ptycho_cli.data.write import read_reconstruction
from ptycho_cli.errors import DataError
from ptycho_cli.geometry import probe_diameter_px, split_positions
from ptycho_cli.physics.forward import rates

WAVELENGTH_M = 1.4e-10  # 8.9 keV
OBJECT_PIXEL_M = 1e-8
MAX_PHOTONS = 1e15  # numpy's Poisson numbers end at 9e18 in a pixel
_MARGIN_PX = 4
_CHUNK = 128  # frames propagated at once
_GOLDEN_ANGLE = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True, eq=False)
class MeasuredProbe:
    """A probe to simulate a scan with.

    Attributes:
        probe: Complex ``(mode, y, x)``, in any unit; its modes add in intensity.
        object_pixel_m: Size of an object pixel; None if unknown.
        wavelength_m: None if unknown.
        radiation: None if unknown.
    """

    probe: NDArray[np.complexfloating[Any, Any]]
    object_pixel_m: float | None = None
    wavelength_m: float | None = None
    radiation: Literal["xray", "electron"] | None = None


def read_probe(path: str | PathLike[str], plugin_readers: PluginReaders = ()) -> MeasuredProbe:
    """Read the probe of a scan, of a reconstruction of this program, or of a run's folder.

    Args:
        path: File or folder.
        plugin_readers: Readers of installed plugins.

    Raises:
        DataError: If there is none.
    """
    place = Path(path)
    if place.is_dir():
        place = place / "reconstruction.h5"
    if is_hdf5(place) and is_reconstruction(place):
        found = read_reconstruction(place)
        return MeasuredProbe(found.probe, found.object_pixel_m, found.wavelength_m)
    scan = read_scan(place, plugin_readers=plugin_readers)
    if scan.probe is None:
        raise DataError(f"{place}: no probe in the file.", hint="Name a reconstruction of this scan, or a run.")
    return MeasuredProbe(scan.probe, scan.object_pixel_m, scan.wavelength_m, scan.radiation)


def simulate(
    *,
    n_frames: int = 256,
    n_pixels: int = 64,
    photons: float = 1e6,
    object_kind: str = "siemens",
    pattern: str = "raster",
    step_px: float | None = None,
    seed: int = 0,
    measured_probe: MeasuredProbe | None = None,
    imperfections: Imperfections | None = None,
) -> Scan:
    """Simulate a far-field scan.

    The object is sampled on pixels and the probe is band-limited, so the forward model of
    ``physics.forward`` is exact: a perfect reconstruction equals the truth.

    Args:
        n_frames: Frames.
        n_pixels: Pixels along one side of a frame, even, at least 16.
        photons: Mean photons of an unattenuated frame.
        object_kind: A key of ``simulated_objects.OBJECT_KINDS``.
        pattern: Scan pattern, a key of ``PATTERNS``.
        step_px: Distance of neighbouring positions; by default a tenth of the frame, about 75 % overlap, and a quarter
            of the probe's diameter where ``measured_probe`` is given.
        seed: Key of object, positions and noise; the same seed gives the same scan.
        measured_probe: A probe of ``n_pixels``, with its pixel size and wavelength; by default that of a zone plate.
        imperfections: Of beam and detector; by default none. Object and positions do not depend on them.

    Returns:
        The scan with its true probe and object, counts with Poisson noise.

    Raises:
        DataError: If an argument is out of its range.
    """
    _check(n_frames, n_pixels, photons, object_kind, pattern, step_px)
    imperfections = imperfections or Imperfections()
    imperfections.check(n_pixels)
    known = measured_probe or MeasuredProbe(zone_plate_probe(n_pixels, photons)[None], OBJECT_PIXEL_M, WAVELENGTH_M)
    if known.probe.shape[-2:] != (n_pixels, n_pixels):
        raise DataError(f"simulate: a probe of {known.probe.shape}, but frames of {n_pixels} x {n_pixels} pixels.")
    probe = known.probe * np.sqrt(photons / np.sum(np.abs(known.probe) ** 2))
    step_px = step_px or (
        n_pixels / 10 if measured_probe is None else probe_diameter_px(probe.astype(np.complex64)) / 4
    )
    placing, making, counting = (np.random.default_rng([seed, purpose]) for purpose in (1, 2, 3))
    positions = PATTERNS[pattern](n_frames, step_px, placing)
    origin, shape = object_frame(positions, n_pixels)
    truth = OBJECT_KINDS[object_kind](shape, making, known.object_pixel_m)
    intensities = imperfections.intensities(n_frames, seed)[:, None, None]
    expected = expected_counts(truth, probe, positions, origin) * intensities + imperfections.background
    counts = counting.poisson(expected).astype(np.float32)
    imperfections.add_bad_pixels(counts, seed)
    return Scan(
        source=f"simulated {object_kind}",
        counts=counts,
        positions_px=positions,
        mask=np.ones((n_pixels, n_pixels), dtype=np.bool_),
        probe=probe.astype(np.complex64),
        object_pixel_m=known.object_pixel_m,
        wavelength_m=known.wavelength_m,
        radiation=known.radiation,
        truth=truth.astype(np.complex64),
        truth_origin_px=(float(origin[0]), float(origin[1])),
    )


def zone_plate_probe(n_pixels: int, photons: float) -> NDArray[np.complex128]:
    """Focus of a zone plate with a central stop, moved out of focus so that it fills 0.4 of the frame.

    The pupil is an annulus up to a quarter of the sampling frequency; defocus is its quadratic phase.

    Args:
        n_pixels: Pixels along one side.
        photons: ``sum |P|^2``.

    Returns:
        Probe in real space, its centre at ``n // 2``, ``(y, x)``.
    """
    frequency = np.fft.fftfreq(n_pixels)
    radius = np.hypot(frequency[:, None], frequency[None, :])
    outer, stop, soft = 0.25, 0.08, 1.0 / n_pixels
    pupil = 0.25 * (1 + np.tanh((outer - radius) / soft)) * (1 + np.tanh((radius - stop) / soft))
    # a ray at frequency q lands defocus * q from the axis; the outermost at 0.2 of the frame
    defocus = 0.2 * n_pixels / outer
    probe = np.fft.fftshift(np.fft.ifft2(pupil * np.exp(-1j * np.pi * defocus * radius**2)))
    return np.asarray(probe * np.sqrt(photons / np.sum(np.abs(probe) ** 2)), dtype=np.complex128)


def object_frame(positions_px: NDArray[np.float64], n_pixels: int) -> tuple[NDArray[np.int64], tuple[int, int]]:
    """Corner (y, x) and shape of the object that a scan sees, with a margin.

    Args:
        positions_px: Positions (y, x) of the frames, ``(frame, 2)``.
        n_pixels: Pixels along one side of a frame.
    """
    corners, _ = split_positions(positions_px, n_pixels)
    origin = corners.min(axis=0) - _MARGIN_PX
    height, width = corners.max(axis=0) - origin + n_pixels + _MARGIN_PX
    return origin, (int(height), int(width))


def expected_counts(
    truth: NDArray[np.complex128],
    probe: NDArray[np.complex128],
    positions_px: NDArray[np.float64],
    origin: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Photons of each frame without noise, ``(frame, y, x)``, zero frequency at ``n // 2``.

    Args:
        truth: The object, ``(y, x)``.
        probe: Its probe in square roots of photons, ``(mode, y, x)``.
        positions_px: Positions (y, x) of the frames, ``(frame, 2)``.
        origin: Corner (y, x) of the object, as ``object_frame`` returns it.
    """
    corners, shifts = split_positions(positions_px, probe.shape[-1])
    expected = np.empty((len(corners), *probe.shape[-2:]))
    tensors = torch.from_numpy(truth), torch.from_numpy(probe)
    for start in range(0, len(corners), _CHUNK):
        part = slice(start, start + _CHUNK)
        found = rates(*tensors, torch.from_numpy(corners[part] - origin), torch.from_numpy(shifts[part]))
        expected[part] = found.numpy()
    return expected


def _raster(n_frames: int, step_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A square grid, jittered by up to 0.3 steps against the artefacts of a regular one."""
    cells = _cells(n_frames)
    return np.asarray((cells + rng.uniform(-0.3, 0.3, cells.shape)) * step_px, dtype=np.float64)


def _grid(n_frames: int, step_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """An exactly regular square grid, row by row, as scan coils make it."""
    return np.asarray(_cells(n_frames) * step_px, dtype=np.float64)


def _cells(n_frames: int) -> NDArray[np.float64]:
    """Rows and columns of a square about 0."""
    columns = int(np.ceil(np.sqrt(n_frames)))
    return np.stack(np.divmod(np.arange(n_frames), columns), axis=1) - (columns - 1) / 2


def _fermat(n_frames: int, step_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """A Fermat spiral from a random first angle."""
    turn = np.arange(n_frames) * _GOLDEN_ANGLE + rng.uniform(0, 2 * np.pi)
    radius = step_px * np.sqrt((np.arange(n_frames) + 0.5) / np.pi)
    return np.asarray(radius[:, None] * np.stack([np.sin(turn), np.cos(turn)], axis=1), dtype=np.float64)


def _random(n_frames: int, step_px: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Independent positions in a square, as dense as a grid of the same step."""
    half = step_px * np.sqrt(n_frames) / 2
    return rng.uniform(-half, half, (n_frames, 2))


PATTERNS = {"raster": _raster, "grid": _grid, "fermat": _fermat, "random": _random}


def _check(n_frames: int, n_pixels: int, photons: float, object_kind: str, pattern: str, step_px: float | None) -> None:
    problems = {
        f"{n_frames} frames, expected at least 1": n_frames < 1,
        f"frames of {n_pixels} pixels, expected an even number, at least 16": n_pixels < 16 or n_pixels % 2 == 1,
        f"{photons:g} photons per frame, expected a number from 1 to {MAX_PHOTONS:g}": not 1 <= photons <= MAX_PHOTONS,
        f"object '{object_kind}', expected one of {', '.join(OBJECT_KINDS)}": object_kind not in OBJECT_KINDS,
        f"scan '{pattern}', expected one of {', '.join(PATTERNS)}": pattern not in PATTERNS,
        f"steps of {step_px} pixels, expected a positive number": step_px is not None and not 0 < step_px < np.inf,
    }
    for problem, is_one in problems.items():
        if is_one:
            raise DataError(f"simulate: {problem}.")
    side = (n_pixels / 10 if step_px is None else step_px) * np.sqrt(n_frames) + n_pixels
    refuse_if_too_large(
        f"simulate: {n_frames} frames of {n_pixels} x {n_pixels} over an object {side:.3g} pixels wide need",
        n_frames * n_pixels**2 * np.dtype(np.float32).itemsize + side**2 * np.dtype(np.complex128).itemsize,
        hint="Ask for fewer or smaller frames, or smaller steps.",
    )
