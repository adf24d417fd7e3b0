"""Numbers beside the frames, in any group of a file: voltage, angles, scan step, aberrations, and their units."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import suppress
from typing import Any, NamedTuple

import h5py
import numpy as np

from ptycho_cli.data.electron_optics import electron_wavelength_m
from ptycho_cli.data.physical_units import UNITS, in_base_unit, unit_from
from ptycho_cli.data.readers.raw_scan import LARGEST, SMALLEST, RawScan, loaded, number_at
from ptycho_cli.data.readers.source import Source, attributes_of
from ptycho_cli.data.stored_geometry import POSSIBLE
from ptycho_cli.errors import DataError

# Quantity -> names without unit, in snake case; "step_angstrom" and "ScanStep" are names of the step as well.
NAMES: dict[str, tuple[str, ...]] = {
    "energy": ("energy", "photon_energy", "beam_energy", "incident_energy", "incident_photon_energy", "mono_energy"),
    "wavelength": ("wavelength", "lambda", "incident_wavelength", "photon_wavelength", "beam_wavelength"),
    "distance": (
        "distance", "detector_distance", "camera_length", "sample_detector_distance", "sample_to_detector_distance",
        "detector_object_distance",
    ),
    "pixel": ("detector_pixel", "detector_pixel_size", "x_pixel_size", "pixel_size_x", "ccd_pixel", "ccd_pixel_size"),
    "voltage": (
        "voltage", "acceleration_voltage", "accelerating_voltage", "accel_voltage", "beam_voltage", "high_voltage",
        "high_tension", "ht", "kv",
    ),
    "semi-angle": (
        "semi_angle", "semiangle", "convergence_semi_angle", "convergence_semiangle", "convergence_angle", "conv_angle",
        "probe_semi_angle", "probe_semiangle", "semiangle_cutoff", "aperture_semi_angle", "conv_semi_angle",
        "convergence_half_angle", "half_angle", "convergence", "alpha",
    ),
    "defocus": ("defocus", "probe_defocus"),
    "cs": ("cs", "c3", "c30", "spherical_aberration"),
    "angle": (
        "angle_per_pixel", "angular_sampling", "angle_pixel_size", "detector_angle_per_pixel", "pixel",
        "pixel_size",
    ),
    "reciprocal": (
        "reciprocal_pixel", "reciprocal_pixel_size", "q_pixel_size", "q_pixel", "k_pixel_size", "k_pixel", "dk",
        "diffraction_pixel_size", "reciprocal_sampling",
    ),
    "positions": (
        "scan_step", "step_size", "scan_step_size", "raster_step", "pixel_step", "r_pixel_size", "scan_pixel_size",
        "step",
    ),
}  # fmt: skip
# Names that mean other things as well, with the units in which they mean the quantity above.
_ANGLES = ("mrad", "rad", "1/A", "1/nm")
_ONLY_IN = {
    "alpha": ("mrad",), "convergence": ("mrad", "rad"), "step": ("m", "mm", "um", "nm", "A"), "pixel": _ANGLES,
    "pixel_size": _ANGLES,
}  # fmt: skip
_SHAPES = ("scan_shape", "raster_shape")
_RADIATION = ("radiation", "probe_type", "particle", "beam_type")
_PER_PIXEL = re.compile(r"(mrad|rad)_per_(?:px|pixel)")
_SUFFIX = re.compile(
    r"_(?:(?:in|in_)?(kv|kev|ev|v|mrad|rad|deg|a|angstrom|ang|pm|nm|um|mm|m)|((?:1_)?(?:per|inv|inverse)_?(?:a|angstrom|nm|m)))$"
)
_OTHER_VOLTAGE = re.compile(r"detector|sensor|bias|motor|stage|pump|supply|gun|extract|monitor")
SAME_BEAM = 0.05  # relative difference of a voltage from the energy of its electrons
MOST_VALUES = 4  # values of a number or a pair
_UNITS = ("units", "unit", "Units")


class Number(NamedTuple):
    """A number of a file as stored.

    Attributes:
        path: Its place in the file.
        value: The values, flat; texts too.
        unit: Unit that an attribute states; None where none does.
    """

    path: str
    value: Any
    unit: str | None


def text_of(value: Any) -> str:
    """A text that may be stored as bytes or in an array; the first of several."""
    flat = np.ravel(np.asarray(value))
    first = flat[0] if flat.size else ""
    return first.decode("utf-8", "replace") if isinstance(first, bytes) else str(first)


def unit_in_attributes(item: Any) -> str | None:
    """The unit that the attribute ``units`` of a dataset states; None for an array without attributes."""
    attributes = getattr(item, "attrs", {})
    return next((unit_from(text_of(attributes[key])) for key in _UNITS if key in attributes), None)


def position_unit_in_attributes(item: Any) -> Any:
    """The unit of positions that the attribute ``units`` of a dataset states; None without a length or ``px``."""
    unit = unit_in_attributes(item)
    return unit if unit == "px" or unit in UNITS["positions"] else None


def quantity_at(source: Source, raw: RawScan, quantity: str, path: str, usual: str) -> float | None:
    """The positive number at a path of an HDF5 file in the program's unit; None where there is none.

    Args:
        source: The file.
        raw: Takes a note where the file holds something else, and the unit.
        quantity: A quantity of ``physical_units.UNITS``.
        path: The path.
        usual: Unit of the layout, if no attribute of the dataset states one.
    """
    value = number_at(source, path, raw.notes)
    if value is None:
        return None
    unit = unit_in_attributes(source.dataset(path))
    unit = unit if unit in UNITS[quantity] else usual
    raw.units[quantity] = unit
    return in_base_unit(value, quantity, unit)


def split_name(name: str) -> tuple[str, str | None]:
    """The quantity's name in snake case and the unit at its end: ``scanStep_nm`` gives ``scan_step`` and ``nm``."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])", "_", name).replace("-", "_").replace(" ", "_").casefold()
    if (found := _PER_PIXEL.fullmatch(snake)) is not None:
        return "angle_per_pixel", found[1]
    found = _SUFFIX.search(snake)
    if found is None or found.start() == 0:
        return snake, None
    ending = (found[1] or found[2]).removeprefix("1_").replace("_", "")
    unit = unit_from(ending.replace("inverse", "inv").replace("invang", "perang"))
    return (snake, None) if unit is None else (snake[: found.start()], unit)


def add_calibrations(raw: RawScan, source: Source) -> None:
    """Fill in what a file says about an electron microscope and a raster, where the reader has not done so.

    Args:
        raw: The scan; a unit that the file states is noted in ``raw.units``.
        source: The file, HDF5 or NPZ.
    """
    numbers: dict[str, Number] = {}
    every: dict[str, Number] = {}
    for number in _numbers(source):
        base, unit = split_name(number.path.rsplit("/", 1)[-1].rsplit("@", 1)[-1])
        number = number if number.unit else number._replace(unit=unit)
        every.setdefault(base, number)
        if base not in _ONLY_IN or (number.unit and unit_from(number.unit) in _ONLY_IN[base]):
            numbers.setdefault(base, number)
    for quantity, names in NAMES.items():
        found = [numbers[name] for name in names if name in numbers]
        if quantity == "voltage":
            found = [number for number in found if not _OTHER_VOLTAGE.search(number.path.casefold())]
        if found and not _is_known(raw, quantity):
            _add(raw, quantity, found[0])
    if raw.detector_pixel_m is None and raw.distance_m is not None and "pixel_size" in every:
        _add_pixel_size(raw, every["pixel_size"])
    for name in _RADIATION:
        text = text_of(numbers[name].value).casefold() if name in numbers else ""
        if "electron" in text or "x-ray" in text or "xray" in text:
            raw.radiation = "electron" if "electron" in text else "xray"
    _drop_other_voltage(raw)
    shape = next((numbers[name].value for name in _SHAPES if name in numbers), None)
    if raw.scan_shape is None and shape is not None and np.size(shape) == 2 and np.min(shape) >= 1:
        raw.scan_shape = (int(shape[0]), int(shape[1]))


def _as_number(stored: Any) -> Any:
    """A number that is stored as text."""
    if stored.dtype.kind not in "SUO":
        return stored
    try:
        return np.array([float(text_of(stored))])
    except ValueError:
        return stored


def _add_pixel_size(raw: RawScan, number: Number) -> None:
    """Take a bare ``pixel_size`` for the detector's if it can be one: an object's is far smaller."""
    value, unit = _as_number(np.ravel(number.value)), None if number.unit is None else unit_from(number.unit)
    if value.size < 1 or value.dtype.kind not in "iuf" or (unit or "m") not in UNITS["pixel"]:
        return
    low, high = POSSIBLE["pixel"]
    if low <= in_base_unit(float(value[0]), "pixel", unit or "m") <= high:
        _add(raw, "pixel", number)


def _drop_other_voltage(raw: RawScan) -> None:
    """Ignore a voltage that has nothing to do with the energy or wavelength of the beam, such as a power supply's."""
    if raw.voltage_kv is None or raw.radiation == "electron" or (raw.energy_ev is None and raw.wavelength_m is None):
        return
    for voltage_kv in (1e-3 * raw.voltage_kv, raw.voltage_kv, 1e3 * raw.voltage_kv):
        wavelength_m, energy_ev = electron_wavelength_m(voltage_kv), 1e3 * voltage_kv
        if raw.wavelength_m is not None and abs(raw.wavelength_m / wavelength_m - 1) < SAME_BEAM:
            return
        if raw.energy_ev is not None and abs(raw.energy_ev / energy_ev - 1) < SAME_BEAM:
            return
    raw.notes.append(f"a voltage of {raw.voltage_kv:g} kV does not fit the beam's energy, and is ignored.")
    raw.voltage_kv = None


def _is_known(raw: RawScan, quantity: str) -> bool:
    """True if the reader has found a quantity already, or one that gives it."""
    if quantity == "positions":
        return raw.positions is not None or raw.scan_step is not None
    if quantity in ("energy", "wavelength"):
        return raw.energy_ev is not None or raw.wavelength_m is not None
    return getattr(raw, _FIELDS[quantity]) is not None


def _add(raw: RawScan, quantity: str, number: Number) -> None:
    """Add one number in the program's unit."""
    stored = _as_number(np.asarray(number.value))
    if not np.issubdtype(stored.dtype, np.number) or not np.isfinite(stored).all():
        raw.notes.append(f"'{number.path}' is {text_of(stored)}, not a number, and is ignored.")
        return
    if np.abs(stored).max() > LARGEST or (quantity not in ("defocus", "cs") and stored.min() < SMALLEST):
        raw.notes.append(f"'{number.path}' is {stored.min():g}, not a positive number, and is ignored.")
        return
    unit = None if number.unit is None else unit_from(number.unit)
    if quantity in ("reciprocal", "angle") and unit is not None:
        quantity = "angle" if unit in UNITS["angle"] else "reciprocal"
    if number.unit is not None and unit not in UNITS[quantity]:
        raw.notes.append(f"the unit '{number.unit}' of '{number.path}' is no unit of its kind, and is ignored.")
        unit = None
    if unit is not None:
        raw.units[quantity] = unit
    values = [float(value) if unit is None else in_base_unit(float(value), quantity, unit) for value in stored]
    if quantity == "positions":
        raw.scan_step = (values[0], values[-1])
    else:
        setattr(raw, _FIELDS[quantity], values[0])


_FIELDS = {
    "energy": "energy_ev", "wavelength": "wavelength_m", "distance": "distance_m", "pixel": "detector_pixel_m",
    "voltage": "voltage_kv", "semi-angle": "semi_angle_mrad", "defocus": "defocus_m", "cs": "cs_m",
    "angle": "angle_per_pixel_mrad", "reciprocal": "reciprocal_pixel_per_angstrom",
}  # fmt: skip


def _numbers(source: Source) -> Iterator[Number]:
    """All numbers and short texts of a file; those of the root come first."""
    if source.hdf5 is not None:
        found = [number for path, item in source.tree.objects.items() for number in _of_item(path, item)]
        yield from sorted(found, key=lambda number: number.path.count("/"))
    elif source.npz is not None:
        for name, shape in source.npz.shapes.items():
            if int(np.prod(shape)) <= MOST_VALUES:
                yield Number(name, np.ravel(source.npz[name]), None)


def _of_item(path: str, item: Any) -> Iterator[Number]:
    """A small dataset and the attributes of an HDF5 object; ``step_units`` states the unit of ``step``."""
    attributes = {key: value for key, value in attributes_of(item).items() if _is_plain(np.asarray(value).dtype)}

    def unit(*names: str) -> str | None:
        return next((text_of(attributes[name]) for name in names if name in attributes), None)

    if (
        isinstance(item, h5py.Dataset)
        and item.shape is not None
        and 0 < item.size <= MOST_VALUES
        and _is_plain(item.dtype)
    ):
        with suppress(DataError):  # it may never be needed
            yield Number(path, np.ravel(loaded(item)), unit(*_UNITS))
    for key, value in attributes.items():
        if 0 < np.size(value) <= MOST_VALUES and key.casefold() not in ("units", "unit"):
            yield Number(f"{path}@{key}" if path else key, np.ravel(value), unit(f"{key}_units", f"{key}_unit"))


def _is_plain(dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iufSUO"
