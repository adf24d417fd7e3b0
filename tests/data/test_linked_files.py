"""Links, virtual datasets and storage outside the folder of a scan file, and parts that were never written."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data import hdf5_tree
from ptycho_cli.data.hdf5_tree import tree_of
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.errors import DataError

COUNTS = np.random.default_rng(0).poisson(50, (12, 16, 16)).astype(np.uint16)
POSITIONS = np.random.default_rng(1).uniform(0, 60, (12, 2))


def virtual(name: str) -> h5py.VirtualLayout:
    layout = h5py.VirtualLayout(COUNTS.shape, np.uint16)
    layout[:] = h5py.VirtualSource(name, "frames", COUNTS.shape)
    return layout


def link(file: h5py.File, name: str) -> None:
    file["counts"] = h5py.ExternalLink(name, "/frames")


def map_virtually(file: h5py.File, name: str) -> None:
    file.create_virtual_dataset("counts", virtual(name))


def link_behind_a_soft_link(file: h5py.File, name: str) -> None:
    file["z/other"], file["counts"] = h5py.ExternalLink(name, "/"), h5py.SoftLink("/z/other/frames")


Writer = Callable[[h5py.File, str], None]
WRITERS = pytest.mark.parametrize("write", [link, map_virtually, link_behind_a_soft_link])


@pytest.fixture
def scan_with(tmp_path: Path) -> Callable[[Writer, str], Path]:
    """Make ``scan/scan.h5``, whose frames another file holds; ``detector.h5`` of this name is beside it or above."""
    (tmp_path / "scan" / "raw").mkdir(parents=True)

    def make(write: Writer, name: str) -> Path:
        with h5py.File(tmp_path / "scan" / name, "w") as file:
            file["frames"] = COUNTS
        with h5py.File(tmp_path / "scan" / "scan.h5", "w") as file:
            write(file, name)
            file["positions_px"] = POSITIONS
        return tmp_path / "scan" / "scan.h5"

    return make


@WRITERS
def test_links_into_the_folder_of_a_file_are_followed(scan_with: Callable[..., Path], write: Writer) -> None:
    np.testing.assert_array_equal(read_scan(scan_with(write, "raw/detector.h5")).counts, COUNTS)


@WRITERS
def test_links_out_of_the_folder_need_permission(scan_with: Callable[..., Path], write: Writer, tmp_path: Path) -> None:
    path = scan_with(write, "../detector.h5")

    with pytest.raises(DataError, match=r"'/(counts|z/other)' leads to .*detector\.h5, outside the folder") as refused:
        read_scan(path)
    assert "--allow-links" in str(refused.value.hint)
    np.testing.assert_array_equal(read_scan(path, ReadOptions(allow_links=True)).counts, COUNTS)


def test_permission_is_a_flag(
    scan_with: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, out = scan_with(link, "../detector.h5"), tmp_path / "out.h5"

    assert main(["data", "check", "--quick", "--json", str(path)]) == 2
    assert "outside the folder" in json.loads(capsys.readouterr().out)["problem"]["message"]
    assert main(["data", "convert", str(path), "-o", str(out), "--allow-links"]) == 0


def test_a_name_with_folders_is_not_found_beside_the_file(scan_with: Callable[..., Path]) -> None:
    """HDF5 does not look for its last part, and would fill the frames with zeros."""
    path = scan_with(map_virtually, "raw/detector.h5")
    (path.parent / "raw" / "detector.h5").rename(path.parent / "detector.h5")

    with pytest.raises(DataError, match=r"raw/detector\.h5 is not there"):
        read_scan(path)


def test_a_missing_part_of_a_part_is_named(scan_with: Callable[..., Path]) -> None:
    path = scan_with(map_virtually, "detector.h5")
    with h5py.File(path.parent / "detector.h5", "w") as file:
        file.create_virtual_dataset("frames", virtual("gone.h5"))

    with pytest.raises(DataError, match=r"gone\.h5, of which detector\.h5 is made, is not there"):
        read_scan(path)


def test_a_part_of_a_part_out_of_the_folder_needs_permission(scan_with: Callable[..., Path]) -> None:
    path = scan_with(map_virtually, "../secret.h5")
    with h5py.File(path.parent / "detector.h5", "w") as file:
        file.create_virtual_dataset("frames", virtual("../secret.h5"))
    with h5py.File(path, "r+") as file:
        del file["counts"]
        map_virtually(file, "detector.h5")

    with pytest.raises(DataError, match=r"'/counts' leads to .*secret\.h5, outside the folder"):
        read_scan(path)
    np.testing.assert_array_equal(read_scan(path, ReadOptions(allow_links=True)).counts, COUNTS)


@pytest.mark.parametrize("names", [("scan.h5",), (".",), ("detector.h5", "scan.h5")])
def test_a_virtual_dataset_that_is_a_part_of_itself_is_refused(tmp_path: Path, names: tuple[str, ...]) -> None:
    """HDF5 would end the process once it has no stack left."""
    for place, name in zip(("scan.h5", "detector.h5"), names, strict=False):
        with h5py.File(tmp_path / place, "w") as file:
            layout = h5py.VirtualLayout(COUNTS.shape, np.uint16)
            layout[:] = h5py.VirtualSource(name, "counts", COUNTS.shape)
            file.create_virtual_dataset("counts", layout)
            file["positions_px"] = POSITIONS

    with pytest.raises(DataError, match=r"scan\.h5: 'counts' is a part of itself"):
        read_scan(tmp_path / "scan.h5")


def test_values_in_a_file_of_any_kind_are_refused(tmp_path: Path) -> None:
    secret, path = tmp_path / "secret.bin", tmp_path / "scan.h5"
    secret.write_bytes(COUNTS.tobytes())
    with h5py.File(path, "w") as file:
        stored = ((str(secret), 0, h5py.h5f.UNLIMITED),)
        file.create_dataset("counts", COUNTS.shape, np.uint16, external=stored)
        file["positions_px"] = POSITIONS

    with pytest.raises(DataError, match=r"'counts' has its values in '.*secret\.bin', a file of any kind"):
        read_scan(path)

    with h5py.File(tmp_path / "master.h5", "w") as file:
        layout = h5py.VirtualLayout(COUNTS.shape, np.uint16)
        layout[:] = h5py.VirtualSource("scan.h5", "counts", COUNTS.shape)
        file.create_virtual_dataset("counts", layout)
        file["positions_px"] = POSITIONS
    with pytest.raises(DataError, match=r"scan\.h5: 'counts' has its values in '.*secret\.bin', a file of any kind"):
        read_scan(tmp_path / "master.h5")


def test_what_was_never_written_is_not_taken_for_frames(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("counts", COUNTS.shape, np.uint16)
        file["positions_px"] = POSITIONS
    with h5py.File(tmp_path / "b.h5", "w") as file:
        stored = file.create_dataset("counts", COUNTS.shape, np.uint16, chunks=(1, 8, 16))
        stored[:7], stored[7, :8] = COUNTS[:7], COUNTS[7, :8]
        file["positions_px"] = POSITIONS

    with pytest.raises(DataError, match=r"'counts' is .*, but nothing was written to it"):
        read_scan(tmp_path / "a.h5")
    with pytest.raises(DataError, match="parts of frame 7 are missing") as refused:
        read_scan(tmp_path / "b.h5")
    assert refused.value.finding == "missing-part"
    assert read_scan(tmp_path / "b.h5", ReadOptions(max_frames=7)).n_frames == 7


def test_the_walk_through_a_file_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Loops, deep groups and many items cost little; it is known that something was left out."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["loop"], file["self"] = h5py.SoftLink("/"), h5py.SoftLink("/self")
        file["a/twice"], file["b"] = COUNTS, h5py.SoftLink("/a")
        file["/".join(["deep"] * 200)] = POSITIONS

        tree = tree_of(file)
        assert sorted(path for path in tree.datasets) == ["/a/twice"]
        assert list(tree.broken) == ["/self"]
        assert not tree.complete
        monkeypatch.setattr(hdf5_tree, "MOST", 3)
        assert len(tree_of(file).objects) <= 4
