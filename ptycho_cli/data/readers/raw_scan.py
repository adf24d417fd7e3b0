"""Result of a reader: arrays as stored, and what the file says about them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import h5py
import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.memory import refuse_if_too_large
from ptycho_cli.data.physical_units import HC_EV_M
from ptycho_cli.data.readers.parts import refuse_missing_parts
from ptycho_cli.data.stored_frames import stored_frames

if TYPE_CHECKING:
    from ptycho_cli.data.readers.source import Source

Array = NDArray[Any]
SMALLEST, LARGEST = 1e-50, 1e50  # no quantity has such a number in any unit
_COMPLEX = (("r", "i"), ("real", "imag"), ("re", "im"))
# Memory for statistics, of each frame and of each pixel of a frame, where frames stay in a file.
FRAME_BYTES, PIXEL_BYTES = 2**12, 2**7


@dataclass(eq=False)
class RawScan:
    """A scan as stored. Leave None what the file does not say; ``data.interpret`` decides it.

    Attributes:
        source: Path of the file, for messages.
        counts_name: Place of the frames in the file, for messages.
        counts: Frames as stored, ``(..., frame, y, x)``: an array, or a stack of frames that stay in the file.
        positions_name: Place of the positions in the file.
        positions: Positions as stored, ``(frame, 2)`` or ``(frame, 3)``; the third column is ignored.
        position_order: Order of the first two columns, where layout or name states it.
        position_unit: Object pixels or a length, where layout, name or attribute states it.
        scan_shape: Rows and columns of a raster whose frames run along its rows.
        scan_step: Steps (y, x) of that raster; metres if ``units`` has their unit, else as stored.
        zero_frequency: Place of the zero frequency in a frame, where the layout states it.
        stored: Counts or amplitudes, where layout or name states it.
        probe: Probe as stored, ``(..., mode, y, x)``, in any unit.
        mask: Mask of the detector, ``(y, x)`` or one for each frame, nonzero for ``mask_marks``.
        mask_marks: Meaning of a nonzero mask pixel; None where the layout does not state it.
        truth: Known object, complex ``(y, x)``.
        truth_origin_px: Scan coordinate (y, x) of the truth's pixel (0, 0).
        wavelength_m: Wavelength.
        energy_ev: Energy of the photons or electrons as stored, taken to be in electronvolts.
        radiation: X-rays or electrons, where layout or file states it.
        voltage_kv: Accelerating voltage of electrons.
        distance_m: Distance from sample to detector.
        detector_pixel_m: Size of a detector pixel.
        angle_per_pixel_mrad: Scattering angle of one detector pixel.
        reciprocal_pixel_per_angstrom: Spatial frequency of one detector pixel, in cycles.
        object_pixel_m: Size of an object pixel.
        semi_angle_mrad: Half angle of the beam that converges on the object.
        defocus_m: Distance from the object to the crossover behind it, in metres or as stored.
        cs_m: Coefficient of spherical aberration, in metres or as stored.
        units: Units that the file itself states, by quantity of ``physical_units.UNITS``; such numbers are converted.
        near_field: Reason why this is not a far-field scan, one clause; None if nothing says so.
        is_native: True for a file that this program wrote: only bad pixels are searched for, nothing else is guessed.
        found: Settings that name the frames and positions that were found by name or shape.
        positions_hint: The way out where the file has no positions.
        single_values: Numbers and texts of the file that stand alone, by name; the registry adds those of HDF5 and NPZ.
        notes: Assumptions that the reader made, one line each, naming the setting that changes it.
        layout: Name of the reader, and the plugin that offers it; set by the registry.
    """

    source: str
    counts_name: str
    counts: Array | FrameStack
    positions_name: str = "positions"
    positions: Array | None = None
    position_order: Literal["yx", "xy"] | None = None
    position_unit: Literal["px", "m", "mm", "um", "nm", "A"] | None = None
    scan_shape: tuple[int, int] | None = None
    scan_step: tuple[float, float] | None = None
    zero_frequency: Literal["center", "corner"] | None = None
    stored: Literal["counts", "amplitude"] | None = None
    probe: Array | None = None
    mask: Array | None = None
    mask_marks: Literal["good", "bad"] | None = None
    truth: Array | None = None
    truth_origin_px: tuple[float, float] | None = None
    wavelength_m: float | None = None
    energy_ev: float | None = None
    radiation: Literal["xray", "electron"] | None = None
    voltage_kv: float | None = None
    distance_m: float | None = None
    detector_pixel_m: float | None = None
    angle_per_pixel_mrad: float | None = None
    reciprocal_pixel_per_angstrom: float | None = None
    object_pixel_m: float | None = None
    semi_angle_mrad: float | None = None
    defocus_m: float | None = None
    cs_m: float | None = None
    units: dict[str, str] = field(default_factory=dict)
    near_field: str | None = None
    is_native: bool = False
    found: dict[str, str] = field(default_factory=dict)
    positions_hint: str | None = None
    single_values: dict[str, float | str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    layout: str = ""


def loaded(stored: Any, max_frames: int | None = None, index: tuple[Any, ...] = ()) -> Array:
    """Load an array or HDF5 dataset, or a part of it; every reader loads values through this function.

    Args:
        stored: Array or open dataset.
        max_frames: Entries along the first axis that ``index`` asks for; None for all.
        index: The part to load; by default all.

    Raises:
        DataError: If a part of it is missing, it cannot be read safely, or it does not fit into memory.
    """
    where = "an array"
    if isinstance(stored, h5py.Dataset):
        refuse_missing_parts(stored, max_frames)
        where = f"{stored.file.filename}: '{stored.name.lstrip('/')}'"
    if stored.shape:
        share = 1.0 if max_frames is None or stored.shape[0] in (0, 1) else min(max_frames / stored.shape[0], 1.0)
        refuse_if_too_large(
            f"{where} has {' x '.join(map(str, stored.shape))} values of type {stored.dtype}, which need",
            share * math.prod(stored.shape) * stored.dtype.itemsize,
            hint="Read a part of it with data.max_frames, or check that the file is intact.",
        )
    return _complex(np.asarray(stored[index]))


def _complex(array: Array) -> Array:
    """Complex numbers that are stored as pairs named in another way than h5py writes them, such as MATLAB's."""
    names = array.dtype.names
    if names is None or tuple(name.casefold() for name in names) not in _COMPLEX:
        return array
    return np.asarray(array[names[0]] + 1j * array[names[1]])


def as_array(stored: Any, max_frames: int | None = None) -> Array:
    """Load an array or HDF5 dataset whose first axis counts frames.

    Axes of length 1 before those of a frame are dropped: ``(1, frame, y, x)`` and ``(frame, 1, y, x)`` read as
    ``(frame, y, x)``.

    Args:
        stored: Array or open dataset: frames, or a table with one row for each frame.
        max_frames: Load only the first frames; None for all.

    Raises:
        DataError: As ``loaded``.
    """
    shape = tuple(stored.shape)
    is_table = bool(shape) and shape[-1] in (2, 3)  # with two or three columns, not a stack of frames
    leading = 0
    while len(shape) - leading > (2 if is_table else 3) and shape[leading] == 1:
        leading += 1
    index = (0,) * leading + (slice(None, max_frames),) if shape else ()
    array = loaded(stored, max_frames if leading == 0 else None, index)
    return array[:, 0] if array.ndim == 4 and array.shape[1] == 1 else array


def frames_at(stored: Any, max_frames: int | None = None) -> Array | FrameStack:
    """Frames of an array or dataset ``(frame, y, x)``, as ``as_array`` drops axes; they stay in an HDF5 or .npy file.

    Args:
        stored: Array or open dataset.
        max_frames: Use only the first frames; None for all.

    Raises:
        DataError: As ``loaded``.
    """
    shape = tuple(stored.shape)
    leading = 0
    while len(shape) - leading > 3 and shape[leading] == 1:
        leading += 1
    if len(shape) - leading != 3 or shape[-1] <= 3 or stored.dtype.kind not in "iuf":
        return as_array(stored, max_frames)
    found = _in_file(stored, max_frames, leading, raster=False)
    return as_array(stored, max_frames) if found is None else found


def _in_file(stored: Any, max_frames: int | None, leading: int, *, raster: bool) -> FrameStack | None:
    """The frames of a dataset or mapped array that stay there; None for an array in memory."""
    found = stored_frames(stored, max_frames, leading, raster)
    if found is not None and isinstance(stored, h5py.Dataset):
        entries = -(-found.shape[0] // stored.shape[1]) if raster else max_frames
        refuse_missing_parts(stored, entries if leading == 0 else None)
    if found is not None:
        number, height, width = found.shape
        refuse_if_too_large(
            f"{found.parts[0].path}: '{found.parts[0].name.lstrip('/')}' has {number} frames of {height} x {width}, "
            "whose statistics need",
            FRAME_BYTES * number + PIXEL_BYTES * height * width,
            hint="Read a part of it with data.max_frames, or check that the file is intact.",
        )
    return None if found is None else FrameStack(found)


def as_frames(stored: Any, max_frames: int | None = None) -> tuple[Array | FrameStack, tuple[int, int] | None]:
    """Frames ``(frame, y, x)``, or a raster of them ``(row, column, y, x)``, which is made a stack.

    Args:
        stored: Array or open dataset.
        max_frames: Load only the first frames; None for all.

    Returns:
        The stack, and rows and columns of the raster; None for a stack.

    Raises:
        DataError: As ``loaded``.
    """
    shape = tuple(stored.shape)
    long = [axis for axis, size in enumerate(shape[:-2]) if size > 1]
    if len(shape) < 4 or len(long) != 2:
        found = frames_at(stored, max_frames)
        return found.view(np.uint8) if isinstance(found, np.ndarray) and found.dtype == np.bool_ else found, None
    height, width = (shape[axis] for axis in long)
    if len(shape) == 4 and stored.dtype.kind in "iuf":
        stack = _in_file(stored, max_frames, 0, raster=True)
        if stack is not None:
            return stack, (height, width)
    rows = height if max_frames is None else -(-max_frames // width)
    index = tuple(slice(rows) if axis == long[0] else slice(None) for axis in range(len(shape)))
    frames = loaded(stored, rows if long[0] == 0 else None, index).reshape(-1, *shape[-2:])[:max_frames]
    return frames, (height, width)


def positive_number(stored: Any, name: str, notes: list[str]) -> float | None:
    """Convert a length, energy or the like; None and a note where the file holds something else in its place."""
    value = np.ravel(np.asarray(stored))
    if value.size and (np.issubdtype(value.dtype, np.integer) or np.issubdtype(value.dtype, np.floating)):
        number = float(value[0])
        if SMALLEST < number < LARGEST:
            return number
    shown = str(value[0]) if value.size else "empty"
    notes.append(f"'{name}' is {shown}, not a positive number, and is ignored.")
    return None


def number_at(source: Source, path: str, notes: list[str]) -> float | None:
    """The positive number at a path of an HDF5 file; None where there is none, as ``positive_number`` notes it."""
    stored = source.dataset(path)
    return None if stored is None else positive_number(loaded(stored), path, notes)


def wavelength_from_energy(energy_ev: float) -> float:
    """Convert a photon energy in electronvolts to a wavelength in metres: ``h c / E``."""
    return HC_EV_M / energy_ev
