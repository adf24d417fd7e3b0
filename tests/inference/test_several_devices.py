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

SHORT = ("--epochs", "1", "--n-groups", "4", "--quiet")


@pytest.mark.parametrize("network", [(), ("--network", "refiner", "--set", "inference.smoothness=2")])
def test_two_processes_find_what_one_finds(network: tuple[str, ...], small_scan: Path, tmp_path: Path) -> None:
    run = str(tmp_path / "run")
    assert main(["train", str(small_scan), "-o", run, *network[:2], *SHORT]) == 0
    words = ["infer", run, str(small_scan), "--precision", "64-true", "--polish", "3", "--accelerator", "cpu"]
    found = {}
    for devices in ("1", "2"):
        file = tmp_path / f"{devices}.h5"
        command = [sys.executable, "-m", "ptycho_cli", *words, "-o", str(file), "--devices", devices, *network[2:]]
        done = subprocess.run([*command, "--json"], capture_output=True, text=True, check=False, timeout=300)
        assert done.returncode == 0, done.stderr
        with h5py.File(file) as stored:
            found[devices] = json.loads(done.stdout), stored["object"][()], stored["ptycho_cli/coverage"][()]

    (one, *fields), (two, *same) = found["1"], found["2"]
    assert two["deviance"] == pytest.approx(one["deviance"], rel=1e-9)
    assert two["verdict"]["deviance"] == pytest.approx(one["verdict"]["deviance"], rel=1e-9)
    for expected, values in zip(fields, same, strict=True):
        np.testing.assert_allclose(values, expected, rtol=1e-5)


def test_a_comparison_has_no_devices(small_scan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = str(tmp_path / "run")
    assert main(["train", str(small_scan), "-o", run, *SHORT]) == 0
    words = ["compare", run, str(small_scan), "-o", str(tmp_path / "out")]
    for more in (["--devices", "2"], ["--set", "execution.devices=2"]):
        assert main([*words, *more]) == 2
        assert "devices" in capsys.readouterr().err
