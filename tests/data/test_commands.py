"""``ptycho simulate`` and ``ptycho data``, from the words typed to the file and the exit code."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions


def test_a_simulated_file_passes_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "scan.h5"
    words = ["simulate", "-o", str(path), "--frames", "16", "--size", "32", "--photons", "1e5", "--object", "weak"]

    assert main(words) == 0
    assert main(words) == 2  # the file exists
    assert main([*words, "--force", "--quiet"]) == 0
    capsys.readouterr()
    assert main(["data", "check", str(path), "--json"]) == 0
    report = json.loads(capsys.readouterr().out)

    assert report["summary"]["frames"] == 16
    assert report["summary"]["frame_px"] == 32
    assert report["summary"]["photons_per_frame"] == pytest.approx(1e5, rel=0.1)
    assert report["summary"]["has_truth"]
    assert report["problem"] is None


def test_check_says_what_is_there_what_is_assumed_and_what_is_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "scan.npz"
    counts = np.random.default_rng(0).poisson(50, (12, 16, 16))
    np.savez(path, data=counts, positions=np.random.default_rng(1).uniform(0, 1e-6, (12, 2)))

    assert main(["data", "check", str(path)]) == 2
    captured = capsys.readouterr()
    assert "'data' 12 x 16 x 16" in captured.out
    assert "size of an object pixel is not known" in captured.err

    assert main(["data", "check", str(path), "--object-pixel-m", "1e-8"]) == 0
    out = capsys.readouterr().out
    assert "assumed   positions span" in out
    assert "warning   12 frames are too few" in out


def test_convert_makes_assumptions_final(tmp_path: Path) -> None:
    source, target = tmp_path / "scan.npz", tmp_path / "scan.h5"
    counts = np.random.default_rng(0).poisson(50, (12, 16, 16))
    np.savez(source, data=counts, positions=np.random.default_rng(1).uniform(0, 99, (12, 2)))

    assert main(["data", "convert", str(source), "-o", str(target), "--position-order", "xy", "--quiet"]) == 0
    converted = read_scan(target)

    assert converted.assumptions == ()
    np.testing.assert_array_equal(
        converted.positions_px, read_scan(source, ReadOptions(position_order="xy")).positions_px
    )
