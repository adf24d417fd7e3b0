"""The eight orientations of frames and positions, and sequences of positions."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from ptycho_cli.data.orientation import FRAME_TRANSFORMS, composed, name_of, oriented_frames, oriented_positions
from ptycho_cli.data.position_sequence import in_sequence, raster_rows
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.simulation import PATTERNS
from ptycho_cli.errors import DataError

FRAMES = np.arange(12.0).reshape(1, 3, 4)
NUMPY = {
    "none": FRAMES,
    "flip_y": np.flip(FRAMES, 1),
    "flip_x": np.flip(FRAMES, 2),
    "transpose": np.swapaxes(FRAMES, 1, 2),
    "anti_transpose": np.rot90(np.swapaxes(FRAMES, 1, 2), 2, axes=(1, 2)),
    **{f"rotate_{90 * k}": np.rot90(FRAMES, k, axes=(1, 2)) for k in (1, 2, 3)},
}


@pytest.mark.parametrize("name", FRAME_TRANSFORMS)
def test_frame_transforms_are_those_of_numpy(name: str) -> None:
    np.testing.assert_array_equal(oriented_frames(FRAMES, FRAME_TRANSFORMS[name]), NUMPY[name])


def test_two_transforms_are_one_transform() -> None:
    positions = np.random.default_rng(0).normal(size=(5, 2))
    for first, then in product(FRAME_TRANSFORMS.values(), repeat=2):
        both = composed(first, then)
        assert FRAME_TRANSFORMS[name_of(both)] == both
        np.testing.assert_array_equal(
            oriented_frames(oriented_frames(FRAMES, first), then), oriented_frames(FRAMES, both)
        )
        np.testing.assert_array_equal(
            oriented_positions(oriented_positions(positions, first), then), oriented_positions(positions, both)
        )


@pytest.mark.parametrize("n_frames", [36, 90, 256])
def test_rows_of_a_jittered_raster_are_found_and_snakes_undo_themselves(n_frames: int) -> None:
    positions = PATTERNS["raster"](n_frames, 3.0, np.random.default_rng(1))
    rows = raster_rows(positions)

    assert rows is not None
    assert len(rows) == int(np.ceil(n_frames / np.ceil(np.sqrt(n_frames))))
    snake = in_sequence(positions, "snake")
    assert snake is not None
    np.testing.assert_array_equal(snake[rows[1]], positions[rows[1]][::-1])
    np.testing.assert_array_equal(in_sequence(snake, "snake"), positions)


def test_rows_of_different_lengths_end_where_the_slow_axis_steps() -> None:
    lengths = (7, 9, 4, 8)
    rows = np.concatenate([[(3.0 * row, 2.0 * column) for column in range(n)] for row, n in enumerate(lengths)])

    assert [row.stop - row.start for row in raster_rows(rows) or ()] == list(lengths)


@pytest.mark.parametrize("pattern", ["fermat", "random"])
def test_other_patterns_have_no_rows(pattern: str) -> None:
    assert raster_rows(PATTERNS[pattern](100, 3.0, np.random.default_rng(2))) is None


@pytest.fixture
def scan_file(tmp_path, request):  # type: ignore[no-untyped-def]
    positions = PATTERNS[request.param](36, 3.0, np.random.default_rng(3))
    counts = np.random.default_rng(4).poisson(50, (36, 16, 16))
    np.savez(tmp_path / "scan.npz", diffraction=counts, scan_yx_px=positions)
    return tmp_path / "scan.npz", positions


@pytest.mark.parametrize("scan_file", ["raster"], indirect=True)
@pytest.mark.parametrize("sequence", ["reverse", "snake"])
def test_the_setting_changes_the_sequence_of_positions(scan_file, sequence: str) -> None:  # type: ignore[no-untyped-def]
    path, positions = scan_file

    scan = read_scan(path, ReadOptions(position_sequence=sequence))  # type: ignore[arg-type]

    np.testing.assert_allclose(scan.positions_px, in_sequence(positions, sequence))  # type: ignore[arg-type]


@pytest.mark.parametrize("scan_file", ["fermat"], indirect=True)
def test_a_sequence_that_cannot_be_made_is_refused(scan_file) -> None:  # type: ignore[no-untyped-def]
    path, _ = scan_file
    with pytest.raises(DataError, match="no rows of a raster"):
        read_scan(path, ReadOptions(position_sequence="snake"))
    with pytest.raises(DataError, match="needs all positions"):
        read_scan(path, ReadOptions(position_sequence="reverse", max_frames=20))
