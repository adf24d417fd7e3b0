"""HDF5 files on a full disk: one line, no crash, nothing left, and the earlier file stays."""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_cli.data import disk_file
from ptycho_cli.data.disk_file import DiskFile
from ptycho_cli.data.new_files import new_hdf5
from ptycho_cli.errors import FullDiskError


def fill(file: h5py.File, n: int = 6) -> None:
    rng = np.random.default_rng(0)
    for number in range(n):
        values = rng.random((50, 100))
        group = file.create_group(f"group{number}")
        group.create_dataset("values", data=values, compression="gzip")
        group.attrs["number"] = number


class SmallDisk:
    """A raw file on a disk that takes only so many bytes."""

    def __init__(self, file: Any, space: int) -> None:
        self._file, self._space = file, space

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: Any) -> int:
        if self._file.tell() + len(content) > self._space:
            raise OSError(errno.ENOSPC, "No space left on device")
        return int(self._file.write(content))


@pytest.mark.parametrize("space", [0, 100, 2_000, 20_000, 60_000, 100_000, 150_000, 200_000])
def test_a_full_disk_is_one_line_and_leaves_what_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, space: int
) -> None:
    path = tmp_path / "scan.h5"
    path.write_text("old")
    made = DiskFile.__init__

    def on_small_disk(self: Any, path: Path) -> None:
        made(self, path)
        self._file = SmallDisk(self._file, space)

    monkeypatch.setattr(disk_file.DiskFile, "__init__", on_small_disk)

    def write() -> None:
        with new_hdf5(path, force=True) as file:
            fill(file)

    with pytest.raises(FullDiskError, match=r"scan.h5: cannot be written \(No space left on device\)") as caught:
        write()
    assert caught.value.exit_code == 3
    assert [file.name for file in tmp_path.iterdir()] == ["scan.h5"]
    assert path.read_text() == "old"


def test_the_file_is_the_one_that_hdf5_writes_itself(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "plain.h5", "w") as file:
        fill(file)
    with new_hdf5(tmp_path / "ours.h5") as file:
        fill(file)
        del file["group2"]
        fill(file, 0)
    with h5py.File(tmp_path / "ours.h5") as ours, h5py.File(tmp_path / "plain.h5") as plain:
        assert list(ours) == [name for name in plain if name != "group2"]
        for name, group in ours.items():
            np.testing.assert_array_equal(group["values"], plain[name]["values"])
            assert group.attrs["number"] == plain[name].attrs["number"]


class Pressing:
    """A raw file that presses Ctrl-C at one of its writes."""

    def __init__(self, file: Any, at: int) -> None:
        self._file, self._left = file, at

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def write(self, content: Any) -> int:
        self._left -= 1
        if self._left == 0:
            os.kill(os.getpid(), signal.SIGINT)
        return int(self._file.write(content))


@pytest.mark.parametrize("at", [1, 2, 3, 5, 8, 12, 20])
def test_ctrl_c_while_hdf5_writes_does_not_end_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    path, made = tmp_path / "scan.h5", DiskFile.__init__

    def pressing(self: Any, path: Path) -> None:
        made(self, path)
        self._file = Pressing(self._file, at)

    monkeypatch.setattr(disk_file.DiskFile, "__init__", pressing)
    before = signal.getsignal(signal.SIGINT)

    def write() -> None:
        with new_hdf5(path) as file:
            fill(file)
        time.sleep(1.0)  # the signal comes again

    with pytest.raises(KeyboardInterrupt):
        write()

    assert signal.getsignal(signal.SIGINT) is before
    assert [item for item in tmp_path.iterdir() if item != path] == []
    if path.exists():
        with h5py.File(path) as file:
            assert len(file) == 6
