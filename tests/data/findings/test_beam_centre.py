"""The beam ends at the centre of the frame wherever it was stored."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_cli.errors import DataError


def test_corners_are_brought_to_the_centre(good: Any, read: Any, finding: Any) -> None:
    scan = read(good, np.fft.ifftshift(good.counts, axes=(1, 2)))

    assert finding(scan, "zero-frequency").setting == "data.zero_frequency=center"
    np.testing.assert_array_equal(scan.counts, good.counts)


@pytest.mark.parametrize(("down", "right"), [(0.25, -0.2), (-0.3, 0.05), (0.0, 0.3)])
def test_a_beam_off_centre_is_brought_to_the_centre(
    good: Any, read: Any, finding: Any, down: float, right: float
) -> None:
    """To a pixel or two: the object's own scattering moves the mean of the light a little."""
    move = (round(down * good.n_pixels), round(right * good.n_pixels))
    counts = np.roll(good.counts, move, axis=(1, 2))

    scan = read(good, counts)

    found = finding(scan, "beam-off-centre")
    assert found.evidence["off_y"] == pytest.approx(move[0], abs=2)
    assert found.evidence["off_x"] == pytest.approx(move[1], abs=2)
    kept = read(good, counts, center=f"{good.n_pixels // 2},{good.n_pixels // 2}")
    np.testing.assert_array_equal(kept.counts, counts)


def test_a_stated_centre_is_used(good: Any, read: Any, ids: Any) -> None:
    middle = good.n_pixels // 2
    scan = read(good, np.roll(good.counts, (3, -2), axis=(1, 2)), center=f"{middle + 3},{middle - 2}")

    assert ids(scan) == []
    np.testing.assert_array_equal(scan.counts, good.counts)


@pytest.mark.parametrize("center", ["5", "a,b", "-1,4", "4,1000"])
def test_a_centre_that_is_none_is_refused(good: Any, read: Any, center: str) -> None:
    with pytest.raises(DataError, match=r"data\.center"):
        read(good, center=center)


def test_frames_are_cropped_and_binned_around_the_centre(good: Any, read: Any) -> None:
    half = good.n_pixels // 4
    cropped, binned = read(good, crop_px=2 * half), read(good, bin=2)

    window = slice(good.n_pixels // 2 - half, good.n_pixels // 2 + half)
    np.testing.assert_array_equal(cropped.counts, good.counts[:, window, window])
    assert binned.n_pixels == good.n_pixels // 2
    np.testing.assert_allclose(binned.counts.sum(axis=(1, 2)), good.counts.sum(axis=(1, 2)))
    with pytest.raises(DataError, match=r"data\.crop_px"):
        read(good, crop_px=good.n_pixels + 2)
