"""Amplitudes are squared, detector units divided by those of one photon."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.findings.count_units import common_factor, share_whole


@pytest.mark.parametrize("number_type", [np.float16, np.float32, np.float64])
def test_square_roots_of_whole_numbers_are_amplitudes(good: Any, read: Any, finding: Any, number_type: type) -> None:
    scan = read(good, np.sqrt(good.counts).astype(number_type))

    assert finding(scan, "stored-amplitude").setting == "data.stored=counts"
    np.testing.assert_allclose(scan.counts, good.counts, rtol=2e-3 if number_type == np.float16 else 1e-6)


@pytest.mark.parametrize("factor", [2, 7, 149, 1.37, 85.3])
def test_counts_are_divided_by_a_factor_that_all_have(good: Any, read: Any, finding: Any, factor: float) -> None:
    scan = read(good, (good.counts * factor).astype(np.float32 if factor % 1 else np.uint32))

    found = finding(scan, "counts-gain")
    assert found.evidence["factor"] == pytest.approx(factor, rel=1e-4)
    assert found.setting == "data.counts_per_photon=1"
    np.testing.assert_array_equal(scan.counts, good.counts)


def test_a_stuck_pixel_does_not_hide_the_factor(good: Any, read: Any, ids: Any) -> None:
    counts = (good.counts * 30).astype(np.uint32)
    counts[:, 3, 4] = int(counts.max()) * 2 + 1

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
    assert common_factor(values) is None


def test_counts_with_fractions_are_noted(good: Any, read: Any) -> None:
    scan = read(good, good.counts + np.random.default_rng(0).uniform(0, 0.3, good.counts.shape))

    assert any("has fractions" in line and "data.stored" in line for line in scan.assumptions)


def test_stated_amplitudes_of_photons_give_whole_photons(good: Any, read: Any) -> None:
    """The square of a root that was rounded to float32 is not quite whole."""
    counts = good.counts.astype(np.float64) * 30 + 1

    scan = read(good, np.sqrt(counts).astype(np.float32), stored="amplitude")

    np.testing.assert_array_equal(scan.counts, counts)


def test_stated_amplitudes_below_one_are_not_rounded(good: Any, read: Any) -> None:
    amplitudes = np.sqrt(good.counts / good.counts.max()).astype(np.float32)

    scan = read(good, amplitudes, stored="amplitude")

    np.testing.assert_allclose(scan.counts, amplitudes**2)
