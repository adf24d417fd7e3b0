"""Frames and positions that the file keeps under odd names: found by shape, or named by the user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
from scipy.io import savemat

from ptycho_cli.cli.app import main
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.errors import DataError

COUNTS = np.random.default_rng(0).poisson(50, (12, 16, 16)).astype(np.uint16)
POSITIONS = np.random.default_rng(1).uniform(0, 60, (12, 2))


def hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        file.update({name.replace("__", "/"): value for name, value in arrays.items()})
    return path


def same_scan(scan: Scan) -> None:
    np.testing.assert_array_equal(scan.counts, COUNTS)
    np.testing.assert_allclose(scan.positions_px - scan.positions_px[0], POSITIONS - POSITIONS[0], atol=1e-4)


@pytest.mark.parametrize(
    "positions",
    [
        {"where": ("positions", POSITIONS)},
        {"where": ("positions", POSITIONS.T)},
        {"where": ("positions", POSITIONS.reshape(3, 4, 2))},
        {"y": ("motors__sam_y", POSITIONS[:, 0]), "x": ("motors__sam_x", POSITIONS[:, 1])},
        {"y": ("pos_Y", POSITIONS[:, :1]), "x": ("pos_X", POSITIONS[:, 1:])},
    ],
)
def test_the_stack_with_as_many_images_as_positions_is_the_frames(tmp_path: Path, positions: Any) -> None:
    path = hdf5(
        tmp_path / "odd.h5",
        dark__data=COUNTS[:5],
        a_fluorescence__data=np.zeros((12, 4, 64)),
        pilatus__images=COUNTS,
        **dict(positions.values()),
    )

    scan = read_scan(path)

    same_scan(scan)
    assert any("pilatus/images" in line and "data.frames" in line for line in scan.assumptions)


def test_what_the_user_names_is_read(tmp_path: Path) -> None:
    """Also from another file, and in place of what would be found."""
    path = hdf5(tmp_path / "odd.h5", other__data=COUNTS[::-1], other__positions=POSITIONS, mine=COUNTS)
    hdf5(tmp_path / "motors.h5", y_um=POSITIONS[:, 0] * 1e-2, x_um=POSITIONS[:, 1] * 1e-2)
    options = ReadOptions(frames="/mine", positions="motors.h5:y_um,motors.h5:x_um", object_pixel_m=1e-8)

    same_scan(read_scan(path, options))


def test_names_travel_from_the_command_line_to_the_scan(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = hdf5(tmp_path / "odd.h5", a=COUNTS, b=np.zeros((12, 16, 16)), spots=POSITIONS)
    flags = ["--frames", "a", "--positions", "spots"]

    assert main(["data", "convert", str(path), "-o", str(tmp_path / "scan.h5"), *flags]) == 0
    same_scan(read_scan(tmp_path / "scan.h5"))
    capsys.readouterr()
    assert main(["data", "check", str(path), "--quick", "--json", "--frames", "aa", "--positions", "spots"]) == 2
    assert "no array 'aa'" in json.loads(capsys.readouterr().out)["problem"]["message"]


def test_a_name_that_is_not_there_lists_what_is(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "odd.h5", detector__frames=COUNTS, positions=POSITIONS)

    with pytest.raises(
        DataError, match=r"no array 'detector/frame'; it holds /detector/frames \(12, 16, 16\)"
    ) as found:
        read_scan(path, ReadOptions(frames="detector/frame"))
    assert found.value.hint == "Did you mean /detector/frames?"
    with pytest.raises(DataError, match=r"gone\.h5: no such file"):
        read_scan(path, ReadOptions(positions="gone.h5:/positions"))


def test_frames_without_positions_are_refused_with_the_command_that_names_them(tmp_path: Path) -> None:
    with pytest.raises(DataError) as found:
        read_scan(hdf5(tmp_path / "odd.h5", pilatus__images=COUNTS))
    assert found.value.hint is not None
    assert "--frames /pilatus/images --positions" in found.value.hint


def test_links_lead_to_frames_and_series_are_joined(tmp_path: Path) -> None:
    for number, part in enumerate((COUNTS[:7], COUNTS[7:]), start=1):
        hdf5(tmp_path / f"part_{number}.h5", entry__data=part)
    with h5py.File(tmp_path / "master.h5", "w") as file:
        for number in (1, 2):
            file[f"entry/data/data_{number:06}"] = h5py.ExternalLink(f"part_{number}.h5", "/entry/data")
        file["entry/scan/positions"], file["loop"] = POSITIONS, h5py.SoftLink("/entry")

    same_scan(read_scan(tmp_path / "master.h5"))


@pytest.mark.parametrize("compression", [hdf5plugin.Bitshuffle(), hdf5plugin.LZ4(), hdf5plugin.Blosc()])
def test_detector_compressions_are_read(tmp_path: Path, compression: Any) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("data", data=COUNTS, **compression)
        file["positions"] = POSITIONS

    same_scan(read_scan(tmp_path / "a.h5"))


def test_numpy_and_matlab_files_are_read_with_positions_from_another_file(tmp_path: Path) -> None:
    np.save(tmp_path / "frames.npy", COUNTS.reshape(3, 4, 16, 16))
    savemat(tmp_path / "frames.mat", {"dp": COUNTS})
    hdf5(tmp_path / "where.h5", positions_px=POSITIONS)

    for name in ("frames.npy", "frames.mat"):
        same_scan(read_scan(tmp_path / name, ReadOptions(positions="where.h5:/positions_px")))


def test_pairs_of_fold_slice_have_their_axes_as_matlab_keeps_them(tmp_path: Path) -> None:
    hdf5(tmp_path / "data_roi0_dp.hdf5", dp=np.swapaxes(COUNTS, 1, 2))
    hdf5(tmp_path / "data_roi0_para.hdf5", ppY=POSITIONS[None, :, 0] * 1e-8, ppX=POSITIONS[None, :, 1] * 1e-8, dx=1e-8)

    scan = read_scan(tmp_path / "data_roi0_dp.hdf5")

    same_scan(scan)
    assert scan.object_pixel_m == pytest.approx(1e-8)


def test_ptychodus_positions_belong_to_the_frames_that_their_indexes_name(tmp_path: Path) -> None:
    order = np.random.default_rng(2).permutation(12)
    y, x = POSITIONS[order].T * 1e-8
    path = hdf5(
        tmp_path / "product.h5", diffraction=COUNTS, probe_position_y_m=y, probe_position_x_m=x,
        probe_position_indexes=order,
    )  # fmt: skip

    same_scan(read_scan(path, ReadOptions(object_pixel_m=1e-8)))
