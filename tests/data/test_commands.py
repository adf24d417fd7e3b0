"""``ptycho simulate`` and ``ptycho data``, from the words typed to the file and the exit code."""

from __future__ import annotations

import json
import re
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
    assert "note      12 frames are too few" in out


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


def test_check_reads_settings_from_every_source_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small_scan: Path
) -> None:
    """Settings of the training may stand in the file: the same file trains on the scan."""
    file = tmp_path / "run.yaml"
    file.write_text("data:\n  stored: counts\n  max_frames: 9\ntraining:\n  epochs: 3\n")
    monkeypatch.setenv("PTYCHO_DATA__MAX_FRAMES", "8")
    words = ["data", "check", str(small_scan), "-c", str(file), "--set", "data.position_unit=px", "--keep-bad-pixels"]

    assert main([*words, "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["summary"]["frames"] == 8
    assert {item["key"]: (item["value"], item["origin"]) for item in report["settings"]} == {
        "data.position_unit": ("px", "--set (argument 6)"),
        "data.stored": ("counts", f"{file}:2"),
        "data.mask_bad_pixels": (False, "--keep-bad-pixels (argument 8)"),
        "data.max_frames": (8, "$PTYCHO_DATA__MAX_FRAMES"),
    }
    assert main(words) == 0
    assert "setting   data.max_frames = 8 frames, from $PTYCHO_DATA__MAX_FRAMES" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["check", "convert"])
@pytest.mark.parametrize(
    "mistake",
    [
        ["--position-unit", "cm"],
        ["--max-frames", "0"],
        ["--set", "data.postion_unit=m"],
        ["--set", "data.stored=count"],
        ["-c", "nowhere.yaml"],
    ],
)
def test_a_mistake_in_a_data_setting_is_answered_as_by_train(
    command: str, mistake: list[str], small_scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = str(tmp_path / "out")
    assert main(["train", str(small_scan), *mistake, "-o", output]) == 2
    expected = re.sub(r"argument \d", "argument", capsys.readouterr().err)

    words = [*mistake, "-o", f"{output}.h5"] if command == "convert" else mistake
    assert main(["data", command, str(small_scan), *words]) == 2

    assert re.sub(r"argument \d", "argument", capsys.readouterr().err) == expected
    assert list(tmp_path.iterdir()) == []


def test_data_commands_refuse_what_reading_a_scan_does_not_need(
    small_scan: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["data", "check", str(small_scan), "--set", "training.epochs=3"]) == 2
    assert "training.epochs has no effect when a scan is only read." in capsys.readouterr().err
    assert main(["data", "check", str(small_scan), "--epochs", "3"]) == 2
    assert "it sets training.epochs in `ptycho train`" in capsys.readouterr().err
    assert main(["data", "check"]) == 2
    assert "DATA: expected one scan, found none." in capsys.readouterr().err
    assert main(["data", "check", str(small_scan), str(small_scan)]) == 2
    assert f"Unexpected argument: {small_scan}." in capsys.readouterr().err
