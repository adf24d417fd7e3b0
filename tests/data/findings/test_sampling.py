"""Overlap, number of frames, regular rasters and the stored probe: advice is a note, what usually fails a warning."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.findings.sampling import far_field_likeness
from ptycho_cli.data.simulation import simulate
from ptycho_cli.geometry import probe_diameter_px, typical_step_px


def severity(scan: Any, id: str) -> str | None:
    return next((item.severity for item in scan.findings if item.id == id), None)


@pytest.mark.parametrize(
    ("overlap", "expected"), [(0.55, None), (0.45, "note"), (0.25, "warning"), (0.0, "warning"), (-20.0, "warning")]
)
def test_a_small_overlap_is_a_note_and_a_tiny_one_a_warning(
    good: Any, read: Any, overlap: float, expected: str | None
) -> None:
    """An overlap below 0 stands for steps beyond the probe, and at last beyond the frame."""
    step, diameter = typical_step_px(good.positions_px), probe_diameter_px(good.probe)
    assert step is not None

    scan = read(good, positions=good.positions_px * (1 - overlap) * diameter / step)

    assert severity(scan, "overlap-low") == expected


@pytest.mark.parametrize(("frames", "expected"), [(6, "warning"), (16, "note"), (25, None)])
def test_few_frames_are_reported(good: Any, read: Any, frames: int, expected: str | None) -> None:
    scan = read(good, good.counts[:frames].astype(np.uint32), good.positions_px[:frames])

    assert severity(scan, "few-frames") == expected


def test_a_regular_raster_is_a_note(good: Any, read: Any) -> None:
    raster = 3.0 * np.stack(np.divmod(np.arange(81), 9), axis=1)

    assert severity(read(good, positions=raster), "raster-regular") == "note"
    for pattern in ("raster", "fermat", "random"):
        scan = read(simulate(n_frames=81, n_pixels=32, photons=1e4, pattern=pattern, seed=1))
        assert severity(scan, "raster-regular") is None


def test_a_probe_as_wide_as_the_frame_is_reported(good: Any, read: Any) -> None:
    wide = np.ones((1, good.n_pixels, good.n_pixels), dtype=np.complex64)

    scan = read(good, contents={"probe": wide})

    widths = [item for item in scan.findings if "border_share" in item.evidence]
    assert [(item.id, item.severity) for item in widths] == [("probe-size", "warning")]


def test_a_probe_of_another_pixel_size_is_reported(good: Any, read: Any) -> None:
    """The probe as a detector of half as many pixels would have it, in a frame of the same size."""
    n = good.n_pixels
    wrong = np.zeros_like(good.probe)
    wrong[:, n // 4 : n // 4 + n // 2, n // 4 : n // 4 + n // 2] = good.probe[:, ::2, ::2]

    scan = read(good, contents={"probe": wrong})

    assert severity(scan, "probe-size") == "warning"
    assert far_field_likeness(good.probe, good.counts.sum(axis=0, dtype=np.float64), good.mask) > 0.95


def test_normalised_frames_are_reported(good: Any, read: Any) -> None:
    scan = read(good, good.counts / good.counts.max() * np.random.default_rng(0).uniform(0.99, 1, good.counts.shape))

    assert severity(scan, "counts-gain") == "warning"


def test_a_near_field_scan_is_one_unless_the_user_knows_better(good: Any, read: Any) -> None:
    contents = {"near_field": "it says so"}

    assert read(good, contents=contents).near_field == "it says so"
    permitted = read(good, contents=contents, findings=(("near-field", "note"),))
    assert permitted.near_field is None
    assert severity(permitted, "near-field") == "note"
