"""A reconstruction to export, and its arrays as images."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli import __version__
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.errors import DataError
from ptycho_cli.geometry import covered_area

Real = NDArray[np.float32]
_GOOD_COVERAGE = 0.5  # of the median: the rim is noisy and must not set the contrast


@dataclass(frozen=True, eq=False)
class RealImage:
    """Images of one quantity.

    Attributes:
        name: Quantity, also the name of its file.
        unit: Unit of the values, for their metadata.
        values: float32 ``(y, x)``, or ``(mode, y, x)``.
        shown: Pixels whose values set the contrast of a picture, bool ``(y, x)``.
    """

    name: str
    unit: str
    values: Real
    shown: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Exported:
    """A reconstruction to export.

    Attributes:
        result: The reconstruction.
        name: Its name: the stem of its file.
        target: File or folder that will hold it; a format of several suffixes may look at this one.
        unwrap: Unwrap the phase of the object.
    """

    result: Reconstruction
    name: str
    target: Path
    unwrap: bool = False

    @cached_property
    def covered(self) -> NDArray[np.bool_]:
        """Pixels of the object with at least a tenth of the median coverage, ``(y, x)``."""
        return covered_area(self.result.coverage) & np.isfinite(self.result.object)

    @cached_property
    def well_covered(self) -> NDArray[np.bool_]:
        """Pixels of the object with at least half of the median coverage of the covered ones, ``(y, x)``."""
        coverage = self.result.coverage
        typical = float(np.median(coverage[self.covered])) if self.covered.any() else 0.0
        return self.covered & (coverage >= _GOOD_COVERAGE * typical)

    @cached_property
    def object_phase(self) -> Real:
        """Phase of the object in radians, ``(y, x)``: within -pi and pi, or unwrapped, and then 0 where not covered."""
        phase = np.angle(self.result.object).astype(np.float32)
        return unwrapped(phase, self.covered) if self.unwrap else phase

    def images(self) -> Iterator[RealImage]:
        """Amplitude and phase of object and probe, and the coverage."""
        result, whole = self.result, np.ones(self.result.probe.shape[-2:], dtype=np.bool_)
        yield RealImage("object_amplitude", "transmission", np.abs(result.object).astype(np.float32), self.well_covered)
        yield RealImage("object_phase", "rad", self.object_phase, self.well_covered)
        yield RealImage("probe_amplitude", "sqrt(photons)", np.abs(result.probe).astype(np.float32), whole)
        yield RealImage("probe_phase", "rad", np.angle(result.probe).astype(np.float32), whole)
        yield RealImage("coverage", "photons", result.coverage.astype(np.float32), result.coverage > 0)

    def values(self) -> dict[str, Any]:
        """Numbers of the reconstruction by name; those that are unknown are left out."""
        result = self.result
        found = {
            "object_pixel_m": result.object_pixel_m,
            "object_origin_px": result.object_origin_px,
            "wavelength_m": result.wavelength_m,
            "distance_m": result.distance_m,
        }
        return {name: value for name, value in found.items() if value is not None}

    def pixel_m(self, format: str) -> float:
        """Size of an object pixel in metres, for a format that holds lengths only.

        Raises:
            DataError: If it is unknown.
        """
        if self.result.object_pixel_m is None:
            raise DataError(
                f"{self.name}: the size of an object pixel is unknown, but {format} files hold positions in metres.",
                hint="Reconstruct with --set data.object_pixel_m=..., or export to npz, tiff or png.",
            )
        return self.result.object_pixel_m


def notes_of(exported: Exported, image: RealImage) -> dict[str, str]:
    """Quantity, unit, pixel size and place of an image, by name, for its metadata."""
    notes = {"Title": f"{exported.name}: {image.name}", "Software": f"ptycho-cli {__version__}", "values": image.unit}
    for name, value in exported.values().items():
        if name != "object_origin_px" or image.values.shape == exported.covered.shape:
            notes[name] = str(value)
    if image.name == "object_phase":
        notes["unwrapped"] = "yes" if exported.unwrap else "no"
    return notes


def write_positions(exported: Exported, folder: Path) -> None:
    """Write ``positions.csv``, for formats that hold images only: a row for each frame, with its number in the file.

    Columns ``scan_*`` are the scan's coordinates; ``object_*_px`` count pixels of the exported object from 0.
    """
    result = exported.result
    number = np.arange(len(result.positions_px)) if result.stored_frames is None else result.stored_frames
    columns = {"frame": number}
    for axis, column, origin in zip("yx", result.positions_px.T, result.object_origin_px, strict=True):
        columns[f"scan_{axis}_px"], columns[f"object_{axis}_px"] = column, column - origin
        if result.object_pixel_m is not None:
            columns[f"scan_{axis}_m"] = column * result.object_pixel_m
    formats = ["%d", *["%.10g"] * (len(columns) - 1)]
    table = np.column_stack(list(columns.values()))
    np.savetxt(folder / "positions.csv", table, fmt=formats, delimiter=",", header=",".join(columns), comments="")


def unwrapped(phase: Real, covered: NDArray[np.bool_]) -> Real:
    """Unwrap a phase where it is covered; 0 elsewhere.

    Args:
        phase: In radians, ``(y, x)``.
        covered: Pixels that are unwrapped, bool ``(y, x)``.

    Source: Herraez et al., Appl. Opt. 41, 7437 (2002), doi:10.1364/AO.41.007437, in scikit-image.
    """
    from skimage.restoration import unwrap_phase

    if not covered.any():
        return np.zeros_like(phase)
    found = unwrap_phase(np.ma.masked_array(phase, ~covered), rng=0)  # type: ignore[no-untyped-call]
    return np.asarray(np.ma.filled(found, 0.0), dtype=np.float32)
