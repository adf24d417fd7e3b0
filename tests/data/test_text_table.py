"""Positions are read from text files of numbers, .npy files and others that hold nothing else."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.text_table import text_columns
from ptycho_cli.errors import DataError

COUNTS = np.random.default_rng(0).poisson(50, (12, 16, 16)).astype(np.uint16)
PX = np.random.default_rng(1).uniform(0, 60, (12, 2)).round(3)
UM = 0.01 * PX  # with object pixels of 10 nm


def positions_from(folder: Path, name: str, place: str | None = None, *, unit_is_pixel: bool = False) -> np.ndarray:
    np.savez(folder / "frames.npz", counts=COUNTS)
    unit = "px" if unit_is_pixel else "auto"
    options = ReadOptions(positions=place or name, object_pixel_m=1e-8, position_unit=unit)
    scan = read_scan(folder / "frames.npz", options)
    return scan.positions_px - scan.positions_px[0]


def table(columns: np.ndarray, divider: str = " ", above: str = "") -> str:
    return above + "\n".join(divider.join(map(repr, map(float, row))) for row in columns)


@pytest.mark.parametrize(
    ("name", "text", "place"),
    [
        ("a.txt", table(PX), None),
        ("a.dat", table(PX, "\t", "# by hand, y x\n\n"), None),
        ("a.csv", table(UM[:, ::-1], ",", "x_um,y_um\n"), None),
        ("a.csv", table(1e3 * UM, ";", "Y [nm];X [nm]\n"), None),
        ("a.txt", table(UM[:, ::-1], " ", "# sam_x_um sam_y_um\n"), None),
        ("a.csv", table(np.column_stack([np.arange(12), UM]), ",", "frame,y_um,x_um\n"), None),
        ("a.csv", table(np.column_stack([UM, UM[::-1]]), ",", "goal_y_um,goal_x_um,y_um,x_um\n"),
         "a.csv:goal_y_um,a.csv:goal_x_um"),
        ("a.txt", table(np.column_stack([np.arange(12), np.zeros(12), PX])), "a.txt:2,a.txt:3"),
        ("a.dat", table(np.column_stack([UM[:, ::-1], PX]), " ",
                        "#S 3 mesh\n#N 4\n#L pz x_um  pz y_um  Epoch  Two Theta\n"), None),
        ("a.csv", table(UM, ";", "y_um;x_um\n").replace(".", ","), None),
        ("a.txt", table(UM, "\t", "y_um\tx_um\n").replace(".", ","), None),
    ],
)  # fmt: skip
def test_positions_come_from_a_text_file(name: str, text: str, place: str | None, tmp_path: Path) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")

    found = positions_from(tmp_path, name, place, unit_is_pixel="m" not in text.partition("\n")[0])
    np.testing.assert_allclose(found, PX - PX[0], atol=1e-9)


def test_positions_come_from_a_numpy_or_hdf5_file(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", PX)
    np.save(tmp_path / "table.npy", np.rec.fromarrays(UM.T[::-1], names="x_um,y_um"))
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["motors/sam_y_um"], file["motors/sam_x_um"] = UM.T

    for name in ("a.npy", "table.npy", "a.h5"):
        found = positions_from(tmp_path, name, unit_is_pixel=name == "a.npy")
        np.testing.assert_allclose(found, PX - PX[0], atol=1e-9)


def test_an_array_of_the_scan_comes_before_a_file_of_its_name(tmp_path: Path) -> None:
    np.savez(tmp_path / "scan.npz", counts=COUNTS, places=PX)
    (tmp_path / "places").write_text(table(PX + np.arange(12)[:, None]))
    scan = read_scan(tmp_path / "scan.npz", ReadOptions(positions="places", position_unit="px"))

    np.testing.assert_allclose(scan.positions_px, PX)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1 2\n3 4\n5 six\n", r"line 3: '5 six', expected 2 numbers"),
        ("1,2\n3,4,5\n", r"line 2: '3,4,5', expected 2 numbers"),
        ("1,2\n3,4\n5,6;\n", r"line 3: '5,6;', expected 2 numbers"),
        ("time,counts\n", r"no positions found in it; it holds no arrays"),
        (table(np.ones((12, 5))), r"no positions found in it; it holds column 0, column 1, .*column 4\."),
    ],
)
def test_a_table_that_cannot_be_used_is_refused(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text(text)

    with pytest.raises(DataError, match=message):
        positions_from(tmp_path, "a.txt")


def test_a_file_that_is_no_text_has_no_columns(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes(bytes(range(256)))

    assert text_columns(tmp_path / "a.txt") == {}
