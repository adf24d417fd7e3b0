"""Numbers that fix the size of an object pixel, in the units assumed for them, and what of them is impossible."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations, product
from typing import Literal

from ptycho_cli.data.electron_optics import beam_width_m, electron_wavelength_m, object_pixel_from_angle
from ptycho_cli.data.physical_units import HC_EV_M, LENGTHS_M, UNITS

# Units that are tried in place of an impossible one; files state more of them than anybody forgets.
TRIED: dict[str, tuple[str, ...]] = {
    "positions": tuple(LENGTHS_M),
    "voltage": ("kV", "V"),
    "energy": ("eV", "keV", "J"),
    "wavelength": ("m", "nm", "A"),
    "distance": ("m", "mm"),
    "pixel": ("m", "mm", "um"),
    "angle": ("mrad", "rad"),
    "reciprocal": ("1/A", "1/nm", "1/m"),
    "semi-angle": ("mrad", "rad"),
}
POSSIBLE = {"distance": (1e-3, 200.0), "pixel": (1e-6, 2e-3)}
POSSIBLE_XRAY = {"wavelength": (HC_EV_M / 200e3, HC_EV_M / 50)}
POSSIBLE_ELECTRON = {
    "voltage": (2.0, 1500.0), "wavelength": (6e-13, 2.8e-11), "angle": (3e-3, 20.0), "semi-angle": (0.02, 150.0),
}  # fmt: skip
ELECTRON_PIXEL_M = (2e-12, 1e-6)
SMALLEST_XRAY_PIXEL_M = 5e-10  # no X-ray scan resolves less; a smaller pixel is an electron scan's
SMALLEST_STEP_PX = 0.1
LONGEST_ELECTRON_M = 1.5e-11
LARGEST_STEP = 1.2  # relative to the width of the beam by aberrations and diffraction; further frames do not overlap
LARGEST_DISC_RATIO = 1.6  # between the bright disc of the frames and that of the semi-angle; a unit differs by ten
LARGEST_WAVELENGTH_RATIO = 1.05  # between a stored wavelength and that of the voltage
_SI = {"wavelength": "m", "distance": "m", "pixel": "m", "voltage": "kV", "angle": "mrad", "semi-angle": "mrad"}


@dataclass(frozen=True)
class Geometry:
    """Stored numbers in the units that are assumed for them; None where the file has none.

    Attributes:
        step: Distance of neighbouring positions as stored.
        units: Unit assumed for each quantity; ``positions`` may be ``px``.
        n_pixels: Pixels along one side of a frame.
        energy: Energy of photons or electrons as stored.
        wavelength: Wavelength as stored, where it does not follow from energy or voltage.
        voltage: Accelerating voltage as stored.
        distance: Distance from sample to detector as stored.
        pixel: Detector pixel as stored.
        angle: Angle of a detector pixel as stored.
        reciprocal: Reciprocal pixel as stored.
        semi_angle: Half angle of the converging beam as stored.
        object_pixel_m: Object pixel in metres, where it is known without the others.
        disc_px: Radius of the bright disc of the frames in stored detector pixels, to compare the semi-angle with.
        aberrations_m: Defocus and spherical aberration, where they are stated.
        radiation: Kind of the radiation.
        radiation_known: Whether the file or the user states it.
        guessed: Whether neither the file nor the user states the unit of the positions.
        raster: Whether the positions follow from a step, which is never in pixels.
    """

    step: float
    units: dict[str, str]
    n_pixels: int
    energy: float | None = None
    wavelength: float | None = None
    voltage: float | None = None
    distance: float | None = None
    pixel: float | None = None
    angle: float | None = None
    reciprocal: float | None = None
    semi_angle: float | None = None
    object_pixel_m: float | None = None
    disc_px: float | None = None
    aberrations_m: tuple[float, float] | None = None
    radiation: Literal["xray", "electron"] = "xray"
    radiation_known: bool = False
    guessed: bool = False
    raster: bool = False

    @property
    def known_radiation(self) -> Literal["xray", "electron"] | None:
        """Kind of the radiation; None where X-rays are only assumed."""
        return self.radiation if self.radiation_known or self.radiation == "electron" else None

    def stored(self, name: str) -> float | None:
        """A quantity as stored."""
        found: float | None = self.step if name == "positions" else getattr(self, name.replace("-", "_"))
        return found

    def value(self, name: str) -> float | None:
        """A quantity in the program's unit; wavelength and voltage follow from each other's source where they must."""
        stored = self.stored(name)
        if stored is not None:
            return stored * UNITS[name][self.units[name]]
        if name == "voltage" and self.radiation == "electron":
            energy_ev = self.value("energy")
            return None if energy_ev is None else energy_ev / 1e3
        return self._wavelength_m() if name == "wavelength" else None

    def _wavelength_m(self) -> float | None:
        """Wavelength of the voltage or the energy."""
        if self.radiation == "electron":
            voltage_kv = self.value("voltage")
            return None if voltage_kv is None else electron_wavelength_m(voltage_kv)
        energy_ev = self.value("energy")
        return None if energy_ev is None else HC_EV_M / energy_ev

    def angle_mrad(self) -> float | None:
        """Angle of a detector pixel, from whatever gives it."""
        if (angle := self.value("angle")) is not None:
            return angle
        wavelength, reciprocal = self.value("wavelength"), self.value("reciprocal")
        if reciprocal is not None and wavelength is not None:
            return 1e13 * wavelength * reciprocal
        distance, pixel = self.value("distance"), self.value("pixel")
        return None if distance is None or pixel is None else 1e3 * pixel / distance

    def object_pixel(self) -> float | None:
        """Wavelength over the angle of the whole detector, in metres; None where one is unknown."""
        if self.object_pixel_m is not None:
            return self.object_pixel_m
        if (reciprocal := self.value("reciprocal")) is not None:
            return 1e-10 / (self.n_pixels * reciprocal)
        wavelength, angle = self.value("wavelength"), self.value("angle")
        if wavelength is None:
            return None
        if angle is not None:
            return object_pixel_from_angle(wavelength, self.n_pixels, angle)
        distance, pixel = self.value("distance"), self.value("pixel")
        return None if distance is None or pixel is None else wavelength * distance / (self.n_pixels * pixel)

    def step_px(self) -> float | None:
        """Step in object pixels; None where the object pixel is unknown."""
        if self.units["positions"] == "px":
            return self.step
        size = self.object_pixel()
        return None if size is None else self.step * LENGTHS_M[self.units["positions"]] / size

    def problems(self, probe_px: float, smallest_step_px: float = SMALLEST_STEP_PX) -> list[str]:
        """Quantities that are impossible with these units, each as a clause."""
        found = []
        limits = POSSIBLE | (POSSIBLE_ELECTRON if self.radiation == "electron" else POSSIBLE_XRAY)
        for name, (low, high) in limits.items():
            value = self.value(name)
            if value is not None and not low <= value <= high:
                found.append(f"{_article(name)} of {value:.3g} {_SI[name]}{' per pixel' if name == 'angle' else ''}")
        found += [*self._contradictions(), *self._pixel_problems()]
        step, probe_px = self.step_px(), min(probe_px, self._beam_px())
        if self.units["positions"] == "px" and not (self.guessed and self.object_pixel() is not None):
            step = None  # the file says so, or nothing tells otherwise; large steps are a matter of overlap
        if step is not None and self.step > 0 and not smallest_step_px <= step <= probe_px:
            found.append(f"steps of {step:.3g} object pixels with a probe of {probe_px:.3g} pixels")
        return found

    def _beam_px(self) -> float:
        """Largest width of the probe in object pixels by aberrations and diffraction; infinite where it is unknown."""
        size, wavelength, semi_angle = self.object_pixel(), self.value("wavelength"), self.value("semi-angle")
        if self.aberrations_m is None or size is None or wavelength is None or semi_angle is None:
            return float("inf")
        beam = beam_width_m(semi_angle, *self.aberrations_m)
        return LARGEST_STEP * (beam + wavelength / (1e-3 * semi_angle)) / size

    def _contradictions(self) -> Iterator[str]:
        """Pairs of numbers that contradict each other."""
        voltage, wavelength = self.value("voltage"), self.value("wavelength")
        if self.wavelength is not None and voltage is not None and wavelength is not None:
            ratio = wavelength / electron_wavelength_m(voltage)
            if not 1 / LARGEST_WAVELENGTH_RATIO < ratio < LARGEST_WAVELENGTH_RATIO:
                yield f"a wavelength of {wavelength:.3g} m, for electrons of {voltage:.3g} kV"
        semi_angle, angle = self.value("semi-angle"), self.angle_mrad()
        if self.disc_px is not None and semi_angle is not None and angle is not None:
            ratio = semi_angle / angle / self.disc_px
            if not 1 / LARGEST_DISC_RATIO < ratio < LARGEST_DISC_RATIO:
                yield (
                    f"a semi-angle of {semi_angle:.3g} mrad with {angle:.3g} mrad per pixel ({semi_angle / angle:.3g} "
                    f"pixels), for a bright disc with a radius of {self.disc_px:.3g} pixels"
                )

    def _pixel_problems(self) -> Iterator[str]:
        """Object pixels that the radiation cannot have."""
        size = self.object_pixel()
        if size is None or self.value("wavelength") is None:
            return
        low, high = ELECTRON_PIXEL_M
        if self.radiation == "electron" and self.object_pixel_m is None and not low <= size <= high:
            yield f"an object pixel of {size:.3g} m"
        if self.radiation == "xray" and not self.radiation_known and size < SMALLEST_XRAY_PIXEL_M:
            yield f"an object pixel of {size:.3g} m for X-rays"

    def together(self, fixed: set[str]) -> Iterator[dict[str, Geometry]]:
        """The same numbers with other units of several quantities, by quantity; fewer changes first."""
        names = [name for name in TRIED if name not in fixed and self.stored(name) is not None]
        for number in range(2, len(names) + 1):
            for chosen in combinations(names, number):
                alone = [[other for name, other in self.others(fixed) if name == one] for one in chosen]
                for others in product(*alone):
                    changed = dict(zip(chosen, others, strict=True))
                    units = self.units | {name: other.units[name] for name, other in changed.items()}
                    yield {name: replace(self, units=units) for name in chosen}

    def others(self, fixed: set[str]) -> Iterator[tuple[str, Geometry]]:
        """The same numbers with another unit of one quantity, or as those of electrons."""
        for name, units in TRIED.items():
            if self.stored(name) is None or name in fixed:
                continue
            wavelength = self.value("wavelength")
            more: tuple[str, ...] = ()
            if name == "positions" and not self.raster:
                more = ("px",)
            if name == "wavelength" and self.radiation == "electron":
                more = ("pm",)
            for unit in (*units, *more):
                if unit == "A" and name == "positions" and (wavelength is None or wavelength > LONGEST_ELECTRON_M):
                    continue  # X-ray scans are not stored in angstrom
                if unit != self.units[name]:
                    yield name, replace(self, units={**self.units, name: unit})
        if self.radiation_known or (self.energy is None and self.wavelength is None):
            return
        for unit in (self.units["energy"],) if self.energy is None or "energy" in fixed else ("eV", "keV"):
            yield "radiation", replace(self, units={**self.units, "energy": unit}, radiation="electron")


def called(name: str) -> str:
    """The name of a quantity in messages."""
    return {"pixel": "detector pixel", "angle": "angle per pixel", "reciprocal": "reciprocal pixel"}.get(name, name)


def _article(name: str) -> str:
    word = "angle" if name == "angle" else called(name)
    return f"{'an' if word[0] in 'aeiou' else 'a'} {word}"
