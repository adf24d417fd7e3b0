"""Single values that cosmic rays left are replaced, and nothing else is taken for one."""

from __future__ import annotations

from typing import Any

import numpy as np


def test_zingers_are_replaced_and_no_other_value(good: Any, read: Any, finding: Any) -> None:
    """Single ones and pairs, also in the corner and at an edge."""
    rng = np.random.default_rng(0)
    stored, n = good.counts.astype(np.uint32), good.n_pixels
    places = [(frame, *rng.integers(0, n - 1, 2)) for frame in range(0, good.n_frames, 3)]
    places += [(1, 4, 5), (1, 4, 6), (4, 0, 0), (5, n - 1, 7)]
    large = 20 * int(good.counts.max()) + 1000
    for frame, y, x in places:
        stored[frame, y, x] += large

    scan = read(good, stored)

    changed = np.zeros(stored.shape, np.bool_)
    changed[tuple(np.transpose(places))] = True
    found = finding(scan, "pixels-zingers")
    assert found.evidence["values"] == changed.sum()
    assert found.frames == tuple(sorted({frame for frame, _, _ in places}))
    np.testing.assert_array_equal(scan.counts[~changed], good.counts[~changed])
    assert scan.counts[changed].max() <= good.counts.max()


def test_a_frame_whose_pixels_are_shuffled_has_no_zingers(good: Any, read: Any, finding: Any) -> None:
    stored = good.counts.copy()
    stored[5] = np.random.default_rng(0).permutation(stored[5].ravel()).reshape(stored[5].shape)

    assert finding(read(good, stored), "frames-outlier").frames == (5,)


def test_zingers_may_be_kept(good: Any, read: Any, ids: Any) -> None:
    stored = good.counts.astype(np.uint32)
    stored[3, 2, 2] = 20 * int(good.counts.max())

    assert "pixels-zingers" not in ids(read(good, stored, findings=(("pixels-zingers", "ignore"),)))
