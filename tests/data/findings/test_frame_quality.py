"""Frames that are no patterns of the scan are left out, and named as the file numbers them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.findings.frame_quality import missing_light
from ptycho_cli.data.frame_stack import stack_of
from ptycho_cli.data.frame_statistics import FrameGatherer, gather
from ptycho_cli.data.simulation import simulate


def chosen(good: Any, number: int, seed: int) -> list[int]:
    return sorted(np.random.default_rng(seed).choice(good.n_frames, number, replace=False).tolist())


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("rate", [0.0, 0.01])
def test_blank_frames_are_left_out(good: Any, read: Any, finding: Any, seed: int, rate: float) -> None:
    frames, counts = chosen(good, 8, seed), good.counts.copy()
    counts[frames] = np.random.default_rng(seed).poisson(rate, counts[frames].shape)

    scan = read(good, counts)

    assert list(finding(scan, "frames-blank").frames) == frames
    np.testing.assert_array_equal(scan.counts, np.delete(good.counts, frames, axis=0))


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("factor", [10, 50])
def test_frames_that_are_far_too_bright_are_left_out(
    good: Any, read: Any, finding: Any, seed: int, factor: int
) -> None:
    frames, counts = chosen(good, 2, seed), good.counts.astype(np.uint32)
    counts[frames] *= factor

    assert list(finding(read(good, counts), "frames-outlier").frames) == frames


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("kind", ["shuffled", "even", "noise"])
def test_frames_whose_light_lies_elsewhere_are_left_out(
    good: Any, read: Any, finding: Any, seed: int, kind: str
) -> None:
    rng, (first, second), counts = np.random.default_rng(seed), chosen(good, 2, seed), good.counts.astype(np.uint32)
    for frame in (first, second):
        pattern = counts[frame]
        counts[frame] = {
            "shuffled": rng.permutation(pattern.ravel()).reshape(pattern.shape),
            "even": rng.poisson(pattern.mean(), pattern.shape),
            "noise": rng.integers(0, 60000, pattern.shape),
        }[kind]

    assert finding(read(good, counts), "frames-outlier").frames == (first, second)


def test_a_shuffled_frame_of_a_weak_scan_is_left_out(read: Any, finding: Any) -> None:
    """A pixel of 128 x 128 has a hundredth of a photon; cells of pixels still show where the light is."""
    weak = simulate(n_frames=100, n_pixels=128, photons=100, seed=0)
    counts, rng = weak.counts.astype(np.uint16), np.random.default_rng(0)
    counts[17] = rng.permutation(counts[17].ravel()).reshape(counts[17].shape)

    assert finding(read(weak, counts), "frames-outlier").frames == (17,)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("part", ["lower half", "left", "quadrant"])
def test_frames_of_which_a_part_is_empty_are_left_out(good: Any, read: Any, finding: Any, seed: int, part: str) -> None:
    half, counts, frames = good.n_pixels // 2, good.counts.copy(), chosen(good, 2, seed)
    window = {
        "lower half": np.s_[half:, :],
        "left": np.s_[:, : int(0.45 * good.n_pixels)],
        "quadrant": np.s_[: half + 1, : half + 1],
    }[part]
    for frame in frames:
        counts[frame][window] = 0

    found = finding(read(good, counts), "frames-invalid")

    assert list(found.frames) == frames
    assert "empty" in found.message


def test_a_complete_frame_misses_no_light(good: Any) -> None:
    gatherer = FrameGatherer(stack_of(good.counts))
    gather(stack_of(good.counts), gatherer)
    cells = gatherer.found().cells
    assert missing_light(cells).max() < 0.05


@pytest.mark.parametrize("seed", [0, 1])
def test_copies_of_a_frame_are_left_out_and_the_first_is_kept(good: Any, read: Any, finding: Any, seed: int) -> None:
    first, counts = 5 + seed, good.counts.copy()
    counts[first + 1 : first + 5] = counts[first]

    assert finding(read(good, counts), "frames-duplicated").frames == tuple(range(first + 1, first + 5))


def test_equal_frames_of_few_photons_are_no_copies(read: Any, ids: Any) -> None:
    """With two photons a frame many frames are equal by chance."""
    scan = simulate(n_frames=200, n_pixels=16, photons=2.0, object_kind="weak", seed=1)

    assert len(np.unique(scan.counts, axis=0)) < scan.n_frames
    assert "frames-duplicated" not in ids(read(scan))


def test_an_object_with_an_empty_part_has_no_outliers(read: Any, ids: Any) -> None:
    """A tenth of the frames see no sample and are ten times as bright as the others."""
    scan = simulate(n_frames=100, n_pixels=32, photons=1e5, object_kind="texture", pattern="raster", seed=1)
    empty = scan.positions_px[:, 0] < np.quantile(scan.positions_px[:, 0], 0.2)
    counts = np.random.default_rng(0).poisson(scan.counts * np.where(empty, 1.0, 0.1)[:, None, None])

    assert ids(read(scan, counts)) == []


def test_bad_frames_are_reported_and_kept_if_the_user_says_so(good: Any, read: Any) -> None:
    counts = good.counts.copy()
    counts[[3, 8]] = 0

    scan = read(good, counts, reject_bad_frames="never")

    assert [(item.id, item.severity, item.frames) for item in scan.findings] == [("frames-blank", "warning", (3, 8))]
    assert scan.n_frames == good.n_frames


def test_frames_that_the_user_excludes_are_left_out_without_a_word(good: Any, read: Any, ids: Any) -> None:
    scan = read(good, exclude_frames=("3", "10-12,0"))

    assert ids(scan) == []
    np.testing.assert_array_equal(scan.stored_frames, np.delete(np.arange(good.n_frames), [0, 3, 10, 11, 12]))


def test_left_out_frames_keep_their_numbers_and_places(good: Any, read: Any) -> None:
    """In object pixels, whatever unit, order and rotation the file's positions have."""
    counts = good.counts.astype(np.uint32)
    counts[[4, 31]] = 0
    options = {"position_unit": "um", "object_pixel_m": 1e-8, "scan_rotation_deg": 20.0, "flip_positions": "y"}

    scan = read(good, counts, good.positions_px * 0.01, exclude_frames=("50",), **options)
    whole = read(good, None, good.positions_px * 0.01, **options)

    assert scan.left_out.frames.tolist() == [4, 31, 50]
    assert scan.stored_frames.tolist() == [n for n in range(good.n_frames) if n not in (4, 31, 50)]
    shift = (scan.positions_px - whole.positions_px[scan.stored_frames]).mean(axis=0)  # rotated about another mean
    np.testing.assert_allclose(scan.left_out.positions_px, whole.positions_px[[4, 31, 50]] + shift, atol=1e-6)
    assert whole.left_out is None
