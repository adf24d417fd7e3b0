"""``ptycho infer --devices N`` divides a scan among processes, and finds what one process finds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from ptycho_cli.cli.app import main

SHORT = ("--epochs", "1", "--n-groups", "4", "--group-size", "12", "--no-report", "--quiet")


@pytest.mark.parametrize(
    "network", [(), pytest.param(("--network", "refiner", "--set", "inference.tv_weight=0.1"), marks=pytest.mark.long)]
)
def test_two_processes_find_what_one_finds(
    network: tuple[str, ...], scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = str(tmp_path / "run")
    assert main(["train", str(scan_file), "-o", run, *network[:2], *SHORT]) == 0
    words = ["infer", run, str(scan_file), "--precision", "64-true", "--polish", "3", "--accelerator", "cpu"]

    def command(devices: str) -> list[str]:
        return [*words, "-o", str(tmp_path / f"{devices}.h5"), "--devices", devices, *network[2:], "--json"]

    capsys.readouterr()
    assert main(command("1")) == 0
    one = json.loads(capsys.readouterr().out)
    program = [sys.executable, "-m", "ptycho_cli", *command("2")]
    done = subprocess.run(program, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    two = json.loads(done.stdout)

    fields: list[np.ndarray] = []
    same: list[np.ndarray] = []
    for devices, arrays in (("1", fields), ("2", same)):
        with h5py.File(tmp_path / f"{devices}.h5") as stored:
            arrays += [stored["object"][()], stored["ptycho_cli/coverage"][()]]
    assert two["deviance"] == pytest.approx(one["deviance"], rel=1e-9)
    assert two["verdict"]["deviance"] == pytest.approx(one["verdict"]["deviance"], rel=1e-9)
    for expected, values in zip(fields, same, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_a_comparison_has_no_devices(scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["train", str(scan_file), "-o", run, *SHORT]) == 0
    words = ["compare", run, str(scan_file), "-o", str(tmp_path / "out")]
    for more in (["--devices", "2"], ["--set", "execution.devices=2"]):
        assert main([*words, *more]) == 2
        assert "devices" in capsys.readouterr().err
