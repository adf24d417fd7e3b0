"""The reader ``NanoMAX``: scan files of the NanoMAX beamline at MAX IV."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ptycho_cli.extend import DataError, ReaderEntry, hookimpl

if TYPE_CHECKING:
    from ptycho_cli.data.readers.raw_scan import RawScan
    from ptycho_cli.data.readers.source import Source

ptycho_plugin_api = 1

MEASUREMENT = "entry/measurement"
AXES = (f"{MEASUREMENT}/pseudo/y", f"{MEASUREMENT}/pseudo/x")
DETECTORS = ("eiger4m", "eiger1m", "eiger500k", "eiger", "merlin", "pilatus", "pilatus1m", "andor")
ENERGIES_EV = ("entry/snapshot/energy", "entry/snapshots/pre_scan/energy")


def can_read(source: Source) -> bool:
    """True for HDF5 files with interferometer positions and the frames of a known detector."""
    file = source.hdf5
    return file is not None and all(axis in file for axis in AXES) and _frames(file) is not None


def read(source: Source) -> RawScan:
    """Read frames, positions, photon energy, and the mask that the detector writes into the frames.

    Raises:
        DataError: If the frames are not ``(frame, y, x)``, or the two axes differ in length.

    Source: the loaders ``NanomaxContrast`` of ptypy and ``NanoMax`` of Ptychodus.
    """
    import numpy as np

    from ptycho_cli.data.readers.raw_scan import RawScan, as_array, positive_number, wavelength_from_energy

    file = source.hdf5
    frames = _frames(file)
    counts = as_array(frames, source.max_frames)
    raw = RawScan(source.name, frames.name.lstrip("/"), counts)
    if counts.ndim != 3:
        raise DataError(
            f"{source.name}: '{raw.counts_name}' has shape {frames.shape}, expected (frame, y, x).",
            hint="Convert the scan to a layout of docs/data.md.",
        )
    y, x = (np.ravel(file[axis][()]) for axis in AXES)  # fly scans store one row for each line
    if len(y) != len(x):
        raise DataError(f"{source.name}: {len(y)} positions y, but {len(x)} positions x; expected the same number.")
    raw.positions_name = f"{MEASUREMENT}/pseudo/y and x"
    raw.positions = 1e-6 * np.stack([y, x], axis=1)[: source.max_frames]
    raw.position_order, raw.position_unit = "yx", "m"
    raw.notes.append("position of the stage taken as the probe's position on the object (data.flip_positions).")
    energy = next((file[path][()] for path in ENERGIES_EV if path in file), None)
    if energy is not None and (energy_ev := positive_number(energy, "energy", raw.notes)) is not None:
        raw.wavelength_m = wavelength_from_energy(energy_ev)
    marked = _marked(counts)
    if marked.any():
        raw.mask, raw.mask_marks = marked, "bad"
    return raw


def _frames(file: Any) -> Any:
    """The frames of the first detector that the file has; None if it has none."""
    paths = (f"{MEASUREMENT}/{name}/frames" for name in DETECTORS)
    return next((file[path] for path in paths if path in file), None)


def _marked(counts: Any) -> Any:
    """Pixels that the detector marks as unusable, bool ``(y, x)``: the largest unsigned value, or a negative one."""
    import numpy as np

    if np.issubdtype(counts.dtype, np.unsignedinteger):
        return (counts == np.iinfo(counts.dtype).max).any(axis=0)
    return (counts < 0).any(axis=0)


NANOMAX = ReaderEntry("NanoMAX", "Scan files of the NanoMAX beamline at MAX IV.", can_read, read)


@hookimpl
def ptycho_readers() -> Iterable[ReaderEntry]:
    """Offer ``NanoMAX``."""
    return (NANOMAX,)
