"""A pattern that moves on the detector with the scan is named, and brought back where the user asks for it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate


def _moved(scan: Scan, matrix: Any) -> tuple[np.ndarray, np.ndarray]:
    """Whole detector pixels for each frame, with so many at the edge of the scan, and the frames moved by them."""
    away = scan.positions_px - scan.positions_px.mean(axis=0)
    steps = np.rint(away / np.abs(away).max() @ np.array(matrix)).astype(int)
    return steps, np.stack(
        [np.roll(frame, tuple(step), (0, 1)) for frame, step in zip(scan.counts, steps, strict=True)]
    )


def _named(scan: Scan) -> Finding:
    (found,) = (item for item in scan.findings if item.id == "beam-descan")
    return found


@pytest.mark.parametrize("matrix", [[[2, 0], [0, 2]], [[0, 2.5], [-2.5, 0]], [[0, 0], [3, 0]]])
def test_a_pattern_that_moves_with_the_scan_is_named(good: Scan, read: Any, matrix: Any) -> None:
    steps, counts = _moved(good, matrix)

    found = _named(read(good, counts))

    assert (found.severity, found.setting) == ("warning", "data.descan=remove")
    for axis, name in enumerate(("span_y_px", "span_x_px")):
        assert found.evidence[name] == pytest.approx(np.ptp(steps[:, axis]), abs=2)


def test_the_frames_are_moved_back(good: Scan, read: Any) -> None:
    """To a pixel: the object moves the light a little, too."""
    _, counts = _moved(good, [[2, 1], [-1, 2]])

    scan = read(good, counts, descan="remove")

    assert _named(scan).setting == "data.descan=keep"
    left = [
        np.array(np.unravel_index(int(np.argmax(_likeness(now, before))), now.shape))
        for now, before in zip(scan.counts, good.counts, strict=True)
    ]
    half = good.n_pixels // 2
    assert np.abs((np.array(left) + half) % good.n_pixels - half).max() <= 1
    assert scan.counts.sum() == good.counts.sum()


def test_frames_are_moved_back_as_asked_though_the_finding_is_ignored(good: Scan, read: Any) -> None:
    _, counts = _moved(good, [[2, 1], [-1, 2]])

    scan = read(good, counts, descan="remove", findings=(("beam-descan", "ignore"),))

    assert not [found for found in scan.findings if found.id == "beam-descan"]
    np.testing.assert_array_equal(scan.counts, read(good, counts, descan="remove").counts)


def _likeness(frame: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Circular cross-correlation of two frames."""
    return np.fft.ifft2(np.fft.fft2(frame) * np.conj(np.fft.fft2(other))).real


def test_masked_pixels_stay_out_wherever_they_move(good: Scan, read: Any) -> None:
    steps, counts = _moved(good, [[2, 0], [0, 0]])
    gap = np.zeros(counts.shape[1:], dtype=bool)
    gap[10] = True

    scan = read(good, np.where(gap, 0, counts), contents={"mask": ~gap}, descan="remove")

    assert 1 + np.ptp(steps[:, 0]) - 2 <= (~scan.mask[:, 0]).sum() <= 1 + np.ptp(steps[:, 0]) + 2
    assert not np.asarray(scan.counts)[:, ~scan.mask].any()


def test_a_pattern_that_hardly_moves_is_left_alone_and_told(read: Any, ids: Any) -> None:
    good = simulate(n_frames=81, n_pixels=48, photons=1e5, object_kind="siemens", seed=3)

    scan = read(good, descan="remove")

    assert ids(scan) == []
    assert "less than data.descan=remove can move back" in " ".join(scan.assumptions)
    np.testing.assert_array_equal(scan.counts, good.counts)


def test_few_frames_say_nothing(read: Any, ids: Any) -> None:
    """A few frames of a strong object move the light as they please."""
    scan = simulate(n_frames=25, n_pixels=48, photons=1e5, object_kind="cells", seed=4)

    assert "beam-descan" not in ids(read(scan))
