"""Values that mean "no data" are found by value, at any place, and are neither counted as photons nor left in."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

MARKERS = {
    "largest uint32": (np.uint32, 2**32 - 1),
    "one below": (np.uint32, 2**32 - 2),
    "largest uint16": (np.uint16, 2**16 - 1),
    "20 bits": (np.uint32, 2**20 - 1),
    "copied to float": (np.float32, float(2**32 - 1)),
    "minus one": (np.int32, -1),
    "minus two": (np.float64, -2.0),
    "far below": (np.float32, -32768.0),
    "not a number": (np.float32, np.nan),
    "infinite": (np.float64, np.inf),
    "a large constant": (np.float32, 1e9),
}


def cross(size: int, seed: int) -> Any:
    """Gaps between four detector modules, bool ``(y, x)``."""
    rng = np.random.default_rng(seed)
    gap = np.zeros((size, size), dtype=bool)
    row, column = rng.integers(2, size - 4, 2)
    gap[row : row + 2] = True
    gap[:, column : column + 2] = True
    return gap


@pytest.mark.parametrize("marker", list(MARKERS))
@pytest.mark.parametrize("seed", [0, 1])
def test_gaps_are_masked_and_named_whatever_marks_them(
    good: Any, read: Any, finding: Any, marker: str, seed: int
) -> None:
    number_type, value = MARKERS[marker]
    gap = cross(good.n_pixels, seed)
    counts = np.minimum(good.counts, 60000).astype(number_type)
    counts[:, gap] = value

    scan = read(good, counts)

    found = finding(scan, "pixels-sentinel")
    assert found.severity == "fixed"
    assert found.pixels == tuple(map(tuple, np.argwhere(gap).tolist()))
    np.testing.assert_array_equal(scan.mask, ~gap)
    np.testing.assert_array_equal(scan.counts, np.where(gap, 0, np.minimum(good.counts, 60000)))


def test_a_gap_does_not_change_the_scale_of_the_probe(good: Any, read: Any) -> None:
    """The probe's power is that of the frames without the gap, also where the gap hides the brightest rows."""
    counts, gap = good.counts.astype(np.int32), np.zeros((good.n_pixels, good.n_pixels), dtype=bool)
    gap[good.n_pixels // 2 + 1 : good.n_pixels // 2 + 4] = True
    counts[:, gap] = -1

    plain, masked = read(good), read(good, counts)

    assert np.sum(np.abs(masked.probe) ** 2) == pytest.approx(np.sum(np.abs(plain.probe) ** 2), rel=0.03)


def test_a_mask_in_the_file_that_covers_the_gap_leaves_nothing_to_report(good: Any, read: Any, ids: Any) -> None:
    gap = cross(good.n_pixels, 3)
    counts = good.counts.astype(np.uint32)
    counts[:, gap] = 2**32 - 1

    scan = read(good, counts, contents={"mask": ~gap, "mask_marks": "good"})

    assert ids(scan) == []
    np.testing.assert_array_equal(scan.mask, ~gap)


@pytest.mark.parametrize(("number_type", "value"), [(np.uint32, 2**32 - 1), (np.int32, -1), (np.float32, np.nan)])
def test_lost_frames_are_left_out_and_numbered_as_in_the_file(
    good: Any, read: Any, finding: Any, number_type: type, value: float
) -> None:
    lost = [0, 7, good.n_frames - 1]
    counts = good.counts.astype(number_type)
    counts[lost] = value

    scan = read(good, counts)

    found = finding(scan, "frames-invalid")
    assert list(found.frames) == lost
    assert scan.mask.all()
    kept = np.setdiff1d(np.arange(good.n_frames), lost)
    np.testing.assert_array_equal(scan.stored_frames, kept)
    np.testing.assert_array_equal(scan.positions_px, good.positions_px[kept])


def test_a_frame_that_is_partly_lost_is_left_out_and_no_pixel_is_masked_for_it(
    good: Any, read: Any, finding: Any
) -> None:
    counts = good.counts.astype(np.float32)
    counts[11, : good.n_pixels // 4] = np.nan

    scan = read(good, counts)

    assert finding(scan, "frames-invalid").frames == (11,)
    assert scan.mask.all()


def test_lost_frames_and_gaps_are_told_apart(good: Any, read: Any, ids: Any) -> None:
    gap, counts = cross(good.n_pixels, 5), good.counts.astype(np.int64)
    counts[:, gap] = -1
    counts[4] = -1

    scan = read(good, counts)

    assert ids(scan) == ["frames-invalid", "pixels-sentinel"]
    assert scan.n_frames == good.n_frames - 1
    np.testing.assert_array_equal(scan.mask, ~gap)


def test_a_value_in_a_single_pixel_of_a_single_frame_costs_that_pixel(good: Any, read: Any, finding: Any) -> None:
    counts = good.counts.astype(np.float32)
    counts[4, 3, 2] = np.nan

    scan = read(good, counts)

    assert finding(scan, "pixels-sentinel").pixels == ((3, 2),)
    assert scan.n_frames == good.n_frames


def test_frames_are_kept_if_the_user_says_so(good: Any, read: Any) -> None:
    counts = good.counts.astype(np.int32)
    counts[4] = -1

    scan = read(good, counts, reject_bad_frames="never")

    invalid = next(item for item in scan.findings if item.id == "frames-invalid")
    assert (invalid.severity, invalid.frames) == ("warning", (4,))
    assert scan.n_frames == good.n_frames
    assert scan.counts[4].sum() == 0
    assert scan.mask.all()
