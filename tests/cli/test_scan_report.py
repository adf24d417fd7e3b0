"""Commands that use a scan print its findings once, before their work, and refuse a bad scan before they write."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import read_reconstruction
from ptycho_cli.render.finding_lines import scan_lines

Capture = pytest.CaptureFixture[str]
SHORT = ("--epochs", "1", "--n-groups", "2", "--set", "physics.probe_warmup=0", "--network-option", "width=4")


@pytest.fixture(scope="module")
def faulty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A scan with a dark frame, in a file that does not say where its zero frequency is."""
    scan = simulate(n_frames=30, n_pixels=16, photons=1e5, seed=2)
    counts = scan.counts.astype(np.uint32)
    counts[7] = 0
    path = tmp_path_factory.mktemp("faulty") / "scan.npz"
    np.savez(path, diffraction=counts, scan_yx_px=scan.positions_px, probe=scan.probe)
    return path


@pytest.fixture(scope="module")
def refused(faulty: Path) -> Path:
    """The same in metres without the size of an object pixel: refused after the dark frame is found."""
    path = faulty.with_name("refused.npz")
    content = dict(np.load(faulty))
    np.savez(path, diffraction=content["diffraction"], positions=content["scan_yx_px"] * 1e-8, probe=content["probe"])
    return path


def test_train_prints_each_finding_once_before_the_table(faulty: Path, tmp_path: Path, capfd: Capture) -> None:
    run = tmp_path / "run"
    assert main(["train", str(faulty), "-o", str(run), *SHORT]) == 0
    out, err = capfd.readouterr()

    assert err.count("Frame 7: hardly any light; left out.") == 1
    assert err.count("frames-blank: --set data.reject_bad_frames=never") == 1
    assert "Frame 7" not in out
    assert err.index("Frame 7") < err.index("epoch 1/1")
    assert main(["infer", str(run), str(faulty), "-o", str(tmp_path / "object.h5"), "--json"]) == 0
    out, err = capfd.readouterr()
    assert [item["id"] for item in json.loads(out)["findings"]] == ["frames-blank"]
    assert "Frame 7" not in err
    assert json.loads((run / "run.json").read_text())["data"][0]["left_out_frames"] == [7]
    for file in (run / "reconstruction.h5", tmp_path / "object.h5"):
        found = read_reconstruction(file)
        assert found.stored_frames is not None
        assert found.left_out is not None
        assert found.stored_frames.tolist() == [*range(7), *range(8, 30)]
        np.testing.assert_allclose(found.left_out.positions_px, np.load(faulty)["scan_yx_px"][[7]], atol=1e-6)
    assert main(["evaluate", str(tmp_path / "object.h5"), "--data", str(faulty)]) == 0
    assert capfd.readouterr().err.count("Frame 7") == 1


@pytest.mark.parametrize("words", [("--quiet",), ("--json",)])
def test_quiet_and_json_print_warnings_only(
    words: tuple[str, ...], faulty: Path, tmp_path: Path, capfd: Capture
) -> None:
    keep = ("--set", "data.findings.frames-blank=warning", "--dry-run")
    arguments = ["train", str(faulty), "-o", str(tmp_path / "run"), *SHORT, *words]
    assert main([*arguments, "--dry-run"]) == 0
    assert "Frame 7" not in capfd.readouterr().err
    assert main([*arguments, *keep]) == 0
    assert capfd.readouterr().err.startswith("warning   Frame 7: hardly any light")


@pytest.mark.parametrize("command", ["train", "check"])
def test_json_has_the_findings_of_a_refused_file(command: str, refused: Path, tmp_path: Path, capfd: Capture) -> None:
    output = tmp_path / "run"
    words = ["train", str(refused), "-o", str(output)] if command == "train" else ["data", "check", str(refused)]

    assert main([*words, "--json"]) == 2
    report: dict[str, Any] = json.loads(capfd.readouterr().out)
    assert main([*words, "--json", "--set", "model.name=unrolled"] if command == "train" else [*words, "--json"]) == 2
    again: dict[str, Any] = json.loads(capfd.readouterr().out)

    for found in (report, again):
        assert [(item["id"], item["severity"]) for item in found["findings"]] == [
            ("frames-blank", "fixed"), ("positions-unit", "error"),
        ]  # fmt: skip
        assert found["findings"][0]["frames"] == [7]
        assert "size of an object pixel is not known" in found["problem"]["message"]
    assert not output.exists()


def test_a_scan_of_too_few_frames_is_refused_before_the_table(faulty: Path, tmp_path: Path, capfd: Capture) -> None:
    assert main(["train", str(faulty), "-o", str(tmp_path / "run"), "--max-frames", "3", "--json"]) == 2
    out, err = capfd.readouterr()

    assert ("few-frames", "error") in [(item["id"], item["severity"]) for item in json.loads(out)["findings"]]
    assert err.startswith("error: ")
    assert not (tmp_path / "run").exists()


def test_a_geometry_that_the_user_calls_an_error_is_refused(tmp_path: Path, capfd: Capture) -> None:
    scan = simulate(n_frames=64, n_pixels=32, photons=1e6, object_kind="texture", seed=3)
    path = tmp_path / "scan.npz"
    np.savez(path, diffraction=scan.counts, scan_yx_px=scan.positions_px * [-1, 1], probe=scan.probe)
    words = ["data", "check", str(path), "--json", "--set", "data.findings.positions-axes=error"]

    assert main(words) == 2

    report = json.loads(capfd.readouterr().out)
    assert ("positions-axes", "error") in [(item["id"], item["severity"]) for item in report["findings"]]
    assert "data.findings.positions-axes makes it an error" in report["problem"]["hint"]


def test_lines_are_folded_on_a_terminal_only(monkeypatch: pytest.MonkeyPatch) -> None:
    finding = Finding("frames-blank", "fixed", "word " * 30 + "end.", "data.reject_bad_frames=never")

    assert [line[-4:] for line in scan_lines(["word " * 40], [finding])] == ["ord ", "end.", "ever"]
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "60")
    assert max(map(len, scan_lines(["word " * 40], [finding]))) <= 60
