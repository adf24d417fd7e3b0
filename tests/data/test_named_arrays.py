"""Frames and positions that the file keeps under odd names: found by shape, or named by the user."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import hdf5plugin
import numpy as np
import pytest
import yaml
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


@pytest.mark.parametrize("positions", ["motors.h5:y_um,motors.h5:x_um", "motors.h5:y_um,x_um", "motors.h5:y_um, /x_um"])
def test_columns_of_positions_are_in_the_file_that_the_first_names(positions: str, tmp_path: Path) -> None:
    path = hdf5(tmp_path / "odd.h5", frames=COUNTS, x_um=np.zeros(3))
    hdf5(tmp_path / "motors.h5", y_um=POSITIONS[:, 0] * 1e-2, x_um=POSITIONS[:, 1] * 1e-2)

    same_scan(read_scan(path, ReadOptions(positions=positions, object_pixel_m=1e-8)))


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
        DataError,
        match=r"no array 'detector/frame' in it, and no file of that name; it holds /detector/frames \(12, 16, 16\)",
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


def test_a_matlab_file_of_structures_is_refused_with_the_way_out(tmp_path: Path) -> None:
    savemat(tmp_path / "scan.mat", {"p": {"images": COUNTS, "positions": POSITIONS}})

    with pytest.raises(DataError, match="no arrays of numbers in it; structures and cells are read only") as caught:
        read_scan(tmp_path / "scan.mat")
    assert "-v7.3" in str(caught.value.hint)


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


def test_the_hint_is_a_command_that_reads_the_file(tmp_path: Path) -> None:
    """Where frames or positions are not found, with those that they may be by their shapes."""
    table = {"stage__spots": POSITIONS, "other__pairs": POSITIONS}
    for number, (arrays, words) in enumerate(
        [
            ({"det__images": COUNTS}, "--frames /det/images --positions PATH"),
            ({"det__images": COUNTS, **table}, "--frames /det/images --positions /stage/spots"),
            ({"data": COUNTS, **table}, "--positions /stage/spots"),
            ({"data": COUNTS, "hor": POSITIONS[:, 1], "ver": POSITIONS[:, 0]}, "--positions /ver,/hor"),
            ({"positions": POSITIONS}, "--frames FILE:PATH --positions /positions"),
        ]
    ):
        path = hdf5(tmp_path / f"{number}.h5", **arrays)
        with pytest.raises(DataError) as found:
            read_scan(path)
        assert f"ptycho data check {path} {words}" in str(found.value.hint)


def test_the_positions_of_which_there_are_as_many_as_frames_are_taken_and_reported(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", data=COUNTS, positions=POSITIONS[:-1], pos_y=POSITIONS[:, 0], pos_x=POSITIONS[:, 1])

    scan = read_scan(path)

    same_scan(scan)
    assert any("not the 11 of '/positions' (data.positions)" in line for line in scan.assumptions)


def test_numbers_are_read_at_the_paths_that_the_user_names(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the unit of their attribute, in place of the file's; from the command line and from a file."""
    path = hdf5(tmp_path / "odd.h5", data=COUNTS, positions_px=POSITIONS, mono__en=8.0, det__z=500.0, energy_ev=9e9)
    with h5py.File(path, "r+") as file:
        file["mono/en"].attrs["units"], file["det/z"].attrs["unit"] = "keV", "mm"
        file["mono/name"] = "Si 111"
    flags = ["--set", "data.energy_ev=/mono/en", "--set", f"data.distance_m={path}:/det/z"]
    pixel = ["--set", "data.detector_pixel_m=7.5e-5"]

    assert main(["data", "check", str(path), "--quick", *flags, *pixel, "--save-config", str(tmp_path / "a.yaml")]) == 0
    capsys.readouterr()
    assert main(["data", "check", str(path), "--quick", "--json", "-c", str(tmp_path / "a.yaml")]) == 0
    summary = json.loads(capsys.readouterr().out)["summary"]
    assert summary["object_pixel_m"] == pytest.approx(1.2398419843320026e-6 / 8000 * 0.5 / (16 * 7.5e-5))
    assert main(["data", "check", str(path), "--set", "data.energy_ev=/mono/name"]) == 2
    assert "names '/mono/name', which is Si 111, expected one positive number" in capsys.readouterr().err


def test_settings_with_which_a_file_was_read_are_saved_and_read_it_again(tmp_path: Path) -> None:
    """Names that were found and settings that were given; an older file is kept, and nothing is written on failure."""
    path, saved = hdf5(tmp_path / "odd.h5", pilatus__images=COUNTS, points=POSITIONS), tmp_path / "mine.yaml"
    words = ["data", "check", str(path), "--quick", "--save-config", str(saved)]

    assert main([*words, "--set", "data.max_frames=8"]) == 0
    read = yaml.safe_load(saved.read_text())
    assert read == {"data": {"frames": "/pilatus/images", "positions": "/points", "max_frames": 8}}
    for out, more in (("a", ["-c", str(saved)]), ("b", ["--max-frames", "8"])):
        assert main(["data", "convert", str(path), "-o", str(tmp_path / f"{out}.h5"), *more]) == 0
    np.testing.assert_array_equal(*(read_scan(tmp_path / f"{out}.h5").positions_px for out in "ab"))
    assert main(words) == 2
    assert main([*words, "--force", "--set", "data.max_frames=3"]) == 2
    assert yaml.safe_load(saved.read_text()) == read


def test_a_series_has_a_name(tmp_path: Path) -> None:
    """The one with which its numbers begin, as notes and saved settings write it."""
    path = hdf5(tmp_path / "a.h5", a__data_000001=COUNTS[:7], a__data_000002=COUNTS[7:], positions_px=POSITIONS)

    same_scan(read_scan(path, ReadOptions(frames="/a/data")))


@pytest.mark.parametrize("name", ["frames/frame_{:04}", "frames/image{}", "scan/{}/data"])
def test_single_images_are_a_stack_in_the_order_of_their_numbers(tmp_path: Path, name: str) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        for number, image in enumerate(COUNTS):
            file[name.format(number)] = image
        file["positions_px"] = POSITIONS

    same_scan(read_scan(tmp_path / "a.h5"))


def test_columns_of_a_table_are_positions(tmp_path: Path) -> None:
    """Also behind axes of length 1, with frames that have one too."""
    table = np.zeros((12, 1), [("time", "f8"), ("x_px", "f8"), ("y_px", "f8")])
    table["y_px"], table["x_px"] = POSITIONS[:, :1], POSITIONS[:, 1:]

    same_scan(read_scan(hdf5(tmp_path / "a.h5", data=COUNTS[:, None], stage=table)))
    same_scan(
        read_scan(
            hdf5(
                tmp_path / "b.h5", data=COUNTS[None, None], **{f"m_{a}__v": POSITIONS[:, i] for i, a in enumerate("yx")}
            )
        )
    )


def test_object_references_and_user_blocks_are_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w", userblock_size=512) as file:
        file["#refs#/a"] = COUNTS
        file["data"], file["positions_px"] = file["#refs#/a"].ref, POSITIONS
    stored = (tmp_path / "a.h5").read_bytes()
    (tmp_path / "a.h5").write_bytes(b"SOME INSTRUMENT" + stored[15:])

    same_scan(read_scan(tmp_path / "a.h5"))


def test_a_scaling_that_the_file_states_is_reported(tmp_path: Path) -> None:
    path = hdf5(tmp_path / "a.h5", data=COUNTS, positions_px=POSITIONS)
    with h5py.File(path, "r+") as file:
        file["data"].attrs["scale_factor"], file["positions_px"].attrs["scale_factor"] = 2.0, 1.0

    lines = [line for line in read_scan(path).assumptions if "scale_factor" in line]
    assert lines == ["'data' has scale_factor = 2, which is not applied (data.counts_per_photon)."]


def test_the_two_columns_with_a_length_are_proposed_among_others_and_the_numbers_that_are_missing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "odd.h5"
    with h5py.File(path, "w") as file:
        file["run/detector"] = COUNTS[:, None]
        file["run/monitor"] = np.ones(12)
        for name in ("readback_h", "readback_v"):
            file[f"run/stage/{name}"] = np.arange(12.0)
            file[f"run/stage/{name}"].attrs["units"] = "µm"
    both = "--frames /run/detector --positions /run/stage/readback_v,/run/stage/readback_h"
    with pytest.raises(DataError) as caught:
        read_scan(path)
    assert caught.value.hint == f"Name them: ptycho data check {path} {both}"

    named = {"frames": "/run/detector", "positions": "/run/stage/readback_v,/run/stage/readback_h"}
    with pytest.raises(DataError, match="size of an object pixel is not known") as caught:
        read_scan(path, ReadOptions(**named, distance_m=2.0))
    assert str(caught.value.hint).startswith(
        "Set data.energy_ev, data.detector_pixel_m (--set data.energy_ev=NUMBER, or =PATH"
    )
