"""Files by HyperSpy and RosettaSciIO: ``pip install hyperspy "zarr<3"``."""

from __future__ import annotations

from pathlib import Path

import hyperspy.api as hs
import small_scan as scan

FOLDER = Path(__file__).parent


def atoms(pixel: float = scan.RECIPROCAL_PER_NM, pixel_unit: str = "1/nm") -> hs.signals.Signal2D:
    """The raster with its calibrations and the microscope."""
    signal = hs.signals.Signal2D(scan.counts())
    calibrations = ((scan.STEP_NM, "nm"),) * 2 + ((pixel, pixel_unit),) * 2
    for axis, (scale, unit) in zip(signal.axes_manager._axes, calibrations, strict=True):
        axis.scale, axis.units = scale, unit
    signal.metadata.set_item("Acquisition_instrument.TEM.beam_energy", scan.VOLTAGE_KV)
    signal.metadata.set_item("Acquisition_instrument.TEM.convergence_angle", scan.SEMI_ANGLE_MRAD)
    signal.metadata.General.title = "atoms"
    return signal


if __name__ == "__main__":
    atoms().save(FOLDER / "hyperspy_small.hspy", overwrite=True)
    atoms().save(FOLDER / "hyperspy.zspy", overwrite=True)
    stack = hs.signals.Signal2D(scan.counts().reshape(-1, scan.SIZE, scan.SIZE))
    stack.save(FOLDER / "hyperspy.tif", overwrite=True)
    stack.axes_manager[0].units, stack.axes_manager[0].scale = "s", 0.001
    stack.metadata.set_item("Acquisition_instrument.TEM.beam_energy", scan.VOLTAGE_KV)
    stack.save(FOLDER / "hyperspy_000.tvips", overwrite=True)
    blockfile = atoms(pixel=0.075, pixel_unit="cm")
    length_mm = 0.75 / (1e-3 * scan.ANGLE_MRAD)
    header = {"Beam_energy": int(1e3 * scan.VOLTAGE_KV), "Camera_length": round(10 * length_mm), "Scan_rotation": 1200}
    blockfile.original_metadata.add_dictionary({"blockfile_header": {**header, "Note": ""}})
    blockfile.save(FOLDER / "hyperspy.blo", overwrite=True)
