"""A wrong geometry is found by trying, named with the setting that corrects it, and good scans are left alone."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from ptycho_cli.calibration.geometry_trials import ReadAs, geometry_findings
from ptycho_cli.cli.app import main
from ptycho_cli.data.electron_microscope import Microscope
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate

ANGLE = np.deg2rad(20.0)
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
FAULTS = {
    "positions-axes flip": lambda p: p * [-1, 1],
    "positions-axes swap": lambda p: p[:, ::-1] * [1, -1],
    "positions-rotation": lambda p: p @ TURN.T,
    "positions-scale": lambda p: p * 1.2,
    "positions-index": lambda p: np.concatenate((p[:1], p[:-1])),
}


def stored(path: Path, scan: Scan, positions: np.ndarray) -> Path:
    np.savez(path, diffraction=scan.counts, probe=scan.probe, scan_yx_px=positions)
    return path


@pytest.fixture(scope="module")
def good() -> Scan:
    return simulate(n_frames=100, n_pixels=32, photons=1e6, seed=3)


@pytest.mark.parametrize("fault", FAULTS)
def test_data_check_names_a_wrong_geometry_and_its_setting_corrects_it(
    fault: str, good: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path / "scan.npz", good, FAULTS[fault](good.positions_px))

    assert main(["data", "check", str(path), "--json"]) == 0
    (finding,) = [
        item for item in json.loads(capsys.readouterr().out)["findings"] if item["id"].startswith("positions-")
    ]

    assert finding["id"] == fault.split()[0]
    assert finding["severity"] == "warning"
    words = [word for setting in finding["setting"].split() for word in ("--set", setting)]
    assert main(["data", "check", str(path), "--json", *words]) == 0
    after = [item["id"] for item in json.loads(capsys.readouterr().out)["findings"]]
    assert not [item for item in after if item.startswith("positions-")]


@pytest.mark.parametrize("photons", [1e4, 1e6])
@pytest.mark.parametrize("kind", ["siemens", "texture", "weak"])
def test_a_good_scan_is_left_alone(kind: str, photons: float) -> None:
    scan = simulate(n_frames=100, n_pixels=32, photons=photons, object_kind=kind, seed=4)

    assert geometry_findings(scan, ReadAs()) == []


@pytest.mark.parametrize("factor", [1.0, 0.1, 10.0])
def test_a_step_of_an_electron_scan_in_another_unit_is_found(factor: float) -> None:
    """Angstrom taken for nanometres, or the other way round, are both possible, so that they must be tried."""
    microscope = Microscope()
    scan = simulate(
        n_frames=64, n_pixels=32, photons=1e5, object_kind="atoms", pattern="grid", step_px=1.5,
        measured_probe=replace(microscope, defocus_m=4e-9).measured_probe(32),
    )  # fmt: skip

    found = geometry_findings(replace(scan, positions_px=scan.positions_px * factor), ReadAs())

    expected = [] if factor == 1 else [("positions-unit", f"data.position_scale={1 / factor:g}")]
    assert [(item.id, item.setting) for item in found] == expected


def test_quick_tries_nothing(good: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(tmp_path / "scan.npz", good, good.positions_px * [-1, 1])

    assert main(["data", "check", str(path), "--quick", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["findings"] == []


def test_settings_are_relative_to_how_positions_were_read() -> None:
    read_as = ReadAs("xy", ReadOptions(flip_positions="y"))

    assert read_as.axes_setting(True, "") == "data.position_order=yx data.flip_positions=x"
    assert read_as.axes_setting(False, "y") == "data.flip_positions=none"
    assert read_as.axes_setting(False, "x") == "data.flip_positions=yx"
