"""``train``, ``infer`` and ``evaluate --data`` end with the verdict, and store it in all places alike."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_cli.calibration import geometry_check, verdict
from ptycho_cli.cli.app import main
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.inference import results
from ptycho_cli.inference.held_out_trial import HeldOutTrial

Capture = pytest.CaptureFixture[str]
LEAST = ["--epochs", "1", "--n-groups", "1", "--no-report"]
SHORT = ["--epochs", "1", "--n-groups", "4", "--no-report", "--json"]
STEADY = [  # as the simulated scan is
    *("--set", "physics.background=0", "--set", "physics.refine_intensity=never", "--set", "physics.probe_warmup=0"),
]


@pytest.fixture(scope="module")
def titles() -> list[str]:
    return []


@pytest.fixture(autouse=True)
def kept_titles(titles: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    draw = results.save_reconstruction_png
    monkeypatch.setattr(
        results, "save_reconstruction_png", lambda *a, title="", **k: titles.append(title) or draw(*a, title=title, **k)
    )


def flipped(scan: Path, path: Path) -> Path:
    good = read_scan(scan)
    np.savez(path, diffraction=good.counts, probe=good.probe, scan_yx_px=good.positions_px * [-1, 1])
    return path


def printed(capsys: Capture, *words: str, rc: int = 0) -> dict[str, Any]:
    capsys.readouterr()
    assert main(list(words)) == rc
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["verdict"]
    return found


def stored(file: Path) -> dict[str, Any]:
    with h5py.File(file) as opened:
        found: dict[str, Any] = json.loads(opened["ptycho_cli/run_record"].asstr()[()])["verdict"]
    return found


def test_a_good_scan_is_explained_everywhere(
    small_scan: Path, tmp_path: Path, titles: list[str], capsys: Capture
) -> None:
    run, out = tmp_path / "run", tmp_path / "out.h5"
    found = printed(capsys, "train", str(small_scan), "-o", str(run), "--strict", *SHORT)

    assert found == json.loads((run / "run.json").read_text())["verdict"] == stored(run / "reconstruction.h5")
    assert (found["explained"], found["reasons"], found["findings"]) == (True, [], [])
    assert 0.8 < found["ratio"] < 1.3
    assert found["ratio"] == pytest.approx(found["deviance"] / found["expected_deviance"])
    assert titles[-1] == f"small.h5: explained, {found['ratio']:.3g} times photon noise"

    again = printed(capsys, "infer", str(run), str(small_scan), "-o", str(out), "--strict", "--json")
    assert again == stored(out)
    assert again["deviance"] == pytest.approx(found["deviance"], rel=1e-3)
    assert printed(capsys, "evaluate", str(out), "--data", str(small_scan), "--strict", "--json")["explained"]
    assert main(["infer", str(run), str(small_scan), "-o", str(out), "--force"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"The model explains the frames ({found['ratio']:.3g} times photon noise)."


def test_the_score_of_a_training_is_used_again_where_nothing_differs(
    small_scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    """A reconstruction without the held-out frames, which takes as long as that of 256 frames, is made only once."""
    run, file = tmp_path / "run", ["-o", str(tmp_path / "out.h5"), "--force", "--json"]
    found = printed(capsys, "train", str(small_scan), "-o", str(run), *SHORT, *STEADY)
    made: list[object] = []
    whole = HeldOutTrial._object
    monkeypatch.setattr(HeldOutTrial, "_object", lambda *args: made.append(args) or whole(*args))

    def inferred(*words: str) -> tuple[dict[str, Any], bool]:
        made.clear()
        return printed(capsys, "infer", str(run), str(small_scan), *file, *words), bool(made)

    again, computed = inferred()
    assert not computed
    assert (again["deviance"], again["expected_deviance"]) == (found["deviance"], found["expected_deviance"])
    for words in (["--polish", "3"], ["--untrained"], ["--probe", "scan"], ["--set", "data.exclude_frames=0"]):
        assert inferred(*words)[1]


def test_axes_that_the_training_tried_are_not_tried_again_unless_the_scan_is_read_otherwise(
    small_scan: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried: list[object] = []
    monkeypatch.setattr(verdict, "doubtful", lambda score: True)
    for module in (verdict, geometry_check):
        monkeypatch.setattr(module, "geometry_findings", lambda scan, **words: tried.append(scan) or [])
    run, words = str(tmp_path / "run"), ["-o", str(tmp_path / "out.h5"), "--force", "--quiet"]
    assert main(["train", str(small_scan), "-o", run, *LEAST, "--quiet"]) == 0
    assert len(tried) == 1

    assert main(["infer", run, str(small_scan), *words]) == 0
    assert len(tried) == 1
    assert main(["infer", run, str(small_scan), *words, "--set", "data.position_scale=1.01"]) == 0
    assert len(tried) == 2


@pytest.mark.long
def test_wrong_axes_end_unexplained_with_the_reason_first_and_strictly_with_exit_code_3(
    small_scan: Path, tmp_path: Path, titles: list[str], capsys: Capture
) -> None:
    scan, run, out = flipped(small_scan, tmp_path / "flipped.npz"), tmp_path / "run", tmp_path / "out.h5"
    found = printed(capsys, "train", str(scan), "-o", str(run), "--strict", *SHORT, rc=3)

    assert (found["explained"], found["reasons"][0]) == (False, "positions-axes")
    assert found["findings"][0]["setting"] == "data.flip_positions=y"
    assert found["ratio"] > 5
    assert len(found["worst_frames"]) == 5
    assert found == json.loads((run / "run.json").read_text())["verdict"] == stored(run / "reconstruction.h5")
    assert titles[-1].startswith("flipped.npz: NOT EXPLAINED, ")

    inferred = printed(capsys, "infer", str(run), str(scan), "-o", str(out), "--json")
    assert inferred["reasons"] == found["reasons"]
    evaluated = printed(capsys, "evaluate", str(out), "--data", str(scan), "--json", "--strict", rc=3)
    assert evaluated["reasons"][0] == "positions-axes"
    assert main(["infer", str(run), str(scan), "-o", str(out), "--force", "--quiet", "--strict"]) == 3
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "warning   The model does not explain the frames" in captured.err
    assert "positions-axes: --set data.flip_positions=y" in captured.err


def test_a_frame_at_a_wrong_position_is_named_by_train_and_by_evaluate(tmp_path: Path, capsys: Capture) -> None:
    scan, run, out = tmp_path / "moved.npz", tmp_path / "run", tmp_path / "run" / "reconstruction.h5"
    good = simulate(n_frames=49, n_pixels=16, photons=1e6, seed=1)
    positions = good.positions_px + np.where(np.arange(49)[:, None] == 20, 2.0, 0.0)
    np.savez(scan, diffraction=good.counts, probe=good.probe, scan_yx_px=positions)

    trained = printed(capsys, "train", str(scan), "-o", str(run), *LEAST, "--json")
    again = printed(capsys, "evaluate", str(out), "--data", str(scan), "--json")

    [finding] = json.loads((run / "run.json").read_text())["data"][0]["findings"]
    assert (finding["id"], finding["severity"], finding["frames"]) == ("positions-outlier", "fixed", [20])
    assert trained["findings"] == again["findings"] == []


def test_a_frame_at_a_wrong_position_that_the_user_keeps_is_named_after_the_training(
    tmp_path: Path, capsys: Capture
) -> None:
    scan, run, out = tmp_path / "moved.npz", tmp_path / "run", tmp_path / "run" / "reconstruction.h5"
    good = simulate(n_frames=49, n_pixels=16, photons=1e6, seed=1)
    positions = good.positions_px + np.where(np.arange(49)[:, None] == 20, 2.0, 0.0)
    np.savez(scan, diffraction=good.counts, probe=good.probe, scan_yx_px=positions)
    kept = ("--set", "data.findings.positions-outlier=note")

    trained = printed(capsys, "train", str(scan), "-o", str(run), *LEAST, *kept, "--json")
    again = printed(capsys, "evaluate", str(out), "--data", str(scan), "--json")

    for found in (trained, again):
        [finding] = found["findings"]
        assert (finding["id"], finding["frames"]) == ("positions-outlier", [20])
        assert finding["setting"] == "data.exclude_frames=20"


def test_strict_without_data_is_refused(small_scan: Path, capsys: Capture) -> None:
    assert main(["evaluate", str(small_scan), "--truth", str(small_scan), "--strict"]) == 2
    assert "--strict has no effect without --data." in capsys.readouterr().err
