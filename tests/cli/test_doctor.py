"""``ptycho doctor``: it says what is slow or missing, with the way out, and lives on where torch does not."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli import system_check
from ptycho_cli.cli.app import main
from ptycho_cli.system_check import Check


def report(capsys: pytest.CaptureFixture[str], *flags: str) -> dict[str, Any]:
    main(["doctor", "--json", *flags])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def check(found: dict[str, Any], name: str) -> dict[str, str]:
    return next(item for item in found["checks"] if item["name"] == name)


def test_this_installation_has_all_that_it_needs(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    found = report(capsys, "--fast")

    assert found["ok"]
    assert check(found, "packages")["state"] == "ok"
    assert found["hdf5"]["filters"]["bitshuffle"]
    assert found["plugins"][0]["distribution"] == "ptycho-cli"
    assert found["torch"] is None


def test_it_does_not_load_torch_itself() -> None:
    code = "import sys; from ptycho_cli.cli.app import main; main(['doctor', '--fast']); print('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.splitlines()[-1] == "False"


def test_a_torch_that_does_not_load_is_named_and_the_exit_code_says_so(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(system_check, "_TORCH", "raise ImportError('libcudart.so.12: cannot open shared object file')")

    assert main(["doctor"]) == 3
    out = capsys.readouterr().out
    assert "missing   torch: ImportError: libcudart.so.12" in out
    assert "pip check" in out


def test_a_torch_for_a_gpu_that_is_not_found_has_a_way_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    state = {"version": "2", "built_for": "12.4", "devices": [], "threads": 1, "mkl": True, "seconds": 1.0}
    monkeypatch.setattr(system_check, "_TORCH", f"import json; print(json.dumps({state!r}))")

    found = report(capsys)
    assert check(found, "devices")["state"] == "slow"
    assert "CUDA_VISIBLE_DEVICES" in check(found, "devices")["hint"]


def test_more_threads_than_cores_are_slow(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(system_check, "usable_cores", lambda: 2.0)
    monkeypatch.setenv("OMP_NUM_THREADS", "16")

    threads = check(report(capsys, "--fast"), "threads")
    assert threads["state"] == "slow"
    assert threads["hint"] == "export OMP_NUM_THREADS=2"


def test_a_missing_package_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = ["numpy>=99", "ptycho-no-such-package>=1", "hypothesis; extra == 'dev'"]
    monkeypatch.setattr(system_check, "requires", lambda name: needed)

    found = system_check._packages()
    assert [(item.name, item.state) for item in found] == [("numpy", "missing"), ("ptycho-no-such-package", "missing")]
    assert found[1] == Check(
        "ptycho-no-such-package", "missing", "not installed", "pip install 'ptycho-no-such-package>=1'"
    )


def test_a_disk_that_is_nearly_full_is_named() -> None:
    (nearly_full,) = (item for item in system_check._disks({str(Path.cwd()): 0.5}) if item.hint)

    assert nearly_full.state == "slow"
    assert "0.5 GiB free" in nearly_full.found
