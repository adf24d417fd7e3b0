"""Files appear whole or not at all, and what was there stays if they cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from ptycho_cli.errors import OutputError
from ptycho_cli.whole_file import new_output, replacing


def test_a_file_takes_the_place_of_the_earlier_one_at_the_end(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")
    with replacing(path) as temporary:
        temporary.write_text("new")
        assert path.read_text() == "old"

    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "new"


def test_a_full_disk_leaves_the_earlier_file_and_nothing_hidden(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("old")

    def write() -> None:
        with new_output(path) as temporary:
            temporary.write_text("part")
            raise OSError(errno.ENOSPC, "No space left on device")

    with pytest.raises(OutputError, match=r"a.txt: cannot be written \(No space left on device\)"):
        write()

    assert [file.name for file in tmp_path.iterdir()] == ["a.txt"]
    assert path.read_text() == "old"


def test_a_long_name_has_a_temporary_one_that_is_not_too_long(tmp_path: Path) -> None:
    path = tmp_path / ("n" * 250)
    with replacing(path) as temporary:
        temporary.write_text("new")
    assert path.read_text() == "new"
