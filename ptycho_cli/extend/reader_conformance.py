"""The rules for readers as a pytest class, for the tests of a plugin.

Three lines test a reader::

    class TestMine(ReaderConformance):
        entry = MINE
        files = (Path(__file__).with_name("small.h5"),)

Each rule is a separate test. The files should be small: a few frames of a scan are enough.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import h5py
import numpy as np

from ptycho_cli.data.archives import NpzArrays
from ptycho_cli.data.frame_stack import FrameStack
from ptycho_cli.data.interpret import interpret
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.native_format import SCAN_FORMAT
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.source import opened_source
from ptycho_cli.extend.conformance import EntryConformance
from ptycho_cli.extend.specs import ReaderEntry

MOST_VALUES = 1000  # that ``can_read`` may load from one array
FEW_FRAMES = 3


def foreign_files(folder: Path, *, familiar: bool) -> list[Path]:
    """Files of no particular layout; ``familiar`` adds files with the names that the built-in readers know."""
    frames, positions = np.arange(6 * 16 * 16).reshape(6, 16, 16), np.arange(12.0).reshape(6, 2)
    text, nothing = folder / "table.txt", folder / "nothing.h5"
    text.write_text("time,counts\n1,2\n")
    with h5py.File(nothing, "w") as file:
        file["temperature"] = 20.0
    if not familiar:
        return [text, nothing]
    named, native, npz = folder / "named.h5", folder / "native.h5", folder / "named.npz"
    with h5py.File(named, "w") as file:
        file["entry/data/data"], file["entry/data/positions"] = frames, positions
    with h5py.File(native, "w") as file:
        file.attrs["format"], file["counts"], file["positions_px"] = SCAN_FORMAT, frames, positions
    np.savez(npz, diffraction=frames, positions=positions)
    return [text, nothing, named, native, npz]


class ReaderConformance(EntryConformance):
    """The tests of a reader: make a subclass with a name ``Test...`` and set ``entry`` and ``files``.

    Attributes:
        entry: The reader under test.
        files: Scan files of its layout; or override ``scan_files`` to write them.
        options: How to understand the files, where they do not say it themselves.
        self_contained: False if a file needs others beside it, whose names follow from its own.
    """

    entry: ClassVar[ReaderEntry]
    files: ClassVar[Sequence[Path]] = ()
    options: ClassVar[ReadOptions] = ReadOptions()
    self_contained: ClassVar[bool] = True

    def scan_files(self, folder: Path) -> Sequence[Path]:
        """Scan files of the layout; ``folder`` is an empty folder to write them into."""
        return self.files

    def _files(self, folder: Path) -> Sequence[Path]:
        found = self.scan_files(folder)
        assert found, "set 'files', or override 'scan_files'"
        return found

    def _can_read(self, path: Path) -> bool:
        with opened_source(path, ReadOptions()) as source:
            return self.entry.can_read(source)

    def _read(self, path: Path, max_frames: int | None = None) -> RawScan:
        with opened_source(path, ReadOptions(max_frames=max_frames)) as source:
            return self.entry.read(source)

    def test_it_takes_its_files(self, tmp_path: Path) -> None:
        """``can_read`` returns True."""
        for path in self._files(tmp_path):
            assert self._can_read(path) is True, f"{path}: can_read does not return True"

    def test_it_leaves_other_files_alone(self, tmp_path: Path) -> None:
        """Also files that another reader knows; a generic reader may take those."""
        for path in foreign_files(tmp_path, familiar=not self.entry.generic):
            assert self._can_read(path) is False, f"can_read does not return False for {path.name}"

    def test_the_content_decides_and_not_the_name(self, tmp_path: Path) -> None:
        """A file that was renamed is the same scan."""
        for number, path in enumerate(self._files(tmp_path) if self.self_contained else ()):
            renamed = tmp_path / f"renamed_{number}.dat"
            shutil.copyfile(path, renamed)
            assert self._can_read(renamed) is True, f"{path}: can_read depends on the name of the file"

    def test_can_read_loads_no_frames(self, tmp_path: Path, monkeypatch: Any) -> None:
        """Every reader is asked about every file, so asking must be cheap."""
        for path in self._files(tmp_path):
            with opened_source(path, ReadOptions()) as source, monkeypatch.context() as patch:
                for kind in (h5py.Dataset, NpzArrays):
                    patch.setattr(kind, "__getitem__", _limited(kind.__getitem__, path))
                self.entry.can_read(source)

    def test_it_returns_a_scan_with_one_position_for_each_frame(self, tmp_path: Path) -> None:
        """Frames and positions can be used after the file is closed."""
        for path in self._files(tmp_path):
            raw = self._read(path)
            assert isinstance(raw, RawScan), f"read returned {type(raw).__name__}, expected a RawScan"
            kind = type(raw.counts).__name__
            assert isinstance(raw.counts, np.ndarray | FrameStack), f"counts are {kind}, expected an array or a stack"
            assert raw.source == str(path), f"source is {raw.source!r}, expected source.name"
            assert all(isinstance(note, str) and "\n" not in note for note in raw.notes), "a note is not one line"
            scan = interpret(raw, self.options)
            assert len(scan.counts) == len(scan.positions_px) >= FEW_FRAMES, f"{path}: too few frames to test with"

    def test_the_first_frames_are_those_of_the_whole_scan(self, tmp_path: Path) -> None:
        """``source.max_frames`` shortens frames and positions alike; a raster has its shape in place of positions.

        ``options`` may give the step of a raster, or positions in another file, where the layout has neither.
        """
        placed = self.options.scan_step_m is not None or self.options.positions is not None
        for path in self._files(tmp_path):
            whole, part = self._read(path), self._read(path, FEW_FRAMES)
            arrays = [("counts", part.counts, whole.counts)]
            if whole.positions is not None or not (whole.scan_shape or placed):
                assert whole.positions is not None, f"{path}: neither positions nor scan_shape"
                assert part.positions is not None, f"{path}: no positions with max_frames={FEW_FRAMES}"
                arrays.append(("positions", part.positions, whole.positions))
            for name, few, all_ in arrays:
                assert len(few) == FEW_FRAMES, f"{path}: {len(few)} {name} with max_frames={FEW_FRAMES}"
                assert np.array_equal(few, all_[:FEW_FRAMES]), f"{path}: max_frames gives other {name}"

    def test_reading_again_gives_the_same_and_leaves_the_file_as_it_is(self, tmp_path: Path) -> None:
        """A file on a read-only disk can be read, and a scan does not depend on what was read before."""
        for path in self._files(tmp_path):
            before = hashlib.sha256(path.read_bytes()).digest()
            first, second = self._read(path), self._read(path)
            for name in ("counts", "positions"):
                same = np.array_equal(getattr(first, name), getattr(second, name))
                assert same, f"{path}: the second reading has other {name}"
            assert hashlib.sha256(path.read_bytes()).digest() == before, f"{path} was changed"


def _limited(get: Any, path: Path) -> Any:
    def limited(self: Any, key: Any) -> Any:
        value = get(self, key)
        assert np.size(value) <= MOST_VALUES, f"{path}: can_read loads {np.size(value)} values of one array"
        return value

    return limited
