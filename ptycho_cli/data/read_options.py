"""How to understand a scan file, where the file itself does not say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from ptycho_cli.data.position_transform import PositionTransform
from ptycho_cli.finding_ids import Treatment


@dataclass(frozen=True)
class ApertureOptions:
    """A starting probe in place of the file's. Every field is the setting ``probe.*`` of the same name.

    Attributes:
        semi_angle_mrad: Half angle of the beam that converges on the object.
        defocus_m: Distance from the object to the crossover behind it; negative before it.
        cs_m: Coefficient of spherical aberration.
    """

    semi_angle_mrad: float | None = None
    defocus_m: float | None = None
    cs_m: float | None = None


@dataclass(frozen=True)
class ReadOptions:
    """How to read a scan file. Every field but ``aperture`` and ``number_paths`` is the setting ``data.*`` of the
    same name, where a number may be given by its path.

    ``auto`` and None leave a question to the file, and then to ``data.interpret``, which writes an assumption down.

    Attributes:
        frames: Path of the frames in the file, or ``FILE:PATH`` in another.
        positions: Path of the positions likewise, of their columns, ``PATH_Y,PATH_X``, or of a file that holds them.
        probe: Path of the probe likewise.
        mask: Path of the detector's mask likewise.
        allow_links: Follow links and virtual datasets to files outside the folder of the scan file.
        zero_frequency: Place of the zero frequency in the stored frames.
        position_unit: Unit of the stored positions: object pixels or a length.
        position_order: Order of the two columns of stored positions.
        flip_positions: Position axes whose sign is reversed.
        stored: Quantity in the stored frames; amplitudes are squared, logarithms of counts plus one undone.
        object_pixel_m: Size of an object pixel in metres, in place of the file's.
        mask_bad_pixels: Search the frames for hot and dead detector pixels, and mask them.
        max_frames: Read only this many frames, the first ones.
        exclude_frames: Numbers and ranges of frames to leave out, such as ``("3", "10-20")``.
        reject_bad_frames: Leave out blank, lost, foreign and repeated frames, and those far from all others.
        negative: Set negative readout noise to 0, or refuse it.
        dark_offset: Detector value without light, which is subtracted; None looks for one.
        counts_per_photon: Detector counts of one photon; None looks for a common factor.
        center: Place of the zero frequency in the stored frames, ``y,x`` in pixels from 0.
        descan: Keep motion of the pattern with the positions, or move the frames back by whole pixels.
        crop_px: Side of the square around the zero frequency that is used; None for all of a square frame.
        bin: Add up this many detector pixels along each axis.
        scan_rotation_deg: Rotation of the stored positions about their mean, from the y axis towards the x axis.
        position_scale: Factor on the stored positions, for a pixel size that is wrong.
        scan_asymmetry: Relative difference of the factors on y and x, as of a tilted sample.
        scan_shear_deg: Angle by which the y axis of the positions leans towards the x axis, as drift makes it.
        position_delay: Number of the position of a frame minus the frame's.
        position_delay_from: First frame that the delay applies to.
        position_sequence: Sequence of the stored positions: as the frames, in reverse, or with every second row of a
            raster reversed.
        frame_transform: Transform of each stored frame; a stored probe is used as it is.
        radiation: X-rays or electrons.
        voltage_kv: Accelerating voltage of electrons, in place of the file's.
        energy_ev: Energy of the photons or electrons, in place of the file's.
        wavelength_m: Wavelength, in place of the file's.
        distance_m: Distance from sample to detector, in place of the file's.
        detector_pixel_m: Size of a detector pixel, in place of the file's.
        angle_per_pixel_mrad: Scattering angle of one stored detector pixel.
        reciprocal_pixel_per_angstrom: Spatial frequency of one stored detector pixel, in cycles.
        scan_step_m: Step of a regular raster, in place of the positions in the file.
        scan_shape: Rows and columns of a raster, ``rows,columns``; None takes the shape of a 4-D array, or a square.
        aperture: A starting probe in place of the file's.
        number_paths: Names of fields of numbers, each with the path of its number in the file, or ``FILE:PATH``.
        memory_budget_gib: Memory for the frames of a scan; ``auto`` is half of what is free when the program starts.
        findings: Ids of findings with the severity to report each with; ``ignore`` leaves the fault as it is.
    """

    frames: str | None = None
    positions: str | None = None
    probe: str | None = None
    mask: str | None = None
    allow_links: bool = False
    zero_frequency: Literal["auto", "center", "corner"] = "auto"
    position_unit: Literal["auto", "px", "m", "mm", "um", "nm", "A"] = "auto"
    position_order: Literal["auto", "yx", "xy"] = "auto"
    flip_positions: Literal["none", "y", "x", "yx"] = "none"
    stored: Literal["auto", "counts", "amplitude", "log", "log10"] = "auto"
    object_pixel_m: float | None = None
    mask_bad_pixels: bool = True
    max_frames: int | None = None
    exclude_frames: tuple[str, ...] = ()
    reject_bad_frames: Literal["auto", "never"] = "auto"
    negative: Literal["clip", "refuse"] = "clip"
    dark_offset: float | None = None
    counts_per_photon: float | None = None
    center: str | None = None
    descan: Literal["keep", "remove"] = "keep"
    crop_px: int | None = None
    bin: int = 1
    scan_rotation_deg: float = 0.0
    position_scale: float = 1.0
    scan_asymmetry: float = 0.0
    scan_shear_deg: float = 0.0
    position_delay: int = 0
    position_delay_from: int = 0
    position_sequence: Literal["stored", "reverse", "snake"] = "stored"
    frame_transform: Literal[
        "none", "transpose", "flip_y", "flip_x", "rotate_90", "rotate_180", "rotate_270", "anti_transpose"
    ] = "none"
    radiation: Literal["auto", "xray", "electron"] = "auto"
    voltage_kv: float | None = None
    energy_ev: float | None = None
    wavelength_m: float | None = None
    distance_m: float | None = None
    detector_pixel_m: float | None = None
    angle_per_pixel_mrad: float | None = None
    reciprocal_pixel_per_angstrom: float | None = None
    scan_step_m: float | None = None
    scan_shape: str | None = None
    memory_budget_gib: float | Literal["auto"] = "auto"
    aperture: ApertureOptions = ApertureOptions()
    number_paths: tuple[tuple[str, str], ...] = ()
    findings: tuple[tuple[str, Treatment], ...] = ()

    @property
    def position_transform(self) -> PositionTransform:
        """The transformation of the stored positions, after flips."""
        return PositionTransform(self.position_scale, self.scan_asymmetry, self.scan_rotation_deg, self.scan_shear_deg)


def recorded_options(config: Mapping[str, Any]) -> ReadOptions:
    """How a scan was read, from the ``config`` of a run record; what it lacks is as by default."""
    recorded, probe = config.get("data", {}), config.get("probe", {})
    names = [field.name for field in fields(ReadOptions) if field.name != "memory_budget_gib"]
    return ReadOptions(
        **{name: recorded[name] for name in names if name in recorded}, aperture=ApertureOptions(**probe)
    )
