"""Numbers of an electron microscope: a probe to simulate scans with, and a file as such microscopes store them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from os import PathLike

import numpy as np

from ptycho_cli.data.count_blocks import count_type
from ptycho_cli.data.electron_optics import (
    aperture_probe,
    beam_width_m,
    electron_wavelength_m,
    object_pixel_from_angle,
)
from ptycho_cli.data.new_files import new_hdf5
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import MeasuredProbe
from ptycho_cli.errors import DataError

ANGSTROM_M = 1e-10


@dataclass(frozen=True)
class Microscope:
    """An electron microscope and the raster of its scan; the defaults are those of ``simulate --preset electron``.

    Attributes:
        voltage_kv: Accelerating voltage.
        semi_angle_mrad: Half angle of the converging beam.
        defocus_m: Distance from the object to the crossover behind it; negative before it.
        cs_m: Coefficient of spherical aberration.
        angle_per_pixel_mrad: Scattering angle of one detector pixel.
        step_m: Step of the raster.
    """

    voltage_kv: float = 80.0
    semi_angle_mrad: float = 30.0
    defocus_m: float = 1e-8
    cs_m: float = 0.0
    angle_per_pixel_mrad: float = 3.25
    step_m: float = 0.5e-10

    @property
    def wavelength_m(self) -> float:
        """Wavelength of the electrons."""
        return electron_wavelength_m(self.voltage_kv)

    def object_pixel_m(self, n_pixels: int) -> float:
        """Size of an object pixel for frames of ``n_pixels``."""
        return object_pixel_from_angle(self.wavelength_m, n_pixels, self.angle_per_pixel_mrad)

    def step_px(self, n_pixels: int) -> float:
        """Step of the raster in object pixels."""
        return self.step_m / self.object_pixel_m(n_pixels)

    def with_step(self, step_px: float, n_pixels: int) -> Microscope:
        """The microscope with a raster of another step, in object pixels."""
        return replace(self, step_m=step_px * self.object_pixel_m(n_pixels))

    def measured_probe(self, n_pixels: int) -> MeasuredProbe:
        """The probe for ``simulate``.

        Raises:
            DataError: If voltage or angles are not positive, the aperture exceeds the detector, or the beam the frame.
        """
        positive = (self.voltage_kv, self.semi_angle_mrad, self.angle_per_pixel_mrad)
        if not all(0 < value < np.inf for value in positive) or not np.isfinite((self.defocus_m, self.cs_m)).all():
            raise DataError("simulate: voltage and angles must be positive numbers, defocus and cs finite ones.")
        radius = self.semi_angle_mrad / self.angle_per_pixel_mrad
        if not 1 <= radius <= n_pixels / 2:
            raise DataError(
                f"simulate: a semi-angle of {self.semi_angle_mrad:g} mrad is {radius:.3g} detector pixels of "
                f"{self.angle_per_pixel_mrad:g} mrad, expected 1 to {n_pixels // 2}.",
                hint="Change the semi-angle, the angle per pixel, or the size of the frames.",
            )
        size, width = self.object_pixel_m(n_pixels), beam_width_m(self.semi_angle_mrad, self.defocus_m, self.cs_m)
        if width > n_pixels * size:
            raise DataError(
                f"simulate: the beam is {width:.3g} m wide on the object, but a frame is only {n_pixels * size:.3g} m.",
                hint="Use less defocus or spherical aberration, or larger frames.",
            )
        angles = (self.semi_angle_mrad, self.defocus_m, self.cs_m)
        probe = aperture_probe(n_pixels, size, self.wavelength_m, *angles)[None]
        return MeasuredProbe(probe, size, self.wavelength_m, "electron")


def write_electron_scan(path: str | PathLike[str], scan: Scan, microscope: Microscope, *, force: bool = False) -> None:
    """Write a simulated scan as a 4-D raster with the calibrations that microscopes store, each with its unit.

    The file has no positions and no probe: these follow from the raster's step, and from voltage, angles and
    aberrations. It holds the known object, which training never uses.

    Args:
        path: HDF5 file to write.
        scan: A scan on a regular raster, row by row.
        microscope: The microscope that it was simulated with.
        force: Overwrite the file.

    Raises:
        DataError: If the frames do not fill a square raster.
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    side = round(np.sqrt(scan.n_frames))
    if side**2 != scan.n_frames:
        raise DataError(f"simulate: {scan.n_frames} frames do not fill a square raster.", hint=f"Use {side**2} frames.")
    counts = np.asarray(scan.counts, dtype=count_type(scan)).reshape(side, side, scan.n_pixels, scan.n_pixels)
    numbers = {
        "voltage": (microscope.voltage_kv, "kV"),
        "semi_angle": (microscope.semi_angle_mrad, "mrad"),
        "angle_per_pixel": (microscope.angle_per_pixel_mrad, "mrad"),
        "defocus": (microscope.defocus_m / ANGSTROM_M, "angstrom"),
        "spherical_aberration": (1e3 * microscope.cs_m, "mm"),
        "scan_step": (microscope.step_m / ANGSTROM_M, "angstrom"),
    }
    with new_hdf5(path, force=force) as file:
        chunks = (1, 1, *counts.shape[2:])
        file.create_dataset("data", data=counts, chunks=chunks, compression="gzip", compression_opts=1, shuffle=True)
        file["data"].attrs["units"] = "electrons"
        file.attrs["radiation"] = "electron"
        for name, (value, unit) in numbers.items():
            file[f"calibration/{name}"] = value
            file[f"calibration/{name}"].attrs["units"] = unit
        if scan.truth is not None and scan.truth_origin_px is not None:
            file["object_true"] = scan.truth
            file.attrs["truth_origin_px"] = np.array(scan.truth_origin_px) - scan.positions_px[0]
