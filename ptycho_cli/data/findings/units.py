"""Units of positions, energy, voltage, wavelength, distance and pixels, checked against what is possible together.

Files often store micrometres, kiloelectronvolts, radians or millimetres where this program expects another unit.
Possible are photons of 50 eV to 200 keV and electrons of 2 to 1500 kV, detector pixels of 1 um to 2 mm or 3 urad to
20 mrad, distances of 1 mm to 200 m, and steps between neighbouring frames of a tenth of an object pixel to the width of
the probe. The bright disc of the frames must fit the semi-angle. If the stored numbers are impossible and exactly one
other unit of one quantity makes them possible, that unit is used and reported; a unit that the file does not state is
doubted before one that it does. If the file states all units, and no other unit makes its steps possible, they are
taken as they are: the frames do not overlap.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.position_outliers import usual_step
from ptycho_cli.data.stored_geometry import TRIED, Geometry, called
from ptycho_cli.errors import DataError

MOST_SHOWN = 3  # possibilities whose settings are shown
USUAL_STEP_PX = 0.5  # of several units that are possible, the only one with steps from here to half the probe is taken
SETTINGS = {
    "positions": "data.position_unit", "energy": "data.energy_ev", "wavelength": "data.wavelength_m",
    "distance": "data.distance_m", "pixel": "data.detector_pixel_m", "voltage": "data.voltage_kv",
    "angle": "data.angle_per_pixel_mrad", "reciprocal": "data.reciprocal_pixel_per_angstrom",
    "semi-angle": "probe.semi_angle_mrad", "radiation": "data.radiation",
}  # fmt: skip
# Ids of the findings of quantities that have no id of their name.
IDS = {
    "voltage": "energy-unit", "radiation": "energy-unit", "angle": "pixel-unit", "reciprocal": "pixel-unit",
    "semi-angle": "probe-size",
}  # fmt: skip


def with_possible_units(
    draft: Draft, geometry: Geometry, fixed: set[str], stated: set[str], probe_px: float
) -> Geometry:
    """Return the geometry in units that are possible.

    Args:
        draft: Takes the finding.
        geometry: Stored numbers and the units that names or attributes of the file say, or SI.
        fixed: Quantities whose unit or value the user gave.
        stated: Quantities whose unit the file states; other quantities are doubted first.
        probe_px: Width of the probe in object pixels, or of the frame where no probe is known.

    Raises:
        DataError: If no unit, or more than one, makes an impossible combination possible.
    """
    # A unit that is only assumed must also give usual steps, or make neighbouring frames overlap, if any unit does.
    usual = 0.5 * probe_px, USUAL_STEP_PX
    for limits in (usual, usual[:1], (probe_px,)) if geometry.guessed else ((probe_px,),):
        wrong = geometry.problems(*limits)
        cures = [(name, other) for name, other in geometry.others(fixed) if not other.problems(*limits)]
        if limits is usual:
            cures = [cure for cure in cures if cure[0] == "positions"]
        cures = [cure for cure in cures if cure[0] != "radiation"] or cures
        cures = [cure for cure in cures if cure[0] not in stated] or cures
        if len(cures) > 1:
            likely = [cure for cure in cures if USUAL_STEP_PX <= (cure[1].step_px() or 0.0) <= 0.5 * probe_px]
            cures = likely if len(likely) == 1 else cures
        if not wrong or len(cures) == 1:
            break
    if not wrong:
        _report_guess(draft, geometry, fixed, probe_px)
        return geometry
    if len(cures) == 1:
        name, cured = cures[0]
        doubt = "cannot be right" if geometry.problems(probe_px) else "are unlikely, and no unit is stated"
        verb = "are" if name == "positions" else "is"
        taken = f"The stored {called(name)} {verb} taken to be in {cured.units.get(name)}"
        if name == "radiation":
            taken = f"The scan is taken to be one of electrons{_of_voltage(cured)}"
        draft.report(
            _id(name), "fixed", f"{wrong[0][0].upper()}{wrong[0][1:]} {doubt}. {taken}{_step(cured)}.",
            setting=f"{SETTINGS[name]}={_value(name, cured)}", evidence={"step_px": float(cured.step_px() or 0.0)},
        )  # fmt: skip
        if name == "positions":
            draft.notes[:] = [note for note in draft.notes if SETTINGS[name] not in note]
        return cured
    if not cures and _all_are_stated(geometry, stated) and not geometry.problems(np.inf):
        return geometry  # frames that do not overlap, which is another finding
    possible = [{name: other} for name, other in cures]
    for known in (stated | (fixed & {"positions"}), stated, set[str]()):  # what was typed or stated is doubted last
        possible = possible or _possible(geometry, known, probe_px)
    raise DataError(
        f"{draft.raw.source}: {' and '.join(wrong[:2])} cannot be right"
        + (
            f"; possible are: {', or '.join(map(_in_words, possible))}."
            if possible
            else ", nor can other units of them."
        ),
        hint=_way_out(geometry, possible),
        finding=_id(next(iter(possible[0])) if possible else _stored(geometry)[0]),
    )


def _possible(geometry: Geometry, known: set[str], probe_px: float) -> list[dict[str, Geometry]]:
    """Other units of as few quantities as must be changed, also of those that the user gave as numbers, by quantity."""
    alone = [{name: other} for name, other in geometry.others(known) if not other.problems(probe_px)]
    if alone:
        return [others for others in alone if "radiation" not in others] or alone
    for _, group in groupby(geometry.together(known), key=len):
        found = [others for others in group if not next(iter(others.values())).problems(probe_px)]
        likely = [others for others in found if not next(iter(others.values())).problems(0.5 * probe_px, USUAL_STEP_PX)]
        if found:
            return likely or found
    return []


def _in_words(others: dict[str, Geometry]) -> str:
    return " and ".join(
        "electrons in place of X-rays" if name == "radiation" else f"{called(name)} in {other.units[name]}"
        for name, other in others.items()
    )


def _way_out(geometry: Geometry, possible: list[dict[str, Geometry]]) -> str:
    """The settings of each possibility with their values, if these are few."""
    if 1 <= len(possible) <= MOST_SHOWN:
        each = (
            " ".join(f"--set {SETTINGS[name]}={_value(name, other)}" for name, other in others.items())
            for others in possible
        )
        return f"Try {', or '.join(each)}."
    names = dict.fromkeys(name for others in possible for name in others) or _stored(geometry)
    return "Set the right values: " + ", ".join(SETTINGS[name] for name in names) + "."


def _stored(geometry: Geometry) -> list[str]:
    """Quantities that the scan has a number of."""
    return [name for name in TRIED if geometry.stored(name) is not None]


def _all_are_stated(geometry: Geometry, stated: set[str]) -> bool:
    """True if the file states the unit of every number that it has."""
    return all(name in stated for name in TRIED if geometry.stored(name) is not None)


def _report_guess(draft: Draft, geometry: Geometry, fixed: set[str], probe_px: float) -> None:
    """Report positions that are taken to be pixels for want of a unit, where that is a correction or a doubt."""
    if not geometry.guessed or geometry.units["positions"] != "px":
        return
    if geometry.object_pixel() is None:
        if 0 < geometry.step < USUAL_STEP_PX:
            draft.report(
                "positions-unit", "warning",
                f"The positions have no unit; taken to be in px, neighbouring frames are {geometry.step:.3g} px apart, "
                "which is unlikely. In metres, um or nm they need the size of an object pixel.",
                setting="data.position_unit=um", evidence={"step_px": geometry.step},
            )  # fmt: skip
        return
    metres = replace(geometry, units={**geometry.units, "positions": "m"}).step_px()
    others = [
        item.units["positions"]
        for name, item in geometry.others(fixed)
        if name == "positions" and not item.problems(probe_px)
    ]
    draft.report(
        "positions-unit", "fixed",
        f"The stored positions cannot be metres (steps of {metres:.3g} object pixels); taken to be in px (steps of "
        f"{geometry.step:.3g}).",
        setting=f"data.position_unit={others[0] if others else 'px'}", evidence={"step_px": geometry.step},
    )  # fmt: skip


def _id(name: str) -> str:
    return IDS.get(name, f"{name}-unit")


def _of_voltage(geometry: Geometry) -> str:
    voltage = geometry.value("voltage")
    return "" if voltage is None else f" of {voltage:.4g} kV"


def _step(geometry: Geometry) -> str:
    step = geometry.step_px()
    return "" if step is None else f" (steps of {step:.3g} object pixels)"


def _value(name: str, geometry: Geometry) -> str:
    if name in ("positions", "radiation"):
        return geometry.units[name] if name == "positions" else "electron"
    return f"{geometry.value(name):.6g}"


def step_of(positions: NDArray[np.float64]) -> float:
    """Usual step of stored positions, not misled by a few positions that are far off or repeated."""
    return usual_step(np.asarray(positions, dtype=np.float64))
