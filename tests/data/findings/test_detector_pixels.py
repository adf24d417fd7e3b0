"""Saturated pixels, beam stops, hot and dead pixels are masked, and nothing else is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.simulation import simulate


@pytest.mark.parametrize("share", [0.3, 0.5])
def test_pixels_that_reach_the_largest_count_are_masked(good: Any, read: Any, finding: Any, share: float) -> None:
    limit = int(np.sort(good.counts.max(axis=0).ravel())[-good.n_pixels] * share)

    scan = read(good, np.minimum(good.counts, limit))

    found = finding(scan, "pixels-saturated")
    assert found.evidence["maximum"] == limit
    np.testing.assert_array_equal(scan.mask, ~(good.counts >= limit).any(axis=0))


@pytest.mark.parametrize(("top", "number_type"), [(255, np.uint8), (255, np.uint32), (65535, np.uint16)])
def test_pixels_whose_values_began_again_at_0_are_masked(
    good: Any, read: Any, ids: Any, top: int, number_type: type
) -> None:
    """As in a file whose type has too few bits, be it copied to a wider one since."""
    counts = np.random.default_rng(0).poisson(good.counts * (2.5 * top / good.counts.max()))

    scan = read(good, (counts % (top + 1)).astype(number_type))

    assert "pixels-saturated" in ids(scan)
    assert not scan.mask[(counts > top).mean(axis=0) > 0.05].any()
    assert scan.mask[(counts < top / 2).all(axis=0)].mean() > 0.7


@pytest.mark.parametrize("top", [255, 32767, 65535])
def test_scans_that_fill_the_range_of_their_type_have_not_wrapped(good: Any, read: Any, ids: Any, top: int) -> None:
    """As after a contrast stretch; also a bright disc, whose values are all near the largest."""
    disc = np.zeros((32, 32))
    disc[8:24, 8:24] = 200
    discs = np.random.default_rng(0).poisson(disc, (81, 32, 32))
    for counts in (good.counts, discs):
        stretched = np.floor(counts * (top / counts.max()))
        probe = None if counts is discs else good.probe
        assert "pixels-saturated" not in ids(read(good, stretched, contents={"probe": probe}))


@pytest.mark.parametrize(("level", "severity"), [(0.9, "fixed"), (0.5, "warning")])
def test_a_person_must_decide_where_most_of_the_light_is_saturated(
    read: Any, finding: Any, level: float, severity: str
) -> None:
    good = simulate(n_frames=64, n_pixels=48, photons=1e6, object_kind="texture", seed=1)
    limit = int(level * good.counts.max())

    found = finding(read(good, np.minimum(good.counts, limit)), "pixels-saturated")

    assert found.severity == severity
    assert (found.evidence["share_of_light"] > 0.5) is (severity == "warning")
    assert ("uncertain" in found.message) is (severity == "warning")


@pytest.mark.parametrize("object_kind", ["texture", "siemens", "weak"])
def test_a_saturated_sixteen_bit_detector_is_not_taken_for_one_with_gaps(
    read: Any, finding: Any, object_kind: str
) -> None:
    good = simulate(n_frames=49, n_pixels=32, photons=2e7, object_kind=object_kind, seed=1)
    counts = np.minimum(good.counts, 65535).astype(np.uint16)

    found = finding(read(good, counts), "pixels-saturated")

    assert found.pixels == tuple(map(tuple, np.argwhere((counts == 65535).any(axis=0)).tolist()))


@pytest.mark.parametrize("radius", [0.06, 0.09])
@pytest.mark.parametrize("move", [0, 2])
def test_a_beam_stop_is_masked(good: Any, read: Any, finding: Any, radius: float, move: int) -> None:
    y, x = np.mgrid[: good.n_pixels, : good.n_pixels] - good.n_pixels // 2
    stop = np.hypot(y - move, x + move) <= max(2.0, radius * good.n_pixels)

    scan = read(good, np.where(stop, 0, good.counts))

    found = finding(scan, "beam-stop")
    assert set(found.pixels) <= set(map(tuple, np.argwhere(stop).tolist()))
    assert len(found.pixels) >= 0.9 * stop.sum()


def test_the_wire_of_a_beam_stop_is_masked_as_far_as_there_is_light(read: Any, finding: Any) -> None:
    good = simulate(n_frames=81, n_pixels=64, photons=1e6, object_kind="texture", seed=2)
    y, x = np.mgrid[:64, :64] - 32
    stop = (np.hypot(y, x) < 5) | ((np.abs(y - 0.4 * x) < 1.5) & (x > 0))

    scan = read(good, np.where(stop, 0, good.counts))

    assert set(finding(scan, "beam-stop").pixels) <= set(map(tuple, np.argwhere(stop).tolist()))
    assert not (scan.mask & stop & (good.counts.sum(axis=0) > 1000)).any()


def test_hot_and_dead_pixels_are_named_where_they_are_stored(good: Any, read: Any) -> None:
    counts = good.counts.astype(np.uint32)
    counts[:, 2, 3] += int(counts.max()) * 2
    corner = np.fft.ifftshift(counts, axes=(1, 2))

    for stored, place in ((counts, (2, 3)), (corner, tuple((i - good.n_pixels // 2) % good.n_pixels for i in (2, 3)))):
        scan = read(good, stored)
        assert [item.pixels for item in scan.findings if item.id == "pixels-hot"] == [(place,)]
        assert not scan.mask[2, 3]
        assert int((~scan.mask).sum()) == 1


def test_ignored_findings_are_neither_reported_nor_corrected(good: Any, read: Any, ids: Any) -> None:
    counts = good.counts.astype(np.uint32)
    counts[:, 2, 3] += int(counts.max()) * 2

    scan = read(good, counts, findings=(("pixels-hot", "ignore"),))

    assert ids(scan) == []
    assert scan.mask.all()
