"""A linear transformation of positions has the field's names, and every matrix without a reflection has one."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ptycho_cli.data.position_transform import PositionTransform
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.simulation import simulate


@pytest.mark.parametrize(
    ("transform", "moved"),
    [
        (PositionTransform(2.0), [[6.0, 0.0], [0.0, 4.0]]),
        (PositionTransform(asymmetry=0.2), [[3.3, 0.0], [0.0, 1.8]]),
        (PositionTransform(rotation_deg=90), [[0.0, 3.0], [-2.0, 0.0]]),  # from y towards x
        (PositionTransform(shear_deg=45), [[3.0, 3.0], [0.0, 2.0]]),  # x grows with y
    ],
)
def test_each_number_does_what_its_name_says(transform: PositionTransform, moved: list[list[float]]) -> None:
    positions = np.array([[3.0, 0.0], [0.0, 2.0]])

    np.testing.assert_allclose(transform(np.concatenate((positions, -positions)))[:2], moved, atol=1e-12)


def test_the_mean_stays_where_it_is() -> None:
    positions = np.random.default_rng(0).uniform(0, 50, (9, 2))
    np.testing.assert_allclose(
        PositionTransform(1.2, 0.1, 20, 5)(positions).mean(axis=0), positions.mean(axis=0), atol=1e-9
    )


def test_every_matrix_without_a_reflection_is_found_again() -> None:
    rng = np.random.default_rng(1)
    matrices = [np.eye(2), np.array([[0.0, -1.0], [1.0, 0.0]]), -np.eye(2)]
    while len(matrices) < 200:
        matrix = rng.normal(size=(2, 2))
        matrices += [matrix] if np.linalg.det(matrix) > 0.05 else []

    for matrix in matrices:
        np.testing.assert_allclose(PositionTransform.from_matrix(matrix).matrix, matrix, atol=1e-9)


def test_the_settings_move_the_positions_of_a_file(tmp_path: Path) -> None:
    scan = simulate(n_frames=16, n_pixels=16, seed=0)
    np.savez(tmp_path / "scan.npz", diffraction=scan.counts, probe=scan.probe, scan_yx_px=scan.positions_px)

    read = read_scan(tmp_path / "scan.npz", ReadOptions(scan_asymmetry=0.1, scan_shear_deg=4.0, position_scale=1.1))

    later = read_scan(tmp_path / "scan.npz", ReadOptions(position_delay=1, position_delay_from=9))
    np.testing.assert_array_equal(later.positions_px, scan.positions_px[[*range(9), *range(10, 16)]])
    expected = PositionTransform(1.1, 0.1, 0.0, 4.0)(scan.positions_px)
    np.testing.assert_allclose(read.positions_px - read.positions_px[0], expected - expected[0], atol=1e-9)
