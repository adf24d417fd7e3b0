"""Files of Nion Swift: an exported scan, the file of a project, and .ndata: ``pip install nionswift``."""

from __future__ import annotations

import datetime
from pathlib import Path

import small_scan as scan
from nion.data.Calibration import Calibration
from nion.data.DataAndMetadata import DataDescriptor, new_data_and_metadata
from nion.swift.model.DataItem import new_data_item
from nion.swift.model.HDF5Handler import HDF5Handler, HDFImportExportDriver
from nion.swift.model.NDataHandler import NDataHandler

FOLDER = Path(__file__).parent


class Exported:
    """An item of the library as the driver for exports asks for it."""

    def __init__(self, item: object) -> None:
        self.data_items = [item]

    def write_to_dict(self) -> dict[str, str]:
        """The display of the item; empty."""
        return {}


if __name__ == "__main__":
    step, angle = Calibration(scale=scan.STEP_NM, units="nm"), Calibration(scale=1e-3 * scan.ANGLE_MRAD, units="rad")
    xdata = new_data_and_metadata(
        scan.counts(),
        dimensional_calibrations=[step, step, angle, angle],
        data_descriptor=DataDescriptor(False, 2, 2),
        metadata={
            "instrument": {
                "high_tension": 1e3 * scan.VOLTAGE_KV,
                "ImageScanned": {"probe_ha": 1e-3 * scan.SEMI_ANGLE_MRAD},
            }
        },
    )
    item = new_data_item(xdata)
    HDFImportExportDriver().write_display_item(FOLDER / "nionswift_export.h5", [Exported(item)])
    for handler in (HDF5Handler(FOLDER / "nionswift_project.h5"), NDataHandler(FOLDER / "nionswift.ndata")):
        handler.write_data(scan.counts(), datetime.datetime(2026, 1, 1))
        handler.write_properties(item.write_to_dict(), datetime.datetime(2026, 1, 1))
        handler.close()
