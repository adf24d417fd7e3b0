"""Frames that fit nowhere are left out of trainings and reconstructions, and stay so in what follows them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import ptycho_cli
from ptycho_cli.cli.app import main
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan

Capture = pytest.CaptureFixture[str]
ROWS = [12, 30, 31]
QUICK: dict[str, Any] = {
    "epochs": 1, "n_groups": 4, "physics.probe_warmup": 0, "model.options.stages": 2, "weights": "none",
    "report": False,
}  # fmt: skip


def stored(path: Path, rows: list[int], *, seed: int = 3, probe: bool = True) -> Path:
    """A scan with mirrored frames, as no place of its object makes them."""
    scan = simulate(n_frames=64, n_pixels=32, photons=1e6, object_kind="siemens", seed=seed)
    counts = scan.counts.copy()
    counts[rows] = counts[rows, :, ::-1]
    given: dict[str, Any] = {"probe": scan.probe} if probe else {}
    np.savez(path, diffraction=counts, scan_yx_px=scan.positions_px, objectGuess=scan.truth, **given)
    return path


def printed(capsys: Capture, *words: object) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*map(str, words), "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_a_reconstruction_is_as_good_as_of_a_scan_without_them(tmp_path: Path, capsys: Capture) -> None:
    truth = tmp_path / "truth.h5"
    write_scan(truth, simulate(n_frames=64, n_pixels=32, photons=1e6, object_kind="siemens", seed=3))

    def snr(rows: list[int]) -> float:
        data, out = stored(tmp_path / "scan.npz", rows), tmp_path / "out.h5"
        assert [item["frames"] for item in printed(capsys, "reconstruct", data, "-o", out, "--force")["findings"]] == (
            [rows] if rows else []
        )
        return float(printed(capsys, "evaluate", out, "--truth", truth)["complex_snr_db"])

    assert snr(ROWS) > snr([]) - 1


def test_a_run_its_resume_and_its_reconstructions_have_the_same_frames(tmp_path: Path, capsys: Capture) -> None:
    data = stored(tmp_path / "scan.npz", ROWS)

    run = ptycho_cli.train(data, output_dir=tmp_path / "run", **QUICK)
    assert run.folder is not None
    told = json.loads((run.folder / "run.json").read_text())["data"][0]["findings"]
    resumed = printed(capsys, "train", "--resume", run.folder, "--epochs", "2")
    again = ptycho_cli.infer(run.folder, data).result.reconstruction

    assert [item["frames"] for item in told if item["id"] == "frames-outlier"] == [ROWS]
    record = json.loads((run.folder / "run.json").read_text())
    assert record["data"][0]["left_out_frames"] == ROWS
    assert resumed["run"] == str(run.folder)
    assert again.left_out is not None
    assert again.left_out.frames.tolist() == ROWS
    found = printed(capsys, "evaluate", run.folder / "reconstruction.h5", "--data", data)
    assert 0 < found["r_factor"] < 1


def test_infer_leaves_them_out_of_another_scan(tmp_path: Path) -> None:
    """With the probe of the run, or the scan's own."""
    run = ptycho_cli.train(stored(tmp_path / "good.npz", []), output_dir=tmp_path / "run", **QUICK)
    other = stored(tmp_path / "other.npz", ROWS, seed=5)

    for probe in ("run", "scan"):
        found = ptycho_cli.infer(run, other, probe=probe)

        assert found.result.reconstruction.left_out is not None
        assert found.result.reconstruction.left_out.frames.tolist() == ROWS
        assert "Frames 12, 30, 31 fit nowhere" in found.notes[0]


def test_in_files_without_a_probe_they_are_found_with_the_one_that_is_made(tmp_path: Path) -> None:
    """It is found once more without them; so is the probe of another scan in ``infer``."""
    data, other = (stored(tmp_path / f"{seed}.npz", ROWS, seed=seed, probe=False) for seed in (3, 5))

    run = ptycho_cli.train(data, output_dir=tmp_path / "run", **{**QUICK, "physics.probe_warmup": 10}, probe_modes=1)
    found = ptycho_cli.infer(run, other, probe="scan")

    assert run.folder is not None
    record = json.loads((run.folder / "run.json").read_text())
    assert record["data"][0]["left_out_frames"] == ROWS
    assert [item["frames"] for item in record["data"][0]["findings"] if item["id"] == "frames-outlier"] == [ROWS]
    assert found.result.reconstruction.left_out is not None
    assert found.result.reconstruction.left_out.frames.tolist() == ROWS


def test_data_check_names_them_unless_it_is_quick(tmp_path: Path, capsys: Capture) -> None:
    data = stored(tmp_path / "scan.npz", ROWS)

    found = printed(capsys, "data", "check", data)["findings"]
    quick = printed(capsys, "data", "check", data, "--quick")["findings"]

    assert [(item["id"], item["severity"], item["frames"]) for item in found] == [("frames-outlier", "fixed", ROWS)]
    assert quick == []
