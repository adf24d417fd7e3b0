"""The probe that a scan starts from: the file's, or that of a round aperture with defocus and spherical aberration."""

from __future__ import annotations

import numpy as np

from ptycho_cli.data import frames
from ptycho_cli.data.electron_optics import aperture_probe, beam_width_m
from ptycho_cli.data.findings.draft import Draft
from ptycho_cli.data.findings.probe_variants import stored_probe
from ptycho_cli.data.physical_units import LENGTHS_M
from ptycho_cli.data.read_options import ApertureOptions
from ptycho_cli.data.readers.raw_scan import Array
from ptycho_cli.data.stored_geometry import Geometry
from ptycho_cli.errors import DataError

LARGEST_BEAM = 1.0  # width of the beam on the object, relative to the frame
SMALLEST_DISC_PX = 1.0  # radius of the aperture in the far field


def probe_is_computed(draft: Draft) -> bool:
    """True if the user asks for the probe of an aperture, or the file has semi-angle and defocus but no probe."""
    raw = draft.raw
    stored = raw.probe is None and raw.semi_angle_mrad is not None and raw.defocus_m is not None
    return draft.options.aperture != ApertureOptions() or stored


def starting_probe(draft: Draft, geometry: Geometry, object_pixel_m: float | None, size: int) -> Array | None:
    """The probe to start from, complex128 ``(mode, size, size)`` in any unit; None where nothing gives one.

    Settings of the group ``probe`` replace the file's probe, and each the file's number of its kind. Semi-angle and
    defocus of the file are used where it has no probe.

    Args:
        draft: The draft.
        geometry: Its numbers in possible units.
        object_pixel_m: Size of an object pixel.
        size: Pixels along one side of a frame as it will be.

    Raises:
        DataError: If the file's probe is none, or the probe asked for cannot be computed.
    """
    raw = draft.raw
    if not probe_is_computed(draft):
        if raw.probe is None:
            if raw.semi_angle_mrad is not None:
                draft.notes.append("no defocus in the file: a probe is made from the frames (probe.defocus_m).")
            elif not raw.is_native:
                draft.notes.append("no probe in the file: one is made from the frames.")
            return None
        probe = stored_probe(draft, draft.counts.shape[1:])
        return probe if probe.shape[-2:] == (size, size) else frames.crop_bandwidth(probe, size)
    semi_angle, wavelength = geometry.value("semi-angle"), geometry.value("wavelength")
    missing = {
        "the semi-angle (probe.semi_angle_mrad)": semi_angle,
        "the wavelength (data.voltage_kv, or data.energy_ev for X-rays)": wavelength,
        "the size of an object pixel (data.angle_per_pixel_mrad)": object_pixel_m,
    }
    if semi_angle is None or wavelength is None or object_pixel_m is None:
        unknown = [name for name, value in missing.items() if value is None]
        if draft.options.aperture == ApertureOptions():
            draft.notes.append(f"no starting probe is computed: the file lacks {' and '.join(unknown)}.")
            return None
        raise DataError(
            f"{raw.source}: the probe of an aperture needs {' and '.join(unknown)}, which file and settings lack.",
            hint="Set it, or leave out the settings of the group probe.",
        )
    _check_disc(draft, semi_angle, wavelength, object_pixel_m, size)
    view = size * object_pixel_m
    defocus = _length(draft, "defocus", draft.options.aperture.defocus_m, raw.defocus_m, semi_angle, view)
    cs = _length(draft, "cs", draft.options.aperture.cs_m, raw.cs_m, semi_angle, view)
    if defocus is None or cs is None:
        return None
    width = beam_width_m(semi_angle, defocus, cs)
    if width > LARGEST_BEAM * view:
        raise DataError(
            f"{raw.source}: a beam with a semi-angle of {semi_angle:.4g} mrad, a defocus of {defocus:.4g} m and a "
            f"spherical aberration of {cs:.4g} m is {width:.3g} m wide on the object, but a frame is {view:.3g} m.",
            hint="Correct probe.defocus_m, probe.cs_m or data.angle_per_pixel_mrad.",
            finding="probe-size",
        )
    replaced = " in place of the file's probe" if raw.probe is not None else ""
    draft.notes.append(
        f"starting probe{replaced} computed from a semi-angle of {semi_angle:.4g} mrad, a defocus of "
        f"{1e9 * defocus:.4g} nm and a spherical aberration of {1e3 * cs:.4g} mm (probe.semi_angle_mrad, "
        "probe.defocus_m, probe.cs_m)."
    )
    return aperture_probe(size, object_pixel_m, wavelength, semi_angle, defocus, cs)[None]


def _check_disc(draft: Draft, semi_angle: float, wavelength: float, object_pixel_m: float, size: int) -> None:
    """Refuse an aperture that is larger than the detector, or smaller than its pixels."""
    radius = 1e-3 * semi_angle / wavelength * size * object_pixel_m
    if not SMALLEST_DISC_PX <= radius <= size / 2:
        raise DataError(
            f"{draft.raw.source}: a semi-angle of {semi_angle:.4g} mrad is {radius:.3g} detector pixels, but frames "
            f"are {size} pixels wide; expected {SMALLEST_DISC_PX:g} to {size // 2}.",
            hint="Correct probe.semi_angle_mrad, data.angle_per_pixel_mrad or data.voltage_kv.",
            finding="probe-size",
        )


def _length(
    draft: Draft, name: str, asked: float | None, stored: float | None, semi_angle: float, view_m: float
) -> float | None:
    """Defocus or spherical aberration in metres: the user's, else the file's in a unit that is possible, else 0.

    A number without a unit is taken to be in metres. If the beam then exceeds the frame, and exactly one other unit
    makes it fit, that unit is used and reported. With several or none, the number is no help, which is reported; the
    result is None.
    """
    if asked is not None:
        return asked
    if not stored:
        return 0.0
    unit = draft.raw.units.get(name, "m")
    number = stored / LENGTHS_M[unit]

    def beam(unit: str) -> float:
        length = number * LENGTHS_M[unit]
        return beam_width_m(semi_angle, *((length, 0.0) if name == "defocus" else (0.0, length)))

    if beam(unit) <= LARGEST_BEAM * view_m:
        return stored
    cures = [other for other in LENGTHS_M if other != unit and beam(other) <= LARGEST_BEAM * view_m]
    called = "defocus" if name == "defocus" else "spherical aberration"
    setting = f"probe.{name}_m"
    wide = f"A {called} of {stored:.3g} m makes the beam wider than a frame: impossible."
    if len(cures) != 1:
        possible = f"Possible are {' and '.join(cures)}" if cures else "No other unit makes it fit"
        draft.report(
            "probe-size", "fixed", f"{wide} {possible}, so that a probe is made from the frames.", setting=setting,
            evidence={"beam_m": beam(unit)},
        )  # fmt: skip
        return None
    length = float(np.float64(number) * LENGTHS_M[cures[0]])
    draft.report(
        "probe-size", "fixed",
        f"{wide} It is taken to be in {cures[0]}.",
        setting=f"{setting}={length:.6g}", evidence={"beam_m": beam(cures[0])},
    )  # fmt: skip
    return length
