"""Files that the software of electron microscopists wrote are read with their calibrations, without a setting."""

from __future__ import annotations

import json
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.read import read_scan

FORMATS = Path(__file__).with_name("formats")  # make_electron_files.py wrote them
PIXEL_M = 4.17571e-12 / (32 * 3.25e-3)


@pytest.mark.parametrize(("name", "layout"), [("hyperspy.hspy", "HyperSpy"), ("py4dstem.h5", "EMD")])
def test_calibrations_of_the_format_make_a_scan(name: str, layout: str, tmp_path: Path) -> None:
    words = ["--preset", "electron", "--frames", "64", "--size", "32", "--photons", "2000", "--defocus-m", "4e-9"]
    assert main(["simulate", *words, "-o", str(tmp_path / "scan.h5"), "--quiet"]) == 0
    scan, same = read_scan(FORMATS / name), read_scan(tmp_path / "scan.h5")

    assert scan.layout == layout
    assert scan.wavelength_m == pytest.approx(4.17571e-12, rel=1e-5)
    assert scan.object_pixel_m == pytest.approx(PIXEL_M, rel=1e-5)
    np.testing.assert_array_equal(scan.counts, same.counts)
    np.testing.assert_allclose(scan.positions_px, same.positions_px - same.positions_px[0], rtol=1e-5)
    assert [item.id for item in scan.findings if item.severity != "note"] == []


def nion(path: Path, properties: dict[str, object] | str) -> Path:
    """A data item of Nion Swift, with angles in rad and the high tension in V."""
    with h5py.File(FORMATS / "hyperspy.hspy") as file, h5py.File(path, "w") as other:
        other["data/item"] = file["Experiments/atoms/data"][()]
        text = properties if isinstance(properties, str) else json.dumps(properties)
        other["data/item"].attrs["properties"] = text
    return path


def test_a_nion_item_is_read_with_its_instrument(tmp_path: Path) -> None:
    step, angle = {"scale": 0.05, "units": "nm"}, {"scale": 3.25e-3, "units": "rad"}
    instrument = {"high_tension": 80000, "ImageScanned": {"probe_ha": 0.03}}
    properties = {"spatial_calibrations": [step, step, angle, angle], "metadata": {"instrument": instrument}}
    scan = read_scan(nion(tmp_path / "scan.h5", properties))

    assert scan.layout == "Nion"
    assert scan.object_pixel_m == pytest.approx(PIXEL_M, rel=1e-5)
    assert np.diff(scan.positions_px[:2, 1])[0] == pytest.approx(0.5e-10 / PIXEL_M, rel=1e-5)


@pytest.mark.parametrize("text", ["{", "[]", "{}"])
def test_properties_that_are_none_are_no_traceback(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(nion(tmp_path / "scan.h5", text))]) == 2

    assert "error: " in capsys.readouterr().err
