"""The registry of readers: who is asked, in which order, and whose failure is named."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_cli.config.catalogue import EntryInfo
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.registry import built_in_readers, in_order, read_raw
from ptycho_cli.data.readers.source import Source, opened_source
from ptycho_cli.errors import DataError, PluginError
from ptycho_cli.extend import Options, ReaderEntry
from ptycho_cli.extend.load import RegisteredEntry

ROOT = Path(__file__).parents[2]
COUNTS = np.random.default_rng(0).poisson(50, (12, 16, 16))
POSITIONS = np.random.default_rng(1).uniform(0, 99, (12, 2))


def hdf5(path: Path, **arrays: Any) -> Path:
    with h5py.File(path, "w") as file:
        for name, value in arrays.items():
            file[name.replace("__", "/")] = value
    return path


@pytest.fixture
def own_layout(tmp_path: Path) -> Path:
    """A file with a layout of its own, which also has names that the generic reader knows."""
    return hdf5(tmp_path / "odd.h5", my_frames=COUNTS + 1, data=COUNTS, positions=POSITIONS)


def can_read_mine(source: Source) -> bool:
    return source.hdf5 is not None and "my_frames" in source.hdf5


def read_mine(source: Source) -> RawScan:
    counts = np.asarray(source.hdf5["my_frames"][: source.max_frames])
    positions = np.asarray(source.hdf5["positions"][: source.max_frames])
    return RawScan(source.name, "my_frames", counts, positions=positions, position_order="yx", position_unit="px")


def plugin(
    can_read: Callable[[Source], bool] = can_read_mine,
    read: Callable[[Source], Any] = read_mine,
    *,
    distribution: str = "ptycho-mine",
    version: str = "1.0",
    generic: bool = False,
) -> RegisteredEntry[ReaderEntry]:
    info = EntryInfo("reader", "Mine", Options, distribution, version)
    return RegisteredEntry(info, ReaderEntry("Mine", "My layout.", can_read, read, generic))


def test_generic_readers_are_asked_last_and_plugins_before_built_in_readers() -> None:
    special, vague = plugin(), plugin(generic=True)

    asked = in_order([vague, special])

    assert [reader.entry.generic for reader in asked] == sorted(reader.entry.generic for reader in asked)
    assert asked[0].entry == special.entry
    assert next(reader for reader in asked if reader.entry.generic).entry == vague.entry


def test_a_plugin_reads_its_layout_before_the_generic_reader(own_layout: Path) -> None:
    without, taken = read_scan(own_layout), read_scan(own_layout, plugin_readers=[plugin()])

    np.testing.assert_array_equal(without.counts, COUNTS)
    np.testing.assert_array_equal(taken.counts, COUNTS + 1)
    assert read_raw(own_layout, ReadOptions(), [plugin()]).layout == "Mine of ptycho-mine 1.0"


def test_a_plugin_that_fails_when_asked_is_passed_over_and_named(own_layout: Path) -> None:
    def fails(source: Source) -> bool:
        raise KeyError("entry")

    scan = read_scan(own_layout, plugin_readers=[plugin(fails)])

    np.testing.assert_array_equal(scan.counts, COUNTS)
    assert scan.assumptions[0] == (
        "the reader Mine of ptycho-mine 1.0 failed on this file and was passed over (KeyError: 'entry')."
    )


@pytest.mark.parametrize(
    ("read", "reason"),
    [
        (lambda source: source.hdf5["absent"], "failed: KeyError: "),
        (lambda source: [].index(1), "failed: ValueError: "),
        (lambda source: {"counts": COUNTS}, "failed: TypeError: it returned dict, expected a RawScan."),
    ],
)
def test_a_plugin_that_fails_while_it_reads_is_named_with_the_way_out(own_layout: Path, read: Any, reason: str) -> None:
    with pytest.raises(PluginError) as caught:
        read_scan(own_layout, plugin_readers=[plugin(read=read)])

    assert caught.value.message.startswith(f"{own_layout}: the reader Mine of ptycho-mine 1.0 {reason}")
    assert str(caught.value.hint).endswith("--no-plugin ptycho-mine.")


def test_a_plugins_own_error_about_the_file_reaches_the_user_as_it_is(own_layout: Path) -> None:
    def refuses(source: Source) -> RawScan:
        raise DataError(f"{source.name}: no table of positions beside it.", hint="Copy positions.csv too.")

    with pytest.raises(DataError, match=r"no table of positions beside it\. Copy positions\.csv too"):
        read_scan(own_layout, plugin_readers=[plugin(read=refuses)])


def test_two_plugins_that_read_one_file_are_both_named(own_layout: Path) -> None:
    two = [plugin(), plugin(distribution="ptycho-other", version="2.1")]

    with pytest.raises(PluginError) as caught:
        read_scan(own_layout, plugin_readers=two)

    assert "Mine of ptycho-mine 1.0 and Mine of ptycho-other 2.1 both read this layout" in caught.value.message
    assert (
        caught.value.hint
        == "Leave one of them out: --no-plugin ptycho-mine or --no-plugin ptycho-other; or uninstall it."
    )


def test_a_plugin_can_read_files_that_are_neither_hdf5_nor_npz(tmp_path: Path) -> None:
    path = tmp_path / "frames.raw"
    path.write_bytes(b"MINE" + COUNTS.astype("<u2").tobytes())

    def read(source: Source) -> RawScan:
        stored = np.frombuffer(source.path.read_bytes()[4:], "<u2").reshape(-1, 16, 16)
        return RawScan(source.name, "frames", stored, positions=POSITIONS, position_order="yx", position_unit="px")

    scan = read_scan(path, plugin_readers=[plugin(lambda source: source.start.startswith(b"MINE"), read)])

    np.testing.assert_array_equal(scan.counts, COUNTS)


def test_a_file_that_no_reader_takes_is_described_with_everybody_who_was_asked(tmp_path: Path) -> None:
    odd, text = hdf5(tmp_path / "odd.h5", a__b=np.zeros(3), speckles=COUNTS[0]), tmp_path / "scan.txt"
    text.write_text("time,counts\n")
    names = ", ".join(reader.title for reader in in_order([plugin()]))
    assert names.startswith(f"Mine of ptycho-mine 1.0, {built_in_readers()[0].name}, ")

    with pytest.raises(DataError) as caught:
        read_scan(odd, plugin_readers=[plugin()])
    assert "it holds /speckles (16, 16) int64, /a/b (3,) float64, expected one of counts, " in caught.value.message
    assert caught.value.message.endswith(f"; readers asked: {names}.")

    with pytest.raises(DataError, match="neither an HDF5 nor an NPZ file") as caught:
        read_scan(text, plugin_readers=[plugin()])
    assert caught.value.message.endswith(f"; readers asked: {names}.")


def test_a_file_is_opened_once_after_its_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = hdf5(tmp_path / "a.h5", data=COUNTS, positions=POSITIONS)
    opened: list[Any] = []
    real = h5py.File

    def counted(*arguments: Any, **more: Any) -> Any:
        opened.append(arguments)
        return real(*arguments, **more)

    monkeypatch.setattr(h5py, "File", counted)
    read_scan(path, plugin_readers=[plugin()])

    assert [arguments[0] for arguments in opened].count(path) == 1


def test_only_the_arrays_that_are_needed_are_loaded_from_an_npz(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, data=COUNTS, positions=POSITIONS, other=np.zeros(5), objects=np.array([{}], dtype=object))

    with opened_source(path, ReadOptions()) as source:
        assert source.npz is not None
        assert source.npz.objects == ["objects"]
        assert source.npz.shapes["data"] == COUNTS.shape
        assert not source.npz._loaded
        np.testing.assert_array_equal(source.npz["data"], COUNTS)
        assert list(source.npz._loaded) == ["data"]


def test_the_page_on_scan_files_has_a_row_for_every_reader() -> None:
    page = (ROOT / "docs" / "data.md").read_text()
    rows = re.findall(r"(?m)^\| `?([\w-]+)`? \|", page)

    assert [entry.name for entry in built_in_readers() if entry.name not in rows] == []
