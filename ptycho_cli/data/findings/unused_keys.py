"""Numbers in the file that look physical and that nothing uses, each with the setting that would use it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.finding import About, listed

ABOUT = {
    "key-unused": About(
        "a number that looks physical and is not used", "reported, with the setting that would use it",
        "A single number or text has the name of a voltage, an energy, a wavelength, a rotation, a defocus, a gain, a "
        "distance, a pixel size, an angle or a unit, and neither reader nor user says as much.",
    )
}  # fmt: skip


@dataclass(frozen=True)
class Quantity:
    """A physical quantity that a file may hold.

    Attributes:
        name: For messages.
        words: Pattern for the last part of a key's name, in lower case.
        setting: Setting that uses it; None where none does.
        fields: Fields of ``RawScan``, one of which is set where the file already says this or something like it.
        trivial: Values that change nothing.
    """

    name: str
    words: str
    setting: str | None
    fields: tuple[str, ...] = ()
    trivial: tuple[float, ...] = ()


_BEAM = ("energy_ev", "wavelength_m", "voltage_kv")
_PIXEL = ("detector_pixel_m", "object_pixel_m", "angle_per_pixel_mrad", "reciprocal_pixel_per_angstrom")
# The first that matches a key counts.
QUANTITIES = (
    Quantity("a voltage", r"volt|^(kv|ht)$|_kv$|accelerat", "data.voltage_kv", _BEAM),
    Quantity("an energy", r"energy", "data.energy_ev", _BEAM),
    Quantity("a wavelength", r"wavelength|^lambda", "data.wavelength_m", _BEAM),
    Quantity("a rotation", r"rotation|(^|_)rot(_|$)", "data.scan_rotation_deg", trivial=(0.0,)),
    Quantity("a defocus", r"defocus", "probe.defocus_m", ("defocus_m",), (0.0,)),
    Quantity("a convergence angle", r"semi_?angle|converge", "probe.semi_angle_mrad", ("semi_angle_mrad",)),
    Quantity("a spherical aberration", r"spherical|^(cs|c3|c30)(_|$)", "probe.cs_m", ("cs_m",), (0.0,)),
    Quantity("a gain", r"gain|adu|per_photon", "data.counts_per_photon", trivial=(0.0, 1.0)),
    Quantity("a distance", r"distance|camera_?length", "data.distance_m", ("distance_m", *_PIXEL[1:])),
    Quantity("a pixel size", r"pixel_?size|psize|pixelsize", "data.detector_pixel_m", _PIXEL),
    Quantity("an angle", r"angle|theta|tilt", None, ("semi_angle_mrad", "angle_per_pixel_mrad"), (0.0,)),
    Quantity("a unit", r"units?$", "data.position_unit", ("position_unit", "units")),
)


def check(draft: Draft) -> None:
    """Name keys of the file that look physical and are not used."""
    for quantity in QUANTITIES:
        keys = dict(_keys(draft, quantity))
        if not keys or _is_known(draft, quantity):
            continue
        shown = listed(tuple(f"'{key}' = {_text(value)}" for key, value in keys.items()))
        setting = None
        if quantity.setting is not None and len(keys) == 1:
            setting = f"{quantity.setting}={_text(next(iter(keys.values())))}"
        use = "no setting uses it" if quantity.setting is None else f"{quantity.setting} would use it"
        draft.report(
            "key-unused", "note",
            f"The file holds {quantity.name} that is not used ({shown}); {use}, in that setting's unit.",
            setting=setting or quantity.setting,
        )  # fmt: skip


def _keys(draft: Draft, quantity: Quantity) -> Iterator[tuple[str, float | str]]:
    for key, value in draft.raw.single_values.items():
        name = re.sub(r"[^a-z0-9]+", "_", key.rsplit("/", 1)[-1].lower())
        first = next((item for item in QUANTITIES if re.search(item.words, name)), None)
        is_text = quantity.setting == "data.position_unit"
        if first is quantity and isinstance(value, str) == is_text and value not in quantity.trivial:
            yield key, value


def _is_known(draft: Draft, quantity: Quantity) -> bool:
    """True if the file's reader or the user already says this."""
    group, _, name = (quantity.setting or "").partition(".")
    given = getattr(draft.options.aperture if group == "probe" else draft.options, name, None)
    return given not in (None, 0.0, "auto") or any(getattr(draft.raw, field, None) for field in quantity.fields)


def _text(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.6g}"
