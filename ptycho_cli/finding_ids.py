"""Ids of findings: what ``ptycho data check`` may report about a scan. Ids never change once they are released."""

from __future__ import annotations

from typing import Literal

# What a user may set for an id: another severity, or that it is neither reported nor corrected.
Treatment = Literal["ignore", "note", "warning", "error"]

# Of the positions of all frames, and of the orientation of the frames; found by trying.
GEOMETRY_IDS = (
    "positions-axes",
    "positions-rotation",
    "positions-scale",
    "positions-affine",
    "positions-index",
    "positions-error",
)
FINDING_IDS = (
    "pixels-sentinel",
    "pixels-hot",
    "pixels-dead",
    "pixels-zingers",
    "pixels-saturated",
    "beam-stop",
    "beam-off-centre",
    "beam-descan",
    "negative-noise",
    "counts-gain",
    "dark-offset",
    "stored-amplitude",
    "stored-logarithm",
    "zero-frequency",
    "frame-axes",
    "frames-blank",
    "frames-invalid",
    "frames-outlier",
    "frames-duplicated",
    "positions-unit",
    *GEOMETRY_IDS,
    "positions-outlier",
    "positions-duplicated",
    "energy-unit",
    "wavelength-unit",
    "distance-unit",
    "pixel-unit",
    "probe-size",
    "overlap-low",
    "few-frames",
    "raster-regular",
    "near-field",
    "missing-part",
    "key-unused",
)
