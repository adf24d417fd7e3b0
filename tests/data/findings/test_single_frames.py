"""Masks and probes of single frames, where the model has one mask and one set of modes for all."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest


def overlap(a: Any, b: Any) -> float:
    return float(np.abs(np.vdot(a, b)) / (np.linalg.norm(a) * np.linalg.norm(b)))


def test_a_user_who_keeps_all_frames_loses_pixels_instead(good: Any, read: Any) -> None:
    bad = np.zeros(good.counts.shape, dtype=np.uint8)
    bad[5, : good.n_pixels // 4] = 1

    scan = read(good, contents={"mask": bad, "mask_marks": "bad"}, reject_bad_frames="never")

    assert scan.n_frames == good.n_frames
    assert not scan.mask[: good.n_pixels // 4].any()


@pytest.mark.parametrize("last", [False, True])
def test_frames_that_the_file_masks_largely_are_left_out(good: Any, read: Any, finding: Any, last: bool) -> None:
    bad = np.zeros(good.counts.shape, dtype=np.uint8)
    bad[:, 3] = 1
    bad[[5, 60], : good.n_pixels // 2] = 1

    scan = read(good, contents={"mask": np.moveaxis(bad, 0, -1) if last else bad, "mask_marks": "bad"})

    assert finding(scan, "frames-invalid").frames == (5, 60)
    expected = np.ones((good.n_pixels, good.n_pixels), bool)
    expected[3] = False
    np.testing.assert_array_equal(scan.mask, expected)


def test_a_few_pixels_of_some_frames_are_masked_in_all(good: Any, read: Any, finding: Any) -> None:
    bad = np.zeros(good.counts.shape, dtype=np.uint8)
    bad[10:50, 2, 3:6] = 1

    scan = read(good, contents={"mask": bad, "mask_marks": "bad"})

    assert finding(scan, "pixels-sentinel").pixels == ((2, 3), (2, 4), (2, 5))
    assert scan.n_frames == good.n_frames
    assert (~scan.mask).sum() == 3


def test_a_frame_with_many_pixels_of_its_own_is_left_out(good: Any, read: Any, finding: Any) -> None:
    """It costs a frame of 81; masking its pixels would cost more than a percent of every frame."""
    bad = np.zeros(good.counts.shape, dtype=np.uint8)
    bad[7].ravel()[: round(0.015 * good.n_pixels**2)] = 1

    assert finding(read(good, contents={"mask": bad, "mask_marks": "bad"}), "frames-invalid").frames == (7,)


def test_the_same_mask_for_every_frame_is_no_finding(good: Any, read: Any, ids: Any) -> None:
    mask = np.ones(good.counts.shape, dtype=np.uint8)
    mask[:, 1] = 0

    scan = read(good, contents={"mask": mask, "mask_marks": "good"})

    assert ids(scan) == []
    assert (~scan.mask).sum() == good.n_pixels


def test_a_mask_is_transformed_with_its_frames(good: Any, read: Any) -> None:
    mask = np.ones(good.counts.shape[1:], dtype=np.uint8)
    mask[1, 4] = 0

    assert not read(good, contents={"mask": mask}, frame_transform="transpose").mask[4, 1]


def test_probes_of_single_frames_become_their_strongest_modes(good: Any, read: Any, finding: Any) -> None:
    rng = np.random.default_rng(0)
    phases = np.exp(2j * np.pi * rng.random((good.n_frames, 1, 1)))
    probes = good.probe[0] * phases * rng.uniform(0.9, 1.1, (good.n_frames, 1, 1))

    scan = read(good, contents={"probe": probes})

    assert "one for each frame" in finding(scan, "probe-size").message
    assert scan.probe.shape == good.probe.shape
    assert overlap(scan.probe, good.probe) > 0.999


def test_variants_of_modes_are_reduced_to_the_mean_probe(good: Any, read: Any, finding: Any) -> None:
    """pty-chi stores (variant, mode, y, x), the mean first."""
    modes = np.stack([good.probe[0], 0.3 * np.roll(good.probe[0], 3, axis=0)])
    probe = np.stack([modes, 0.1 * np.roll(modes, 2, axis=-1), 0.1 * np.roll(modes, 4, axis=-1)])

    scan = read(good, contents={"probe": probe})

    assert "3 variants (orthogonal probe relaxation) of 2 modes" in finding(scan, "probe-size").message
    assert scan.probe.shape == modes.shape
    assert overlap(scan.probe, modes) > 0.999


@pytest.mark.parametrize("number", [3, 9])
def test_modes_are_kept(good: Any, read: Any, ids: Any, number: int) -> None:
    """Also where there happen to be as many as frames: modes are orthogonal."""
    waves = [good.probe[0] * np.exp(2j * np.pi * k * np.arange(good.n_pixels) / good.n_pixels) for k in range(number)]
    modes = np.linalg.qr(np.reshape(waves, (number, -1)).T)[0].T.reshape(number, good.n_pixels, good.n_pixels)
    modes *= np.sqrt(0.2 ** np.arange(number))[:, None, None]

    scan = read(good, good.counts[:9].astype(np.uint32), good.positions_px[:9], contents={"probe": modes})

    assert "probe-size" not in ids(scan)
    assert scan.probe.shape == modes.shape
