"""Settings of the group ``data``: scans to read, and how to interpret them."""

from __future__ import annotations

from typing import Literal

from ptycho_cli.config.settings_group import Group, setting
from ptycho_cli.finding_ids import Treatment


class DataSettings(Group):
    """Scans to read, and how to interpret them."""

    paths: tuple[str, ...] = setting((), "Scan files to train on.", flag="DATA")
    validation_paths: tuple[str, ...] = setting(
        (), "Scan files to validate on, in place of held-out frames.", flag="--val-data"
    )
    group_size: int = setting(
        48, "Neighbouring frames reconstructed together on one canvas.", flag="--group-size", unit="frames", ge=1
    )
    validation_fraction: float = setting(
        0.05, "Fraction of the frames held out for validation; 0 holds out none.", ge=0.0, lt=0.5
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
    stored: Literal["auto", "counts", "amplitude"] = setting(
        "auto", "Quantity stored in the frames: photon counts, or amplitudes, which are squared.", flag="--stored"
    )
    object_pixel_m: float | None = setting(
        None,
        "Size of an object pixel; by default computed from wavelength, distance and detector pixel in the file.",
        flag="--object-pixel-m",
        unit="m",
        gt=0.0,
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
        "auto", "Leave out blank, lost, foreign and repeated frames, and frames far from all others."
    )
    negative: Literal["clip", "refuse"] = setting("clip", "Set negative readout noise to 0, or refuse the scan.")
    counts_per_photon: float | None = setting(
        None, "Detector counts of one photon; by default a common factor of all counts.", gt=0.0
    )
    center: str | None = setting(
        None,
        "Location y,x of the zero frequency in the stored frames, from 0; by default found from the light.",
        unit="px",
    )
    crop_px: int | None = setting(
        None, "Side of the square around the zero frequency that is used; by default the largest.", unit="px", ge=8
    )
    bin: int = setting(1, "Detector pixels along each axis that are added up to one.", unit="px", ge=1)
    scan_rotation_deg: float = setting(
        0.0, "Rotation of the stored positions about their mean, from the y axis towards the x axis.", unit="degrees"
    )
    position_scale: float = setting(1.0, "Factor on the stored positions, for a pixel size that is wrong.", gt=0.0)
    position_delay: int = setting(
        0, "Offset in the file from each frame to its position, for positions that lag behind.", unit="frames"
    )
    frame_transform: Literal["none", "transpose", "flip_y", "flip_x", "rotate_180"] = setting(
        "none", "Transform of the stored frames."
    )
    energy_ev: float | None = setting(None, "Photon energy; by default from the file.", unit="eV", gt=0.0)
    wavelength_m: float | None = setting(None, "Wavelength; by default from the file.", unit="m", gt=0.0)
    distance_m: float | None = setting(
        None, "Distance from sample to detector; by default from the file.", unit="m", gt=0.0
    )
    detector_pixel_m: float | None = setting(
        None, "Size of a detector pixel; by default from the file.", unit="m", gt=0.0
    )
    findings: tuple[tuple[str, Treatment], ...] = ()
