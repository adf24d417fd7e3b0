"""The built-in readers keep the rules that plugins keep; the rules catch readers that break them."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import tifffile

from ptycho_cli.config.catalogue import EntryInfo
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers import (
    csaxs,
    cxi,
    eiger,
    emd,
    file_pairs,
    hdf5,
    hyperspy,
    native_format,
    nion,
    npz,
    nsls2,
    ptychodus,
    ptychoshelves,
    ptypy,
    tiff,
)
from ptycho_cli.data.readers.raw_scan import RawScan
from ptycho_cli.data.readers.registry import built_in_readers, read_raw
from ptycho_cli.data.readers.source import Source, opened_source
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.extend import Options, ReaderEntry
from ptycho_cli.extend.conformance import EntryConformance
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.extend.reader_conformance import ReaderConformance

COUNTS = np.random.default_rng(0).poisson(50, (12, 16, 16))
POSITIONS = np.random.default_rng(1).uniform(0, 99, (12, 2))


class BuiltInConformance(ReaderConformance):
    """The rules for a built-in reader, which is imported when a file is read and not before."""

    options = ReadOptions(object_pixel_m=1e-8)

    def scan_files(self, folder: Path) -> list[Path]:
        self.write(folder / "sample")
        return [folder / "sample"]

    def sample(self, folder: Path) -> Path:
        return folder / self.entry.name

    def write(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            for name, value in self.arrays().items():
                file[name] = value

    def arrays(self) -> dict[str, Any]:
        raise NotImplementedError

    test_importing_the_plugin_loads_nothing_heavy: Any = None  # type: ignore[assignment]


class TestNative(BuiltInConformance):
    entry = native_format.READER

    def write(self, path: Path) -> None:
        write_scan(path, simulate(n_frames=12, n_pixels=16), force=True)

    def test_it_leaves_other_files_alone(self, tmp_path: Path) -> None:
        self.write(tmp_path / "later")
        with h5py.File(tmp_path / "later", "a") as file:
            file.attrs["format"] = "ptycho_cli scan 2"
        assert not self._can_read(tmp_path / "later")


class TestCXI(BuiltInConformance):
    entry = cxi.READER

    def arrays(self) -> dict[str, Any]:
        return {
            "entry_1/data_1/data": COUNTS,
            "entry_1/data_1/translation": np.pad(POSITIONS[:, ::-1] * 1e-8, ((0, 0), (0, 1))),
        }


class TestTIFF(BuiltInConformance):
    entry = tiff.READER
    options = ReadOptions(object_pixel_m=1e-8, scan_step_m=4e-8, scan_shape="3,4")

    def write(self, path: Path) -> None:
        tifffile.imwrite(path, COUNTS.astype(np.uint16))


class TestPtypy(BuiltInConformance):
    entry = ptypy.READER

    def arrays(self) -> dict[str, Any]:
        return {"chunks/0/data": COUNTS, "chunks/0/positions": POSITIONS * 1e-8, "meta/energy": 10.0}


class TestPtychodus(BuiltInConformance):
    entry = ptychodus.READER

    def arrays(self) -> dict[str, Any]:
        return {
            "diffraction": COUNTS,
            "probe_position_y_m": POSITIONS[:, 0] * 1e-8,
            "probe_position_x_m": POSITIONS[:, 1] * 1e-8,
        }


class TestCSAXS(BuiltInConformance):
    entry = csaxs.READER

    def arrays(self) -> dict[str, Any]:
        return {
            "entry/data/data": COUNTS,
            "positions": POSITIONS * 1e-8,
            "entry/instrument/eiger_4/x_pixel_size": 75.0,
            "entry/instrument/monochromator/distance": -7000.0,
            "entry/instrument/monochromator/energy": 6.2,
        }


class TestEiger(BuiltInConformance):
    entry = eiger.READER

    def arrays(self) -> dict[str, Any]:
        return {
            "entry/data/data_000001": COUNTS[:8],
            "entry/data/data_000002": COUNTS[8:],
            "entry/scan/positions": POSITIONS * 1e-8,
            "entry/instrument/detector/detectorSpecific/pixel_mask": np.zeros((16, 16), np.uint32),
        }


class TestNSLS2(BuiltInConformance):
    entry = nsls2.READER

    def scan_files(self, folder: Path) -> list[Path]:
        with h5py.File(folder / "beamline", "w") as file:
            file["diff_data/merlin1/det_images"], file["scan/scan_positions"] = COUNTS, POSITIONS[:, ::-1].T * 1e-2
        return [*super().scan_files(folder), folder / "beamline"]

    def arrays(self) -> dict[str, Any]:
        return {"diffamp": np.sqrt(COUNTS), "points": POSITIONS[:, ::-1].T * 1e-2}


class TestPtychoShelves(BuiltInConformance):
    entry = ptychoshelves.READER

    def arrays(self) -> dict[str, Any]:
        return {"measurement/n0/data": COUNTS, "measurement/n0/positions": POSITIONS[:, ::-1].T * 1e-8}


class TestPair(BuiltInConformance):
    entry = file_pairs.READER
    self_contained = False

    def scan_files(self, folder: Path) -> list[Path]:
        self.write(folder / "scan_dp.h5")
        return [folder / "scan_dp.h5"]

    def sample(self, folder: Path) -> Path:
        return folder / "scan_dp.h5"

    def write(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["dp"] = COUNTS
        with h5py.File(path.with_name("scan_para.h5"), "w") as file:
            for axis, column in zip("yx", POSITIONS.T * 1e-8, strict=True):
                file[f"probe_position_{axis}_m"] = column


class RasterConformance(BuiltInConformance):
    """The rules for readers of 4-D arrays ``(row, column, y, x)``, here of 3 x 4 frames."""

    options = ReadOptions(voltage_kv=80.0)

    def scan_files(self, folder: Path) -> list[Path]:
        self.write(folder / "sample")
        return [folder / "sample"]

    def test_step_and_pixel_are_those_of_the_axes(self, tmp_path: Path) -> None:
        """Steps of 0.25 nm, and pixels of 0.1 per angstrom, so that 16 of them make objects of 0.625 angstrom."""
        self.write(tmp_path / "sample")
        scan = read_scan(tmp_path / "sample")

        assert scan.object_pixel_m == pytest.approx(0.625e-10)
        np.testing.assert_allclose(scan.positions_px[[1, 4]] - scan.positions_px[0], [[0, 4], [4, 0]], atol=1e-6)
        np.testing.assert_array_equal(scan.counts, COUNTS)


class TestHyperSpy(RasterConformance):
    entry = hyperspy.READER

    def write(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            file["Experiments/a/data"] = COUNTS.reshape(3, 4, 16, 16)
            for axis, (scale, units) in enumerate([(0.25, "nm")] * 2 + [(1.0, "1/nm")] * 2):
                file.create_group(f"Experiments/a/axis-{axis}").attrs.update({"scale": scale, "units": units})


class TestEMD(RasterConformance):
    entry = emd.READER

    def write(self, path: Path) -> None:
        with h5py.File(path, "w") as file:
            group = file.create_group("root/datacube")
            group.attrs["emd_group_type"], group["data"] = "array", COUNTS.reshape(3, 4, 16, 16)
            for axis, (step, units) in enumerate([(2.5, "A")] * 2 + [(0.1, "A^-1")] * 2):
                group[f"dim{axis}"] = [0.0, step]
                group[f"dim{axis}"].attrs["units"] = units


class TestNion(RasterConformance):
    entry = nion.READER

    def write(self, path: Path) -> None:
        axes = [{"scale": 0.25, "units": "nm"}] * 2 + [{"scale": 1.0, "units": "1/nm"}] * 2
        with h5py.File(path, "w") as file:
            file["data/a"] = COUNTS.reshape(3, 4, 16, 16)
            file["data/a"].attrs["properties"] = json.dumps({"spatial_calibrations": axes})


class TestHDF5(BuiltInConformance):
    entry = hdf5.READER

    def arrays(self) -> dict[str, Any]:
        return {"scans/1/data": COUNTS, "scans/1/positions": POSITIONS}


class TestNPZ(BuiltInConformance):
    entry = npz.READER

    def write(self, path: Path) -> None:
        with path.open("wb") as file:
            np.savez(file, data=COUNTS, positions=POSITIONS)


def samples(folder: Path) -> dict[str, Path]:
    """A small file of every layout, by the name of its reader."""
    found = {}
    for case in (*BuiltInConformance.__subclasses__(), *RasterConformance.__subclasses__()):
        if case is RasterConformance:
            continue
        found[case.entry.name] = case().sample(folder)
        case().write(found[case.entry.name])
    return found


def test_every_layout_is_tested_here_and_taken_by_its_reader_alone(tmp_path: Path) -> None:
    entries = built_in_readers()
    files = samples(tmp_path)

    assert set(files) == {entry.name for entry in entries}
    for name, path in files.items():
        with opened_source(path, ReadOptions()) as source:
            takers = [entry for entry in entries if entry.can_read(source)]
        assert [entry.name for entry in takers if not entry.generic] in ([name], []), name
        assert read_raw(path, ReadOptions()).layout == name


def test_a_plugin_leaves_the_built_in_layouts_to_their_readers(tmp_path: Path) -> None:
    info = EntryInfo("reader", "Mine", Options, "ptycho-mine", "1.0")
    plugin = RegisteredEntry(info, ReaderEntry("Mine", "My layout.", sound_can_read, sound_read))

    for name, path in samples(tmp_path).items():
        assert read_raw(path, ReadOptions(), [plugin]).layout == name


def sound_can_read(source: Source) -> bool:
    return source.hdf5 is not None and "mine" in source.hdf5


def sound_read(source: Source) -> RawScan:
    counts, positions = (np.asarray(source.hdf5[name][: source.max_frames]) for name in ("mine", "where"))
    return RawScan(source.name, "mine", counts, positions=positions, position_unit="px", position_order="yx")


def loads_all(source: Source) -> bool:
    return source.hdf5 is not None and "mine" in source.hdf5 and source.hdf5["mine"][()].any()


def reads_all(source: Source) -> RawScan:
    raw = sound_read(source)
    raw.counts = source.hdf5["mine"][()]
    return raw


def hands_out_the_dataset(source: Source) -> RawScan:
    raw = sound_read(source)
    raw.counts = source.hdf5["mine"]
    return raw


BROKEN: dict[str, tuple[str, Callable[[Source], Any], Callable[[Source], Any]]] = {
    "takes anything": ("test_it_leaves_other_files_alone", lambda source: True, sound_read),
    "raises for other files": ("test_it_leaves_other_files_alone", lambda source: "mine" in source.hdf5, sound_read),
    "goes by the name": (
        "test_the_content_decides_and_not_the_name",
        lambda source: source.path.suffix == ".h5" and sound_can_read(source),
        sound_read,
    ),
    "loads frames to answer": ("test_can_read_loads_no_frames", loads_all, sound_read),
    "returns a dict": (
        "test_it_returns_a_scan_with_one_position_for_each_frame",
        sound_can_read,
        lambda source: {"counts": COUNTS},
    ),
    "returns an open dataset": (
        "test_it_returns_a_scan_with_one_position_for_each_frame",
        sound_can_read,
        hands_out_the_dataset,
    ),
    "ignores max_frames": ("test_the_first_frames_are_those_of_the_whole_scan", sound_can_read, reads_all),
}


def rules() -> list[str]:
    inherited = {name for name in dir(EntryConformance) if name.startswith("test_")}
    return [name for name in dir(ReaderConformance) if name.startswith("test_") and name not in inherited]


def broken_rules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, can_read: Callable[[Source], Any], read: Callable[[Source], Any]
) -> set[str]:
    sample = tmp_path / "sample.h5"
    with h5py.File(sample, "w") as file:
        file["mine"], file["where"] = COUNTS, POSITIONS

    class Case(ReaderConformance):
        entry = ReaderEntry("Mine", "My layout.", can_read, read)
        files = (sample,)

    failed = set()
    for name in rules():
        folder = tmp_path / name
        folder.mkdir()
        more = (monkeypatch,) if name == "test_can_read_loads_no_frames" else ()
        try:
            getattr(Case(), name)(folder, *more)
        except Exception:
            failed.add(name)
    return failed


def test_a_sound_reader_keeps_every_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert broken_rules(tmp_path, monkeypatch, sound_can_read, sound_read) == set()


@pytest.mark.parametrize("fault", BROKEN)
def test_a_reader_that_breaks_a_rule_fails_its_test(
    fault: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rule, can_read, read = BROKEN[fault]

    assert rule in broken_rules(tmp_path, monkeypatch, can_read, read)
