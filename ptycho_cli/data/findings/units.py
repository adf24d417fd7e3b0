"""Units of positions, energy, wavelength, distance and detector pixel, checked against what is possible together.

Files often store micrometres, kiloelectronvolts or millimetres where this program expects SI units. Possible are
photons of 50 eV to 200 keV, detector pixels of 1 um to 2 mm, distances of 1 mm to 200 m, and steps between neighbouring
frames of a tenth of an object pixel to the width of the probe. If the stored numbers are impossible and exactly one
other unit of one quantity makes them possible, that unit is used and reported.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.position_outliers import usual_step
from ptycho_cli.errors import DataError

HC_EV_M = 1.23984198433e-6  # Planck constant times speed of light
LENGTHS_M = {"m": 1.0, "mm": 1e-3, "um": 1e-6, "nm": 1e-9, "A": 1e-10}
UNITS: dict[str, dict[str, float]] = {
    "positions": LENGTHS_M,
    "energy": {"eV": 1.0, "keV": 1e3, "J": 1 / 1.602176634e-19},
    "wavelength": {"m": 1.0, "nm": 1e-9, "A": 1e-10},
    "distance": {"m": 1.0, "mm": 1e-3},
    "pixel": {"m": 1.0, "mm": 1e-3, "um": 1e-6},
}
POSSIBLE = {"wavelength": (HC_EV_M / 200e3, HC_EV_M / 50), "distance": (1e-3, 200.0), "pixel": (1e-6, 2e-3)}
SMALLEST_STEP_PX = 0.1
LONGEST_ELECTRON_M = 1.5e-11
SETTINGS = {
    "positions": "data.position_unit", "energy": "data.energy_ev", "wavelength": "data.wavelength_m",
    "distance": "data.distance_m", "pixel": "data.detector_pixel_m",
}  # fmt: skip


@dataclass(frozen=True)
class Geometry:
    """Stored numbers in the units that are assumed for them; None where the file has none.

    Attributes:
        step: Distance of neighbouring positions as stored.
        units: Unit assumed for each quantity; ``positions`` may be ``px``.
        energy: Photon energy as stored.
        wavelength: Wavelength as stored, where it does not follow from the energy.
        distance: Distance from sample to detector as stored.
        pixel: Detector pixel as stored.
        object_pixel_m: Object pixel in metres, where it is known without the others.
        n_pixels: Pixels along one side of a frame.
        guessed: Whether neither the file nor the user states the unit of the positions.
    """

    step: float
    units: dict[str, str]
    energy: float | None
    wavelength: float | None
    distance: float | None
    pixel: float | None
    object_pixel_m: float | None
    n_pixels: int
    guessed: bool = False

    def value(self, name: str) -> float | None:
        """A quantity in SI units; the wavelength follows from the energy where only that is known."""
        if name == "wavelength" and self.wavelength is None:
            energy = self.value("energy")
            return None if energy is None else HC_EV_M / energy
        stored: float | None = getattr(self, name)
        return None if stored is None else stored * UNITS[name][self.units[name]]

    def object_pixel(self) -> float | None:
        """Wavelength times distance over the width of the detector, in metres; None where one is unknown."""
        if self.object_pixel_m is not None:
            return self.object_pixel_m
        parts = [self.value(name) for name in ("wavelength", "distance", "pixel")]
        if any(part is None for part in parts):
            return None
        wavelength, distance, pixel = (float(part or 0) for part in parts)
        return wavelength * distance / (self.n_pixels * pixel)

    def step_px(self) -> float | None:
        """Step in object pixels; None where the object pixel is unknown."""
        if self.units["positions"] == "px":
            return self.step
        size = self.object_pixel()
        return None if size is None else self.step * LENGTHS_M[self.units["positions"]] / size

    def problems(self, probe_px: float) -> list[str]:
        """Quantities that are impossible with these units, each as a clause."""
        found = []
        for name, (low, high) in POSSIBLE.items():
            value = self.value(name)
            if value is not None and not low <= value <= high:
                found.append(f"a {'detector ' if name == 'pixel' else ''}{name} of {value:.3g} m")
        step = self.step_px()
        if self.units["positions"] == "px" and not (self.guessed and self.object_pixel() is not None):
            step = None  # the file says so, or nothing tells otherwise; large steps are a matter of overlap
        if step is not None and self.step > 0 and not SMALLEST_STEP_PX <= step <= probe_px:
            found.append(f"steps of {step:.3g} object pixels, for a probe of {probe_px:.3g}")
        return found

    def others(self, fixed: set[str]) -> Iterator[tuple[str, Geometry]]:
        """The same numbers with another unit of one quantity."""
        for name, units in UNITS.items():
            known = name == "positions" or getattr(self, name) is not None
            if not known or name in fixed:
                continue
            wavelength = self.value("wavelength")
            for unit in (*units, "px") if name == "positions" else units:
                if unit == "A" and name == "positions" and (wavelength is None or wavelength > LONGEST_ELECTRON_M):
                    continue  # X-ray scans are not stored in angstrom
                if unit != self.units[name]:
                    yield name, replace(self, units={**self.units, name: unit})


def with_possible_units(draft: Draft, geometry: Geometry, fixed: set[str], probe_px: float) -> Geometry:
    """Return the geometry in units that are possible.

    Args:
        draft: Takes the finding.
        geometry: Stored numbers and the units that names or attributes of the file say, or SI.
        fixed: Quantities whose unit or value the user gave.
        probe_px: Width of the probe in object pixels, or of the frame where no probe is known.

    Raises:
        DataError: If no unit, or more than one, makes an impossible combination possible.
    """
    # A unit that is only assumed must also make neighbouring frames overlap, if any unit does.
    for largest_step in (0.5 * probe_px, probe_px) if geometry.guessed else (probe_px,):
        wrong = geometry.problems(largest_step)
        cures = [(name, other) for name, other in geometry.others(fixed) if not other.problems(largest_step)]
        if not wrong or len(cures) == 1:
            break
    if not wrong:
        _report_guess(draft, geometry)
        return geometry
    if len(cures) == 1:
        name, cured = cures[0]
        unit = cured.units[name]
        draft.report(
            f"{name}-unit", "fixed",
            f"{wrong[0][0].upper()}{wrong[0][1:]}: impossible. The stored {_called(name)} is taken to be in "
            f"{unit}{_step(cured)}.",
            setting=f"{SETTINGS[name]}={_value(name, cured)}", evidence={"step_px": float(cured.step_px() or 0.0)},
        )  # fmt: skip
        return cured
    listed = ", ".join(f"{_called(name)} in {other.units[name]}" for name, other in cures)
    raise DataError(
        f"{draft.raw.source}: {wrong[0]}{'; ' + wrong[1] if len(wrong) > 1 else ''}, which is impossible"
        + (f"; possible are: {listed}." if cures else "; no other unit of one quantity makes it possible."),
        hint="Say what the file does not: " + ", ".join(f"{SETTINGS[name]}" for name in _asked(geometry, cures)) + ".",
        finding=f"{_asked(geometry, cures)[0]}-unit",
    )


def _report_guess(draft: Draft, geometry: Geometry) -> None:
    """Report positions that are taken to be pixels although the rest of the file is in metres."""
    if not geometry.guessed or geometry.units["positions"] != "px" or geometry.object_pixel() is None:
        return
    metres = replace(geometry, units={**geometry.units, "positions": "m"}).step_px()
    draft.report(
        "positions-unit", "fixed",
        f"The stored positions cannot be metres (steps of {metres:.3g} object pixels); taken to be in px (steps of "
        f"{geometry.step:.3g}).",
        setting="data.position_unit=nm", evidence={"step_px": geometry.step},
    )  # fmt: skip


def _asked(geometry: Geometry, cures: list[tuple[str, Geometry]]) -> list[str]:
    names = [name for name, _ in cures] or [n for n in UNITS if n == "positions" or getattr(geometry, n) is not None]
    return list(dict.fromkeys(names))


def _called(name: str) -> str:
    return "detector pixel" if name == "pixel" else name


def _step(geometry: Geometry) -> str:
    step = geometry.step_px()
    return "" if step is None else f" (steps of {step:.3g} object pixels)"


def _value(name: str, geometry: Geometry) -> str:
    return geometry.units[name] if name == "positions" else f"{geometry.value(name):.6g}"


def step_of(positions: NDArray[np.float64]) -> float:
    """Usual step of stored positions, not misled by a few positions that are far off or repeated."""
    return usual_step(np.asarray(positions, dtype=np.float64))
