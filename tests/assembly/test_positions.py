"""Refined positions: from the search to the files of a run."""

from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ptycho_cli.assembly import positions as module
from ptycho_cli.assembly.positions import refine_positions
from ptycho_cli.cli.app import main
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulate import simulate
from ptycho_cli.data.write import write_scan


@pytest.fixture(scope="module")
def exact() -> Scan:
    return simulate(n_frames=196, n_pixels=32, photons=1e6, sample="texture", pattern="random", step_px=2.0, seed=2)


@pytest.fixture(scope="module")
def astray(exact: Scan) -> Scan:
    """Positions off by 1 px rms along each axis, and all of them by (3, -2) px."""
    error = np.random.default_rng(1).normal(0, 1.0, exact.positions_px.shape)
    return replace(exact, positions_px=exact.positions_px + error + (3.0, -2.0))


def rms(moves: np.ndarray) -> float:
    """Length of the moves beside their mean, which is the object's."""
    return float(np.sqrt(np.mean(np.sum((moves - moves.mean(axis=0)) ** 2, axis=1))))


def refined(scan: Scan, most_px: float) -> np.ndarray:
    assert scan.probe is not None
    return refine_positions(scan, torch.from_numpy(scan.probe), alpha=0.1, most_px=most_px, seed=0)


def test_most_of_a_random_error_is_taken_back_and_none_is_made(exact: Scan, astray: Scan) -> None:
    before = rms(astray.positions_px - exact.positions_px)

    after = rms(refined(astray, 4.0) - exact.positions_px)

    assert after < 0.25 * before
    assert rms(refined(exact, 4.0) - exact.positions_px) < 0.12


def test_a_stretch_drifts_by_itself_where_it_is_not_held(exact: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    """From exact positions: any one frame hardly tells a common stretch, so the fit wanders along it."""
    held = rms(refined(exact, 4.0) - exact.positions_px)

    monkeypatch.setattr(module, "without_affine", lambda positions, moves: moves - moves.mean(axis=0))

    assert rms(refined(exact, 4.0) - exact.positions_px) > 1.3 * held


def test_the_mean_stays_and_no_frame_is_moved_too_far(astray: Scan) -> None:
    """A common move is the object's: the mean of all moves is 0, whatever the data say."""
    moves = refined(astray, 0.8) - astray.positions_px

    assert np.abs(moves.mean(axis=0)).max() < 1e-6  # the rounding of 32 bits
    assert np.linalg.norm(moves, axis=1).max() < 0.8 + 0.2  # the bound, before the mean is taken out


def test_a_run_keeps_its_positions_and_finds_those_of_other_scans(
    astray: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the weights, the file and the picture; the same after a resume and when its scan is reconstructed again."""
    scan, run, out = tmp_path / "a.h5", tmp_path / "run", tmp_path / "o.h5"
    write_scan(scan, astray)
    few = ["--epochs", "1", "--n-groups", "2", "--set", "model.options.stages=2", "--quiet"]

    assert main(["train", str(scan), "-o", str(run), "--refine-positions", *few]) == 0

    kept = load_file(run / "weights.safetensors")["positions_0"].double().numpy()
    assert rms(kept - astray.positions_px) > 0.5
    assert (run / "reconstruction-positions.png").stat().st_size > 10_000
    assert main(["train", "--resume", str(run), "--epochs", "2", "--quiet"]) == 0
    np.testing.assert_array_equal(load_file(run / "weights.safetensors")["positions_0"].double().numpy(), kept)
    assert main(["infer", str(run), str(scan), "-o", str(out), "--quiet"]) == 0
    with h5py.File(out) as file:
        np.testing.assert_allclose(file["ptycho_cli/probe_position_px"][()], kept)
        np.testing.assert_allclose(file["ptycho_cli/stored_position_px"][()], astray.positions_px)
    other = tmp_path / "b.h5"
    write_scan(other, replace(astray, counts=astray.counts[::-1].copy(), positions_px=astray.positions_px[::-1].copy()))
    assert main(["infer", str(run), str(other), "-o", str(tmp_path / "p.h5"), "--quiet"]) == 0
    with h5py.File(tmp_path / "p.h5") as file:
        found = file["ptycho_cli/probe_position_px"][()]
    assert rms(found[::-1] - kept) < 0.5 * rms(kept - astray.positions_px)
    capsys.readouterr()
    assert main(["train", str(scan), "-o", str(tmp_path / "no"), "--set", "physics.max_position_shift_px=2"]) == 2
    assert "positions are not refined" in capsys.readouterr().err
