"""Arrays and numbers that the user names, in place of those that a reader found."""

from __future__ import annotations

from ptycho_cli.data.physical_units import UNITS, in_base_unit
from ptycho_cli.data.readers.calibrations import text_of, unit_in_attributes
from ptycho_cli.data.readers.common_names import Names, add_positions, named_positions
from ptycho_cli.data.readers.raw_scan import RawScan, loaded, positive_number
from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError

# Fields of ``RawScan`` that a path may name -> quantity.
NUMBERS = {
    "energy_ev": "energy", "wavelength_m": "wavelength", "voltage_kv": "voltage", "distance_m": "distance",
    "detector_pixel_m": "pixel", "angle_per_pixel_mrad": "angle", "reciprocal_pixel_per_angstrom": "reciprocal",
    "object_pixel_m": "object pixel",
}  # fmt: skip
_BEAM = ("energy_ev", "wavelength_m", "voltage_kv")
_ANGLES, _DETECTOR = ("angle_per_pixel_mrad", "reciprocal_pixel_per_angstrom"), ("distance_m", "detector_pixel_m")


def replace_named(raw: RawScan, source: Source) -> None:
    """Replace what a reader found by the arrays and numbers that the user names.

    Raises:
        DataError: If one is not there, or is no number.
    """
    options = source.options
    if options.positions:
        raw.position_order, raw.position_unit, raw.scan_step = None, None, None
        names = None if ":" in options.positions else Names(source.arrays)
        add_positions(raw, named_positions(source, options.positions, raw.scan_shape), options.max_frames, names)
    if options.probe:
        raw.probe = loaded(source.named(options.probe)[1])
    if options.mask:
        raw.mask, raw.mask_marks = loaded(source.named(options.mask)[1]), None
    found = {name: _number(raw, source, name, place) for name, place in options.number_paths}
    for group, replaced in ((_BEAM, _BEAM), (_ANGLES, (*_ANGLES, *_DETECTOR)), (_DETECTOR, _ANGLES)):
        if any(name in found for name in group):
            for name in replaced:
                setattr(raw, name, None)
    for name, value in found.items():
        setattr(raw, name, value)


def _number(raw: RawScan, source: Source, name: str, place: str) -> float:
    """The number at a place, in the unit of the field; its own unit is noted in ``raw.units``."""
    path, array = source.named(place)
    value = positive_number(loaded(array), path, []) if array.size == 1 else None
    if value is None:
        shown = text_of(loaded(array)) if array.size == 1 else f"{array.shape} {array.dtype}"
        raise DataError(
            f"{source.name}: data.{name} names '{path}', which is {shown}, expected one positive number.",
            hint="Name another array, or give the number.",
        )
    quantity, unit = NUMBERS[name], unit_in_attributes(array)
    raw.units.pop(quantity, None)
    if unit not in UNITS[quantity]:
        return value
    raw.units[quantity] = unit
    return in_base_unit(value, quantity, unit)
