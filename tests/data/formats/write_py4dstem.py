"""A data cube of py4DSTEM with its calibration: ``pip install py4dstem``."""

from __future__ import annotations

from pathlib import Path

import py4DSTEM
import small_scan as scan

if __name__ == "__main__":
    cube = py4DSTEM.DataCube(data=scan.counts(), name="datacube")
    cube.calibration.set_R_pixel_size(10 * scan.STEP_NM)
    cube.calibration.set_R_pixel_units("A")
    cube.calibration.set_Q_pixel_size(scan.RECIPROCAL_PER_NM / 10)
    cube.calibration.set_Q_pixel_units("A^-1")
    py4DSTEM.save(str(Path(__file__).with_name("py4dstem_cube.h5")), cube, mode="o")
