"""The autoencoder from the command line: trained, resumed, and used for other scans."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ptycho_cli.cli.app import main
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import read_reconstruction, write_scan

Capture = pytest.CaptureFixture[str]
CHOICE = ("--network", "autoencoder", "--network-option", "width=8", "--network-option", "depth=2")
QUICK = ("--accelerator", "cpu", "--set", "physics.refine_probe=false", "--seed", "1")


def figures(words: list[str], capsys: Capture) -> dict[str, Any]:
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


@pytest.fixture(scope="module")
def run(small_scan: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An autoencoder trained on single frames."""
    folder = tmp_path_factory.mktemp("runs") / "alone"
    words = ["train", str(small_scan), "-o", str(folder), *CHOICE, *QUICK, "--no-report", "--quiet"]
    assert main([*words, "--group-size", "1", "--batch-size", "10", "--n-groups", "100", "--epochs", "6"]) == 0
    return folder


def without_overlap(scan: Scan, distance_px: float) -> Scan:
    """Frames at least ``distance_px`` apart, chosen greedily."""
    kept: list[int] = []
    for frame, place in enumerate(scan.positions_px):
        if all(np.hypot(*(place - scan.positions_px[other])) >= distance_px for other in kept):
            kept.append(frame)
    return replace(scan, counts=scan.counts[kept], positions_px=scan.positions_px[kept])


@pytest.mark.long
def test_training_on_single_frames_improves_another_scan(run: Path, tmp_path: Path, capsys: Capture) -> None:
    """Frames of another object are reconstructed one by one: first overlapping frames, then frames without overlap."""
    other = simulate(n_frames=200, n_pixels=32, photons=1e6, seed=8)
    alone = without_overlap(other, 24.0)
    assert 4 <= alone.n_frames < 40
    for name, scan in (("other", other), ("alone", alone)):
        write_scan(tmp_path / f"{name}.h5", scan)

    def scored(name: str, *more: str) -> dict[str, Any]:
        scan, out = str(tmp_path / f"{name}.h5"), str(tmp_path / "out.h5")
        return figures(["infer", str(run), scan, "-o", out, "--force", "--polish", "0", *more], capsys)

    trained = scored("other")
    assert trained["complex_snr_db"] > trained["flat_object"]["complex_snr_db"] + 2.5
    assert trained["complex_snr_db"] > scored("other", "--untrained")["complex_snr_db"] + 0.5
    assert scored("alone")["r_factor"] < 0.9 * scored("alone", "--untrained")["r_factor"]
    assert np.isfinite(read_reconstruction(tmp_path / "out.h5").object).all()
    assert (tmp_path / "out.png").stat().st_size > 10_000


def test_the_options_are_in_the_record_and_in_the_weights(run: Path) -> None:
    record = json.loads((run / "run.json").read_text())
    weights = load_file(run / "weights.safetensors")

    options = {"channels": 1, "depth": 2, "width": 8, "input": "physics"}
    assert record["config"]["model"] == {"name": "autoencoder", "weights": "auto", "options": options}
    assert weights["network.coder.down.0.0.weight"].shape == (8, 4, 3, 3)
    assert weights["network.coder.down.2.0.weight"].shape == (32, 16, 3, 3)
    assert float(weights["network.coder.last.weight"].abs().max()) > 0


def test_what_a_run_fixes_cannot_be_changed(run: Path, small_scan: Path, tmp_path: Path, capsys: Capture) -> None:
    words = ["infer", str(run), str(small_scan), "-o", str(tmp_path / "o.h5")]

    assert main([*words, "--set", "model.options.width=9"]) == 2

    assert f"model.options.width cannot be 9: checkpoint {run} fixes it to 8" in capsys.readouterr().err
    assert not (tmp_path / "o.h5").exists()


@pytest.mark.long
def test_an_interrupted_training_with_neighbours_resumes_to_the_same_weights(small_scan: Path, tmp_path: Path) -> None:
    """Three frames for each patch, amplitudes as input: two epochs at once equal one epoch and then another."""
    options = [*CHOICE, "--network-option", "channels=3", "--network-option", "input=amplitude", *QUICK, "--quiet"]
    small = ["--n-groups", "4", "--group-size", "9"]
    whole, parted = str(tmp_path / "whole"), str(tmp_path / "parted")

    assert main(["train", str(small_scan), "-o", whole, *options, *small, "--epochs", "2"]) == 0
    assert main(["train", str(small_scan), "-o", parted, *options, *small, "--epochs", "1"]) == 0
    assert main(["train", "--resume", parted, "--epochs", "2", "--quiet"]) == 0

    first, second = (torch.load(Path(name) / "checkpoints" / "last.ckpt") for name in (whole, parted))
    for name, value in first["state_dict"].items():
        assert torch.equal(value, second["state_dict"][name]), name


def test_a_frame_that_cannot_be_halved_is_refused_before_anything_is_written(
    small_scan: Path, tmp_path: Path, capsys: Capture
) -> None:
    words = ["train", str(small_scan), "-o", str(tmp_path / "run"), *QUICK]

    assert main([*words, "--network", "autoencoder", "--network-option", "depth=6"]) == 2

    assert "model.options.depth is 6, but frames of 32 px can be halved 5 times." in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
