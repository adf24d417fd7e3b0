"""Islands of frames are moved together, so that training costs what their frames cost."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho_cli.data.groups import Groups
from ptycho_cli.data.islands import offsets_of_islands
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan

N = 32
APART = np.array([3000.0, -2000.0])


@pytest.fixture(scope="module")
def islands() -> Scan:
    """Two halves of one scan, the second moved far away."""
    scan = simulate(n_frames=100, n_pixels=N, photons=1e5, seed=7)
    positions = scan.positions_px.copy()
    positions[50:] += APART
    return replace(scan, positions_px=positions, truth=None)


@pytest.fixture(scope="module")
def path(islands: Scan, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("islands") / "scan.npz"
    np.savez(path, diffraction=islands.counts, probe=islands.probe, scan_yx_px=islands.positions_px)
    return path


def test_islands_lie_side_by_side_and_their_frames_share_no_pixel(path: Path, islands: Scan) -> None:
    scan = read_scan(path)

    assert scan.moved_px is not None
    np.testing.assert_allclose(scan.positions_px + scan.moved_px, islands.positions_px)
    np.testing.assert_array_equal(scan.moved_px, np.round(scan.moved_px))
    apart = np.abs(scan.positions_px[:50, None] - scan.positions_px[None, 50:]).max(axis=-1)
    assert N + 1 < apart.min() < 3 * N
    assert np.ptp(scan.positions_px, axis=0).max() < 200
    (note,) = [item for item in scan.findings if item.id == "positions-outlier"]
    assert note.severity == "note"


def test_a_group_never_holds_frames_of_two_islands(path: Path) -> None:
    scan = read_scan(path)
    groups = Groups([scan], group_size=60, seed=0, validation_fraction=0.1)

    batches = [groups.training_group(0, index) for index in range(len(groups))]
    batches += [groups.validation_group(index) for index in range(groups.n_validation)]

    for batch in batches:
        used = batch.frames[0][batch.frames[0] >= 0].numpy()
        assert len(np.unique(used < 50)) == 1
    assert max(groups.canvas) < 100


def test_one_scan_is_not_moved() -> None:
    scan = simulate(n_frames=100, n_pixels=N, photons=1e5, seed=7)

    assert offsets_of_islands(scan.positions_px, N) is None


def test_converted_files_keep_the_distance_of_islands(path: Path, islands: Scan, tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.h5", read_scan(path))
    again = read_scan(tmp_path / "scan.h5")

    assert again.moved_px is not None
    np.testing.assert_allclose(again.positions_px + again.moved_px, islands.positions_px)


def test_islands_stay_where_they_are_if_the_user_says_so(path: Path, islands: Scan) -> None:
    scan = read_scan(path, ReadOptions(findings=(("positions-outlier", "ignore"),)))

    np.testing.assert_allclose(scan.positions_px, islands.positions_px)


def test_the_known_object_moves_with_the_islands(tmp_path: Path) -> None:
    scan = simulate(n_frames=64, n_pixels=N, photons=1e5, seed=8)
    assert scan.truth is not None
    assert scan.truth_origin_px is not None
    height, width = scan.truth.shape
    far = np.ones((height + 2000, width), dtype=np.complex64)
    far[:height], far[2000:] = scan.truth, scan.truth
    positions = scan.positions_px.copy()
    positions[32:, 0] += 2000
    write_scan(tmp_path / "scan.h5", replace(scan, positions_px=positions, truth=far))

    found = read_scan(tmp_path / "scan.h5")

    assert found.truth is not None
    assert found.truth_origin_px is not None
    assert max(found.truth.shape) < 300
    for frame in (0, 20, 40, 63):  # each patch is that of the simulation
        place = np.round(found.positions_px[frame] - found.truth_origin_px).astype(int)
        source = np.round(scan.positions_px[frame] - scan.truth_origin_px).astype(int)
        (y, x), (v, u) = place - N // 2, source - N // 2
        np.testing.assert_array_equal(found.truth[y : y + N, x : x + N], scan.truth[v : v + N, u : u + N])
