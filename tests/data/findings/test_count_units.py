"""Amplitudes are squared, logarithms undone, dark offsets subtracted, detector units divided by those of a photon."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.findings.count_units import common_factor, share_whole
from ptycho_cli.data.simulation import simulate
from ptycho_cli.errors import DataError


@pytest.mark.parametrize("number_type", [np.float16, np.float32, np.float64])
def test_square_roots_of_whole_numbers_are_amplitudes(good: Any, read: Any, finding: Any, number_type: type) -> None:
    scan = read(good, np.sqrt(good.counts).astype(number_type))

    assert finding(scan, "stored-amplitude").setting == "data.stored=counts"
    np.testing.assert_allclose(scan.counts, good.counts, rtol=2e-3 if number_type == np.float16 else 1e-6)


@pytest.mark.parametrize("number_type", [np.float32, np.float64])
def test_amplitudes_that_were_scaled_are_squared_and_divided(good: Any, read: Any, number_type: type) -> None:
    """All by one number, or each frame by its largest value, as frames are prepared for training."""
    amplitudes = np.sqrt(good.counts)
    for factor in (3.7, 1 / amplitudes.max(), 1 / amplitudes.max((1, 2), keepdims=True)):
        scan = read(good, (amplitudes * factor).astype(number_type))

        assert [(found.id, found.severity) for found in scan.findings] == [
            ("stored-amplitude", "fixed"), ("counts-gain", "fixed"),
        ]  # fmt: skip
        np.testing.assert_array_equal(scan.counts, good.counts)


@pytest.mark.parametrize(("name", "logarithm"), [("log", np.log), ("log10", np.log10)])
def test_logarithms_of_whole_numbers_plus_one_are_undone(
    good: Any, read: Any, finding: Any, name: str, logarithm: Any
) -> None:
    stored = logarithm(1.0 + good.counts).astype(np.float32)

    scan = read(good, stored)

    assert finding(scan, "stored-logarithm").message.startswith(f"'counts' holds {name}(1 + n)")
    np.testing.assert_array_equal(scan.counts, good.counts)
    np.testing.assert_array_equal(read(good, stored, stored=name).counts, good.counts)


def test_counts_that_cannot_be_logarithms_are_refused(good: Any, read: Any) -> None:
    with pytest.raises(DataError, match="whose photons would be too many"):
        read(good, good.counts + 30, stored="log10")


@pytest.mark.parametrize("noise", [0.0, 0.5, 3.0])
def test_a_dark_offset_is_subtracted(good: Any, read: Any, ids: Any, noise: float) -> None:
    rng = np.random.default_rng(0)
    stored = good.counts + 100.0 + rng.normal(0, noise, good.counts.shape)

    scan = read(good, stored.astype(np.float32))

    assert ids(scan) == ["dark-offset", *(["negative-noise"] if noise else [])]
    offset = scan.findings[ids(scan).index("dark-offset")].evidence["offset"]
    light = float(np.quantile(good.counts.mean(axis=0), 0.01)) if noise else 0.0  # in the darkest pixels
    assert offset == pytest.approx(100, abs=0.3 * noise + light)
    np.testing.assert_allclose(scan.counts, np.maximum(stored - offset, 0), rtol=0, atol=1e-2)


def test_dead_pixels_do_not_hide_a_dark_offset(good: Any, read: Any) -> None:
    stored = (good.counts + 100).astype(np.uint32)
    stored[:, :4] = 0

    scan = read(good, stored)

    np.testing.assert_array_equal(scan.counts[:, 4:], good.counts[:, 4:])
    assert not scan.mask[:4].any()


def test_a_stated_dark_offset_is_subtracted_and_0_subtracts_none(good: Any, read: Any, ids: Any) -> None:
    stored = (good.counts + 100).astype(np.uint32)

    np.testing.assert_array_equal(read(good, stored, dark_offset=40.0).counts, stored - 40.0)
    kept = read(good, stored, dark_offset=0.0)
    assert "dark-offset" not in ids(kept)
    np.testing.assert_array_equal(kept.counts, stored)


def test_means_of_many_exposures_have_no_dark_offset(good: Any, read: Any, ids: Any) -> None:
    """They vary less than photons do, bright and dark pixels alike."""
    rng = np.random.default_rng(0)

    for background in (0.1, 3.0, 30.0):
        means = rng.poisson(10.0 * (good.counts + background * np.linspace(1, 3, good.n_pixels))) / 10

        assert "dark-offset" not in ids(read(good, means, stored="counts", counts_per_photon=1.0))


def test_a_background_of_photons_is_no_dark_offset(good: Any, read: Any, ids: Any) -> None:
    assert "dark-offset" not in ids(read(good, good.counts + np.random.default_rng(0).poisson(20, good.counts.shape)))


@pytest.mark.parametrize("factor", [2, 7, 149, 1.37, 85.3])
def test_counts_are_divided_by_a_factor_that_all_have(good: Any, read: Any, finding: Any, factor: float) -> None:
    scan = read(good, (good.counts * factor).astype(np.float32 if factor % 1 else np.uint32))

    found = finding(scan, "counts-gain")
    assert found.evidence["factor"] == pytest.approx(factor, rel=1e-4)
    assert found.setting == "data.counts_per_photon=1"
    np.testing.assert_array_equal(scan.counts, good.counts)


@pytest.mark.parametrize("number_type", [np.float32, np.float64])
def test_photons_of_normalised_frames_are_recovered(good: Any, read: Any, finding: Any, number_type: type) -> None:
    """All divided by one number, and each frame by its sum, its largest value or its intensity."""
    counts = good.counts.astype(np.float64)
    intensities = np.random.default_rng(0).uniform(0.5, 2, (len(counts), 1, 1))
    divisors = (counts.max(), counts.sum((1, 2), keepdims=True), counts.max((1, 2), keepdims=True), intensities)
    for divisor in divisors:
        scan = read(good, (counts / divisor).astype(number_type))

        assert finding(scan, "counts-gain").severity == "fixed"
        np.testing.assert_array_equal(scan.counts, good.counts)


def test_values_that_were_rounded_to_some_digits_have_no_common_factor(good: Any, read: Any, ids: Any) -> None:
    values = np.round(np.random.default_rng(0).uniform(0.9, 1.1, good.counts.shape) * good.counts * 3.7, 2)

    assert ids(read(good, values)) == []


def test_means_of_exposures_are_multiplied(read: Any, finding: Any) -> None:
    """The factor has few digits, but the values vary as the photons of all exposures do."""
    good = simulate(n_frames=64, n_pixels=32, photons=1e4, seed=1)

    scan = read(good, good.counts / 10)

    assert finding(scan, "counts-gain").evidence["factor"] == pytest.approx(0.1)
    np.testing.assert_array_equal(scan.counts, good.counts)


def test_a_stuck_pixel_does_not_hide_the_factor(good: Any, read: Any, ids: Any) -> None:
    counts = (good.counts * 30).astype(np.uint32)
    counts[:, 3, 4] = int(counts.max()) * 2 + 1

    assert ids(read(good, counts)) == ["counts-gain", "pixels-hot"]


def test_nor_does_a_hot_pixel_hide_a_small_factor(good: Any, read: Any, ids: Any) -> None:
    counts = (good.counts * 3).astype(np.uint32)
    counts[:, 3, 4] = 3 * 10**8

    assert ids(read(good, counts)) == ["counts-gain", "pixels-hot"]


def test_the_user_knows_better(good: Any, read: Any, ids: Any) -> None:
    counts = (good.counts * 30).astype(np.uint32)

    assert "counts-gain" not in ids(read(good, counts, counts_per_photon=1.0))
    np.testing.assert_allclose(read(good, counts, counts_per_photon=15.0).counts, good.counts * 2)
    assert ids(read(good, np.sqrt(good.counts), stored="counts", counts_per_photon=1.0)) == []


def test_measured_intensities_with_fractions_are_neither_amplitudes_nor_multiples() -> None:
    """Of an integrating detector: large numbers with fractions, whose squares are nearly whole for their size."""
    values = np.random.default_rng(0).uniform(30, 500, 5000)

    assert share_whole(values) < 0.2
    assert share_whole(values**2) < 0.2
    assert common_factor(values, above=1.05) is None


def test_counts_with_fractions_are_noted(good: Any, read: Any) -> None:
    scan = read(good, good.counts + np.random.default_rng(0).uniform(0, 0.3, good.counts.shape))

    assert any("has fractions" in line and "data.stored" in line for line in scan.assumptions)


def test_values_far_below_one_are_no_whole_numbers(good: Any, read: Any, finding: Any) -> None:
    """Their squares and powers are close to 0 and 1."""
    values = np.random.default_rng(0).uniform(0, 0.01, good.counts.shape)

    assert finding(read(good, values), "counts-gain").severity == "warning"


def test_stated_amplitudes_of_photons_give_whole_photons(good: Any, read: Any) -> None:
    """The square of a root that was rounded to float32 is not quite whole."""
    counts = good.counts.astype(np.float64) * 30 + 1

    scan = read(good, np.sqrt(counts).astype(np.float32), stored="amplitude")

    np.testing.assert_array_equal(scan.counts, counts)


def test_stated_amplitudes_below_one_are_not_rounded(good: Any, read: Any) -> None:
    amplitudes = np.random.default_rng(0).uniform(0, 1, good.counts.shape).astype(np.float32)

    scan = read(good, amplitudes, stored="amplitude")

    np.testing.assert_allclose(scan.counts, amplitudes**2, rtol=1e-6)
