"""A scan that was asked how to train is not read again to train on it, unless it has changed since."""

from dataclasses import fields, replace
from pathlib import Path
from typing import Any, get_type_hints

import numpy as np
import pytest

from ptycho_cli.assembly import scans
from ptycho_cli.config.data_settings import DataSettings, ProbeSettings
from ptycho_cli.config.schema import Config
from ptycho_cli.config.settings_group import NumberOrPath
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ApertureOptions, ReadOptions
from ptycho_cli.data.readers.registry import PluginReaders
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Paths in the order read."""
    paths: list[str] = []

    def counted(path: str, options: ReadOptions, plugin_readers: PluginReaders, progress: Any) -> Scan:
        paths.append(path)
        return read_scan(path, options, plugin_readers, progress)

    monkeypatch.setattr(scans, "read_scan", counted)
    return paths


def with_data(config: Config, **changes: int) -> Config:
    """The settings with others of the group ``data``."""
    return config.model_copy(update={"data": config.data.model_copy(update=changes)})


def written(folder: Path, photons: float) -> str:
    write_scan(folder / "scan.h5", simulate(n_frames=16, n_pixels=16, photons=photons), force=True)
    return str(folder / "scan.h5")


def test_a_scan_that_was_asked_is_read_once(tmp_path: Path, reads: list[str]) -> None:
    path = written(tmp_path, 1e6)
    config = Config(data=DataSettings(paths=(path,)))

    scans.suggested_by_scan(config)
    (scan,) = scans.read_scans((path,), with_data(config, group_size=8))

    assert reads == [path]
    assert np.array_equal(scan.counts, read_scan(path).counts)
    scans.read_scans((path,), config)  # nothing is kept of a scan that is in use
    assert reads == [path, path]


def test_a_scan_that_changed_since_or_is_understood_otherwise_is_read_again(tmp_path: Path, reads: list[str]) -> None:
    path = written(tmp_path, 1e6)
    config = Config(data=DataSettings(paths=(path,)))

    scans.suggested_by_scan(config)
    (few,) = scans.read_scans((path,), with_data(config, max_frames=8))
    written(tmp_path, 1e3)
    (dark,) = scans.read_scans((path,), config)

    assert reads == [path] * 3
    assert few.n_frames == 8
    assert np.array_equal(dark.counts, read_scan(path).counts)


def without_budget(config: Config) -> ReadOptions:
    """The options, without the memory that is free on this machine."""
    return replace(scans.read_options(config), memory_budget_gib="auto")


def test_the_memory_budget_is_shared_by_all_scans() -> None:
    settings = DataSettings(paths=("a.h5", "b.h5"), validation_paths=("c.h5", "d.h5"), memory_budget_gib=2.0)
    assert scans.read_options(Config(data=settings)).memory_budget_gib == 0.5


def test_every_read_option_is_the_data_setting_of_its_name() -> None:
    """Name, type and default agree, so that a setting reaches the reader and both mean the same."""
    for options, settings in ((ReadOptions, DataSettings), (ApertureOptions, ProbeSettings)):
        types = get_type_hints(options)
        for field in fields(options):
            if field.name not in ("aperture", "number_paths", "memory_budget_gib"):
                annotation = settings.model_fields[field.name].annotation
                assert types[field.name] == (float | None if annotation == NumberOrPath | None else annotation)
                assert getattr(settings(), field.name) == field.default
    assert without_budget(Config()) == ReadOptions()
    paths = without_budget(Config(data=DataSettings(energy_ev="/mono/energy", distance_m=2.0)))
    assert paths == ReadOptions(distance_m=2.0, number_paths=(("energy_ev", "/mono/energy"),))


def test_settings_reach_the_reader_by_name() -> None:
    data = DataSettings(position_unit="m", object_pixel_m=1e-8, max_frames=7, group_size=8)
    config = Config(data=data, probe=ProbeSettings(semi_angle_mrad=21.4, defocus_m=1e-8, cs_m=1e-3))

    assert without_budget(config) == ReadOptions(
        position_unit="m", object_pixel_m=1e-8, max_frames=7, aperture=ApertureOptions(21.4, 1e-8, 1e-3)
    )
