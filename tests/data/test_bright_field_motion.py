"""The sample's image in the bright field gives the width of the beam and the directions of the position axes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from ptycho_cli.data.bright_field_motion import find_bright_field_motion
from ptycho_cli.data.interpret import interpret
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate


@pytest.fixture(scope="module")
def scan() -> Scan:
    return simulate(n_frames=100, step_px=2.0)


def test_the_beam_is_as_wide_as_the_optics_make_it(scan: Scan) -> None:
    """The simulated zone plate is defocused to 0.4 of the frame, so a step moves the image by about as much."""
    motion = find_bright_field_motion(scan.counts, scan.positions_px)

    assert motion is not None
    assert motion.beam_px == pytest.approx(0.4 * scan.n_pixels, rel=0.2)
    assert not motion.one_axis_reversed
    assert not motion.axes_swapped


def test_a_reversed_and_a_swapped_position_axis_show(scan: Scan) -> None:
    reversed_y = find_bright_field_motion(scan.counts, scan.positions_px * [-1, 1])
    swapped = find_bright_field_motion(scan.counts, scan.positions_px[:, ::-1])

    assert reversed_y is not None
    assert reversed_y.one_axis_reversed
    assert swapped is not None
    assert swapped.axes_swapped


def test_frames_in_another_order_than_the_positions_show_no_motion(scan: Scan) -> None:
    order = np.random.default_rng(0).permutation(scan.n_frames)

    assert find_bright_field_motion(scan.counts[order], scan.positions_px) is None
    assert find_bright_field_motion(np.ones_like(scan.counts), scan.positions_px) is None


def test_a_projection_microscope_is_near_field() -> None:
    """Frames that are a plain image of the sample, a third of a pixel for each object pixel of scan."""
    rng = np.random.default_rng(1)
    sample = 100 * np.exp(gaussian_filter(rng.standard_normal((96, 96)), 1.5))
    steps = rng.integers(0, 32, (60, 2))
    frames = rng.poisson(np.stack([sample[y : y + 64, x : x + 64] for y, x in steps]))
    raw = RawScan("made.h5", "data", frames, positions=steps * 3.0, position_unit="px", position_order="yx")

    found = interpret(raw, ReadOptions())
    assert found.near_field is not None
    assert "image in the bright field moves as in a beam" in found.near_field
