"""Text about every id that reading a scan can report, for docs/data.md; each check has its own beside it."""

from __future__ import annotations

from dataclasses import replace

from ptycho_cli.data import findings as kinds
from ptycho_cli.data.findings import position_outliers, sampling, units, unused_keys
from ptycho_cli.data.findings.finding import About

_UNIT = (
    "The numbers are impossible together: a wavelength, distance, detector pixel or step that no scan has. The unit is "
    "taken where exactly one other unit of one quantity makes them possible; else the scan is refused with the "
    "candidates."
)


def _unit(name: str) -> About:
    return About(f"{name} in another unit than it seems", "the only possible unit is used, or refused", _UNIT)


ABOUT: dict[str, About] = {
    **kinds.no_data.ABOUT,
    **kinds.bad_pixel_findings.ABOUT,
    **kinds.zingers.ABOUT,
    **kinds.saturation.ABOUT,
    **kinds.beam_stop.ABOUT,
    **kinds.beam_centre.ABOUT,
    **kinds.descan.ABOUT,
    **kinds.negative_counts.ABOUT,
    **kinds.dark_offset.ABOUT,
    **kinds.count_units.ABOUT,
    "frame-axes": About(
        "frames stored along the last axis", "reordered",
        "The last axis of the frames, and not the first, has one entry for each position.",
    ),
    **kinds.frame_quality.ABOUT,
    "positions-unit": replace(
        _unit("positions"),
        threshold=f"{_UNIT} Positions without a unit are also doubted where their steps are below "
        f"{units.USUAL_STEP_PX:g} object pixels, and another unit is taken where it alone gives usual steps. Where "
        "the size of an object pixel is not known, this is a warning.",
    ),
    "energy-unit": _unit("an energy or a voltage"),
    "wavelength-unit": _unit("a wavelength"),
    "distance-unit": _unit("a distance"),
    "pixel-unit": _unit("a detector pixel"),
    **position_outliers.ABOUT,
    **sampling.ABOUT,
    "near-field": About(
        "a scan that is not far-field", "refused for training and reconstruction",
        "The file says so, or the sample's image in the bright field moves as in a beam more than 1.5 times wider than "
        "a far-field frame.",
    ),
    "missing-part": About(
        "a file of a virtual dataset, or of an external link, that was not copied", "refused, with its name",
        "A source of the frames or positions that are read is not there; HDF5 would read zeros.",
    ),
    **unused_keys.ABOUT,
}  # fmt: skip
