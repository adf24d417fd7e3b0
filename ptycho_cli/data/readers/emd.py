"""EMD files of Berkeley (0.2) and of py4DSTEM and emdfile (1.0): 4-D arrays with a dataset ``dim0``, ... for each axis.

Source: the EMD file format, https://emdatasets.com/format, and emdfile's specification.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ptycho_cli.data.readers.calibrations import text_of
from ptycho_cli.data.readers.raster_axes import Axis, raw_from_axes
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import Source
from ptycho_cli.extend import ReaderEntry


def can_read(source: Source) -> bool:
    """True for HDF5 files with a group marked ``emd_group_type`` that holds a 4-D array."""
    return _array(source) is not None


def read(source: Source) -> RawScan:
    """Read the first 4-D array with its calibrations."""
    data = _array(source)
    group = data.parent
    first = 0 if "dim0" in group else 1  # version 0.2 counts from 1
    return raw_from_axes(source, data, [_axis(group, first + number) for number in range(4)])


def _array(source: Source) -> Any:
    """The 4-D array ``data`` of the first marked group; None if there is none."""
    if source.hdf5 is None:
        return None
    arrays = (item for path, item in source.tree.datasets.items() if path.endswith("/data") and item.ndim == 4)
    return next((item for item in arrays if "emd_group_type" in item.parent.attrs), None)


def _axis(group: Any, number: int) -> Axis:
    """Step from the first two entries; a ``dim`` of two entries stands for a whole axis."""
    name = f"dim{number}"
    if name not in group or group[name].shape is None or group[name].size < 2 or group[name].dtype.kind not in "iuf":
        return Axis(0.0, "")
    values = np.ravel(group[name][:2]).astype(float)
    return Axis(float(values[1] - values[0]), text_of(group[name].attrs.get("units", "")))


READER = ReaderEntry("EMD", "EMD files of Berkeley, py4DSTEM and emdfile with a 4-D scan.", can_read, read)
