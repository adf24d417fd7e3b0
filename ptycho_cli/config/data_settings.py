"""Settings of the group ``data``: scans to read, and how to interpret them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ptycho_cli.config.settings_group import Group, NumberOrPath, setting
from ptycho_cli.finding_ids import Treatment


class DataSettings(Group):
    """Scans to read, and how to interpret them."""

    paths: tuple[str, ...] = setting((), "Scan files to train on.", flag="DATA")
    validation_paths: tuple[str, ...] = setting(
        (), "Scan files to validate on, in place of held-out frames.", flag="--val-data"
    )
    simulate: str | None = setting(
        None,
        "Recipe of simulated scans to train on in place of scan files; they are made as they are needed.",
        flag="--simulate",
        min_length=1,
    )
    group_size: int = setting(
        48,
        "Neighbouring frames that are reconstructed together, as one group.",
        flag="--group-size",
        unit="frames",
        ge=1,
    )
    validation_fraction: float = setting(
        0.05, "Fraction of the frames held out for validation; 0 holds out none.", ge=0.0, lt=0.5
    )
    frames: str | None = setting(
        None, "Path of the frames in the file, or FILE:PATH in another; by default found.", flag="--frames"
    )
    positions: str | None = setting(
        None, "Path of the positions, PATH_Y,PATH_X of their columns, or a file; by default found.", flag="--positions"
    )
    probe: str | None = setting(None, "Path of the probe in the file, or FILE:PATH in another; by default found.")
    mask: str | None = setting(None, "Path of the detector's mask, or FILE:PATH in another; by default found.")
    allow_links: bool = setting(
        False,
        "Follow links of HDF5 files to files outside their folder; a file from others may name any of yours.",
        flag="--allow-links/--no-allow-links",
    )
    zero_frequency: Literal["auto", "center", "corner"] = setting(
        "auto", "Location of the zero frequency in the stored frames.", flag="--zero-frequency"
    )
    position_unit: Literal["auto", "px", "m", "mm", "um", "nm", "A"] = setting(
        "auto", "Unit of the stored positions.", flag="--position-unit"
    )
    position_order: Literal["auto", "yx", "xy"] = setting(
        "auto", "Order of the two columns of the stored positions.", flag="--position-order"
    )
    flip_positions: Literal["none", "y", "x", "yx"] = setting(
        "none", "Position axes to reverse.", flag="--flip-positions"
    )
    stored: Literal["auto", "counts", "amplitude", "log", "log10"] = setting(
        "auto",
        "Quantity in the frames: counts, amplitude, or log or log10 of 1 + counts; auto finds out.",
        flag="--stored",
    )
    object_pixel_m: NumberOrPath | None = setting(
        None,
        "Size of an object pixel, or its path; by default from wavelength, distance and detector pixel in the file.",
        flag="--object-pixel-m",
        unit="m",
    )
    mask_bad_pixels: bool = setting(
        True,
        "Detect hot and dead detector pixels from the frames, and mask them.",
        flag="--mask-bad-pixels/--keep-bad-pixels",
    )
    max_frames: int | None = setting(
        None,
        "Number of frames to read from the start of each scan; by default all.",
        flag="--max-frames",
        unit="frames",
        ge=1,
    )
    exclude_frames: tuple[str, ...] = setting(
        (), "Frames to leave out: numbers from 0 and ranges, such as 3,10-20.", flag="--exclude-frames"
    )
    reject_bad_frames: Literal["auto", "never"] = setting(
        "auto",
        "Leave out frames that are blank, lost, repeated, unlike all others, far from all others, or fit nowhere.",
    )
    negative: Literal["clip", "refuse"] = setting("clip", "Set negative readout noise to 0, or refuse the scan.")
    dark_offset: float | None = setting(
        None, "Detector value without light, subtracted from all counts; by default found.", ge=0.0
    )
    counts_per_photon: float | None = setting(
        None, "Detector value of one photon; by default the common factor of all values.", gt=0.0
    )
    center: str | None = setting(
        None,
        "Location y,x of the zero frequency in the stored frames, from 0; by default found from the light.",
        unit="px",
    )
    descan: Literal["keep", "remove"] = setting(
        "keep", "Motion of the pattern on the detector with the positions: keep it, or move the frames back."
    )
    crop_px: int | None = setting(
        None, "Side of the square around the zero frequency that is used; by default the largest.", unit="px", ge=8
    )
    bin: int = setting(1, "Binning: detector pixels along each axis that are added up to one.", unit="px", ge=1)
    scan_rotation_deg: float = setting(
        0.0, "Rotation of the stored positions about their mean, from the y axis towards the x axis.", unit="degrees"
    )
    position_scale: float = setting(1.0, "Factor on the stored positions, for a pixel size that is wrong.", gt=0.0)
    scan_asymmetry: float = setting(
        0.0, "Relative difference of the factors on y and x, as for a tilted sample.", gt=-2.0, lt=2.0
    )
    scan_shear_deg: float = setting(
        0.0,
        "Shear of the stored positions: lean of the y axis towards the x axis, as drift makes it.",
        unit="degrees",
        gt=-80.0,
        lt=80.0,
    )
    position_delay: int = setting(
        0, "Offset in the file from each frame to its position, for positions that lag behind.", unit="frames"
    )
    position_delay_from: int = setting(
        0, "First frame that `data.position_delay` applies to, as where one was dropped, by its number.", ge=0
    )
    position_sequence: Literal["stored", "reverse", "snake"] = setting(
        "stored", "Sequence of the positions: as stored, in reverse, or with every second row of a raster reversed."
    )
    frame_transform: Literal[
        "none", "transpose", "flip_y", "flip_x", "rotate_90", "rotate_180", "rotate_270", "anti_transpose"
    ] = setting("none", "Transform of the stored frames, not of the probe; quarter turns are counter-clockwise.")
    radiation: Literal["auto", "xray", "electron"] = setting(
        "auto",
        "Kind of radiation; auto: electrons if the file or a setting has a voltage or an angle per pixel.",
    )
    voltage_kv: NumberOrPath | None = setting(
        None,
        "Accelerating voltage of electrons, or its path; by default from the file.",
        flag="--voltage-kv",
        unit="kV",
    )
    energy_ev: NumberOrPath | None = setting(
        None,
        "Energy of the photons, or kinetic energy of the electrons, or its path; by default from the file.",
        unit="eV",
    )
    wavelength_m: NumberOrPath | None = setting(None, "Wavelength, or its path; by default from the file.", unit="m")
    distance_m: NumberOrPath | None = setting(
        None, "Distance from sample to detector, or its path; by default from the file.", unit="m"
    )
    detector_pixel_m: NumberOrPath | None = setting(
        None, "Size of a detector pixel, or its path; by default from the file.", unit="m"
    )
    angle_per_pixel_mrad: NumberOrPath | None = setting(
        None,
        "Scattering angle of one stored detector pixel, or its path; by default from the file.",
        flag="--angle-per-pixel-mrad",
        unit="mrad",
    )
    reciprocal_pixel_per_angstrom: NumberOrPath | None = setting(
        None,
        "Spatial frequency of one stored detector pixel, in cycles, or its path; by default from the file.",
        unit="1/angstrom",
    )
    scan_step_m: float | None = setting(
        None,
        "Step of a regular raster, in place of the positions in the file.",
        flag="--scan-step-m",
        unit="m",
        gt=0.0,
    )
    scan_shape: str | None = setting(
        None, "Rows and columns of a raster, such as 32,48; by default those of a 4-D array, or a square."
    )
    memory_budget_gib: Annotated[float, Field(gt=0.0)] | Literal["auto"] = setting(
        "auto",
        "Memory for the frames of all scans; frames beyond it stay in the file. auto: half of what is free when the "
        "program starts.",
        unit="GiB",
    )
    findings: tuple[tuple[str, Treatment], ...] = ()


class ProbeSettings(Group):
    """The starting probe of a round aperture, in place of the probe in the file."""

    semi_angle_mrad: float | None = setting(
        None,
        "Half angle of the beam that converges on the object; by default from the file.",
        flag="--semi-angle-mrad",
        unit="mrad",
        gt=0.0,
    )
    defocus_m: float | None = setting(
        None,
        "Distance from the object to the crossover of the beam behind it, negative before it; by default from the "
        "file, else 0.",
        flag="--defocus-m",
        unit="m",
    )
    cs_m: float | None = setting(
        None, "Coefficient of spherical aberration; by default from the file, else 0.", unit="m"
    )
