"""Units of the numbers in scan files: names, factors, and the unit that an attribute or a name states."""

from __future__ import annotations

from ptycho_cli.data.electron_optics import HC_EV_M as HC_EV_M

LENGTHS_M = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "A": 1e-10}
_ANGLES_MRAD = {"mrad": 1.0, "rad": 1e3, "deg": 1e3 * 0.017453292519943295}
# Quantity -> unit -> factor to the first unit of the quantity, in which the program keeps it.
UNITS: dict[str, dict[str, float]] = {
    "positions": LENGTHS_M,
    "voltage": {"kV": 1.0, "V": 1e-3, "keV": 1.0, "eV": 1e-3},
    "energy": {"eV": 1.0, "keV": 1e3, "J": 1 / 1.602176634e-19, "kV": 1e3, "V": 1.0},
    "wavelength": {"m": 1.0, "nm": 1e-9, "A": 1e-10, "pm": 1e-12},
    "distance": {"m": 1.0, "mm": 1e-3, "cm": 1e-2},
    "pixel": {"m": 1.0, "mm": 1e-3, "um": 1e-6},
    "object pixel": {"m": 1.0, "um": 1e-6, "nm": 1e-9, "A": 1e-10, "pm": 1e-12},
    "angle": _ANGLES_MRAD,
    "reciprocal": {"1/A": 1.0, "1/nm": 0.1, "1/m": 1e-10},
    "semi-angle": _ANGLES_MRAD,
    "defocus": LENGTHS_M,
    "cs": LENGTHS_M,
    "rotation": {"deg": 1.0, "rad": 57.29577951308232},
}
# Units that are used where a file states them, but never assumed: others mean the same, or they are rare.
STATED_ONLY = {"keV": "voltage", "eV": "voltage", "kV": "energy", "V": "energy", "pm": "wavelength", "cm": "distance"}
_SPELLINGS = {
    "A": ("a", "å", "ang", "angs", "angstrom", "angstroms", "ångström"),
    "pm": ("pm", "picometer", "picometre", "picometers", "picometres"),
    "nm": ("nm", "nanometer", "nanometre", "nanometers", "nanometres"),
    "um": ("um", "micron", "microns", "micrometer", "micrometre", "micrometers", "micrometres"),
    "mm": ("mm", "millimeter", "millimetre", "millimeters", "millimetres"),
    "cm": ("cm", "centimeter", "centimetre"),
    "m": ("m", "meter", "metre", "meters", "metres"),
    "px": ("px", "pix", "pixel", "pixels"),
    "kV": ("kv", "kilovolt", "kilovolts"),
    "V": ("v", "volt", "volts"),
    "keV": ("kev", "kiloelectronvolt"),
    "eV": ("ev", "electronvolt"),
    "J": ("j", "joule", "joules"),
    "mrad": ("mrad", "milliradian", "milliradians", "mrad/px", "mrad/pixel"),
    "rad": ("rad", "radian", "radians", "rad/px", "rad/pixel"),
    "deg": ("deg", "degree", "degrees", "°"),
    "1/A": ("1/a", "a^-1", "a-1", "a**-1", "a⁻¹", "1/å", "å^-1", "å-1", "å⁻¹", "1/angstrom", "angstrom^-1",
            "inverseangstrom", "perangstrom", "pera", "inva", "1/ang"),
    "1/nm": ("1/nm", "nm^-1", "nm-1", "nm**-1", "nm⁻¹", "pernm", "invnm", "1/nanometer"),
    "1/m": ("1/m", "m^-1", "m-1", "m⁻¹", "perm", "invm"),
}  # fmt: skip
_UNIT_OF = {spelling: unit for unit, spellings in _SPELLINGS.items() for spelling in spellings}


def unit_from(text: object) -> str | None:
    """The unit that a text such as ``Angstrom``, ``[n_m]`` or ``A^-1`` means; None if it is not known."""
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    bare = str(text).strip().strip("[]()").replace("_", "").replace(" ", "").replace("µ", "u").replace("μ", "u")
    return _UNIT_OF.get(bare.casefold().replace("\u212b", "å"))


def in_base_unit(value: float, quantity: str, unit: str) -> float:
    """Convert a number to the unit in which the program keeps a quantity."""
    return value * UNITS[quantity][unit]


def length_text(metres: float) -> str:
    """A length with three digits and a unit that suits it: ``75 µm``."""
    for unit, factor in (("m", 1.0), ("mm", 1e3), ("µm", 1e6), ("nm", 1e9)):
        if metres * factor >= 1:
            return f"{metres * factor:.3g} {unit}"
    return f"{metres * 1e10:.3g} Å"
