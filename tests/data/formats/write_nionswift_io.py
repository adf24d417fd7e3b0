"""Files of DigitalMicrograph by Nion Swift's writer, and its own .ndata: ``pip install nionswift-io nionswift``."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import small_scan as scan
from nion.data.Calibration import Calibration
from nion.data.DataAndMetadata import DataAndMetadata, DataDescriptor, new_data_and_metadata
from nionswift_plugin.DM_IO.dm3_image_utils import save_image

FOLDER = Path(__file__).parent


def atoms(order: tuple[int, ...] = (0, 1, 2, 3)) -> DataAndMetadata:
    """The raster with steps in nm and a pixel in 1/nm, and the tags of Gatan's own files."""
    step, pixel = Calibration(scale=scan.STEP_NM, units="nm"), Calibration(scale=scan.RECIPROCAL_PER_NM, units="1/nm")
    return new_data_and_metadata(
        scan.counts().astype(np.uint16).transpose(order),
        dimensional_calibrations=[(step, step, pixel, pixel)[number] for number in order],
        data_descriptor=DataDescriptor(False, 2, 2),
        metadata={
            "Microscope Info": {"Voltage": 1e3 * scan.VOLTAGE_KV, "Illumination Mode": "STEM"},
            "DigiScan": {"Rotation": 12.0},
        },
    )


if __name__ == "__main__":
    for name, version, order in (("nionswift.dm3", 3, (0, 1, 2, 3)), ("nionswift.dm4", 4, (0, 1, 2, 3)),
                                 ("nionswift_detector_first.dm4", 4, (2, 3, 0, 1))):  # fmt: skip
        with (FOLDER / name).open("wb") as file:
            save_image(atoms(order), file, version)
