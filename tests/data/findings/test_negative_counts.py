"""Readout noise is set to 0 and reported; a background that was subtracted is refused."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.simulation import simulate
from ptycho_cli.errors import DataError


@pytest.mark.parametrize("spread", [0.3, 0.5, 3.0])
@pytest.mark.parametrize("whole", [False, True])
def test_readout_noise_is_clipped_with_a_warning(
    good: Any, read: Any, finding: Any, spread: float, whole: bool
) -> None:
    noisy = good.counts + np.random.default_rng(0).normal(0, spread, good.counts.shape)
    counts = np.round(noisy).astype(np.int32) if whole else noisy.astype(np.float32)

    scan = read(good, counts)

    assert finding(scan, "negative-noise").severity == "warning"
    np.testing.assert_array_equal(scan.counts, np.maximum(counts, 0).astype(np.float32))
    assert scan.mask.all()
    with pytest.raises(DataError, match="negative") as caught:
        read(good, counts, negative="refuse")
    assert caught.value.finding == "negative-noise"


def test_a_gap_of_minus_one_is_told_from_noise_of_minus_one(good: Any, read: Any) -> None:
    noise = np.random.default_rng(0).normal(0, 0.3, good.counts.shape)
    counts = np.round(good.counts + noise).astype(np.int32)
    counts[:, 5:7] = -1

    scan = read(good, counts)

    assert {item.id for item in scan.findings if item.severity != "note"} == {"pixels-sentinel", "negative-noise"}
    np.testing.assert_array_equal(np.argwhere(~scan.mask)[:, 0], np.repeat([5, 6], good.n_pixels))


@pytest.mark.parametrize("share", [0.4, 0.6])
def test_a_part_that_many_frames_lost_is_no_noise(good: Any, read: Any, finding: Any, share: float) -> None:
    """In a corner, where few photons arrive, so that dark pixels are the negative ones."""
    counts = good.counts.astype(np.int32)
    lost = np.random.default_rng(3).permutation(good.n_frames)[: int(share * good.n_frames)]
    counts[lost, :4] = -1

    scan = read(good, counts)

    if share < 0.5:
        assert finding(scan, "frames-invalid").frames == tuple(sorted(map(int, lost)))
    else:
        assert not scan.mask[:4].any()


@pytest.mark.parametrize("background", [1, 3, 0.7, 12.5])
@pytest.mark.parametrize("object_kind", ["texture", "siemens", "weak"])
def test_a_subtracted_background_is_refused(read: Any, background: float, object_kind: str) -> None:
    """Pixels that count next to nothing are negative on average."""
    good = simulate(n_frames=64, n_pixels=32, photons=1e4, object_kind=object_kind, seed=1)
    counts = good.counts.astype(np.float32) - background

    with pytest.raises(DataError, match=r"'counts' is negative in \d+ pixels, first -.* in frame 0 at") as caught:
        read(good, counts)
    assert caught.value.finding == "negative-noise"
    assert "mask the pixels or store the raw frames" in str(caught.value.hint)


def test_a_constant_below_bright_pixels_is_refused(read: Any) -> None:
    """No pixel is dark on average, but all values are whole numbers less one constant."""
    good = simulate(n_frames=64, n_pixels=32, photons=1e6, seed=1)
    counts = np.maximum(good.counts, 1).astype(np.float32)
    counts[np.random.default_rng(0).random(counts.shape) < 0.05] = 0

    with pytest.raises(DataError, match="'counts' is negative in"):
        read(good, counts - np.float32(0.7))


def test_a_sign_that_wrapped_and_a_pixel_that_is_always_negative_are_masked(good: Any, read: Any, finding: Any) -> None:
    counts, rng = good.counts.astype(np.int32), np.random.default_rng(1)
    counts[:, 2, 2] = rng.integers(2**30, 2**31 - 1, good.n_frames)
    counts[::3, 2, 2] = -rng.integers(2**30, 2**31 - 1, good.n_frames)[::3]
    counts[:, 9, 4] = -rng.integers(5, 90, good.n_frames)

    scan = read(good, counts)

    masked = [item for item in scan.findings if item.id == "pixels-sentinel"]
    assert {pixel for item in masked for pixel in item.pixels} == {(2, 2), (9, 4)}
    assert int((~scan.mask).sum()) == 2
