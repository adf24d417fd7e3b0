"""Frames at the rim of a scan do not judge a fit that is made without them."""

from __future__ import annotations

import numpy as np
import torch

from ptycho_cli.calibration.held_out_frames import MIN_COVERED, covered_share, exceeds_error, judging_frames
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.data.simulation import simulate


def test_frames_in_the_middle_of_a_scan_are_covered_and_those_at_the_corners_are_not() -> None:
    scan = simulate(n_frames=25, n_pixels=32, step_px=7.0, photons=1e5, seed=1)
    assert scan.probe is not None
    share = covered_share(scan_frames(scan, dtype=torch.float32), torch.from_numpy(scan.probe))
    offset = np.abs(scan.positions_px - scan.positions_px.mean(axis=0)).max(axis=1)

    assert share.shape == (25,)
    assert share.min() >= 0
    assert share.max() <= 1
    assert share[np.argmin(offset)] > MIN_COVERED
    assert share[np.argmax(np.abs(scan.positions_px - scan.positions_px.mean(axis=0)).sum(axis=1))] < MIN_COVERED


def test_where_no_held_out_frame_is_covered_the_best_covered_frames_judge() -> None:
    share, held_out = np.array([0.2, 0.99, 0.97, 0.5]), np.array([True, False, True, False])

    assert judging_frames(share, held_out, 2).tolist() == [False, False, True, False]
    assert judging_frames(share, np.array([True, False, False, True]), 2).tolist() == [False, True, True, False]


def test_few_frames_must_show_more_to_be_believed() -> None:
    """A confidence of 90 % asks five values for 1.53 standard errors, and fifty for 1.30."""
    five = np.array([-1.0, -0.5, 0.0, 0.5, 1.0])
    error = five.std(ddof=1) / np.sqrt(5)

    assert exceeds_error(five + 1.2 * error)
    assert not exceeds_error(five + 0.8 * error)
    assert not exceeds_error(five + 1.45 * error, confidence=0.9)
    assert exceeds_error(five + 1.6 * error, confidence=0.9)
    many = np.tile(five, 10)
    wide = many.std(ddof=1) / np.sqrt(50)
    assert exceeds_error(many + 1.45 * wide, confidence=0.9)
    assert not exceeds_error(np.array([1.0]), confidence=0.9)
