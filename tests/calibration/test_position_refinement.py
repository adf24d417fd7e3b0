"""Refined positions: from the search to the files of a run."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

import h5py
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ptycho_cli.calibration import geometry_check
from ptycho_cli.calibration import position_search as module
from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.pipeline import calibrate
from ptycho_cli.calibration.position_refinement import place_scans
from ptycho_cli.calibration.position_search import refine_positions, shrink_moves
from ptycho_cli.calibration.probe_refinement import refine_probe
from ptycho_cli.cli.app import main
from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.physics.object_update import ObjectUpdate


@pytest.fixture(scope="module")
def exact() -> Scan:
    return simulate(
        n_frames=196, n_pixels=32, photons=1e6, object_kind="texture", pattern="random", step_px=2.0, seed=2
    )


@pytest.fixture(scope="module")
def moved(exact: Scan) -> Scan:
    """Positions off by 1 px rms along each axis, and all of them by (3, -2) px."""
    error = np.random.default_rng(1).normal(0, 1.0, exact.positions_px.shape)
    return replace(exact, positions_px=exact.positions_px + error + (3.0, -2.0))


def rms(moves: np.ndarray) -> float:
    """Length of the moves beside their mean, which is the object's."""
    return float(np.sqrt(np.mean(np.sum((moves - moves.mean(axis=0)) ** 2, axis=1))))


def refined(scan: Scan, most_px: float, alpha: float = 0.1) -> np.ndarray:
    assert scan.probe is not None
    return refine_positions(
        scan, torch.from_numpy(scan.probe), update=ObjectUpdate(alpha), max_shift_px=most_px, seed=0
    )


def linear_part(moves: np.ndarray, positions: np.ndarray) -> float:
    terms = positions - positions.mean(axis=0)
    return rms(terms @ np.linalg.lstsq(terms, moves - moves.mean(axis=0), rcond=None)[0])


def test_nine_tenths_of_a_random_error_are_taken_back_and_none_is_made(exact: Scan, moved: Scan) -> None:
    before = rms(moved.positions_px - exact.positions_px)

    after = rms(refined(moved, 4.0) - exact.positions_px)

    assert after < 0.1 * before
    assert rms(refined(exact, 4.0) - exact.positions_px) < 0.02


@pytest.mark.parametrize(("candidates", "left_px"), [(1, 1.06), (module.CANDIDATES, 0.01)])
def test_a_frame_comes_out_of_a_narrow_valley(measured: Path, candidates: int, left_px: float) -> None:
    """A frame on the spokes of the semi-synthetic star, off by a pixel: every whole pixel around it fits worse."""
    scan = read_scan(str(measured / "star64" / "star64_train1024_1e6.npz"))
    assert scan.probe is not None
    moved = 390
    part = scan.select(np.flatnonzero(np.linalg.norm(scan.positions_px - scan.positions_px[moved], axis=1) < 28))
    (number,) = np.flatnonzero((part.positions_px == scan.positions_px[moved]).all(axis=1))
    search = module.PositionFit(part, torch.from_numpy(scan.probe), update=ObjectUpdate(0.4), max_shift_px=3.0, seed=0)
    which = torch.tensor([number])
    obj = search.refit(search.vacuum(), search.all_frames[search.all_frames != number], 12, search.update)
    search.moves[number] = (-0.99, -0.39)

    for _ in range(3):
        search.jump(obj, which, 2.0, 1, candidates)
        search.step(obj)

    assert np.linalg.norm(search.moves[number] - np.median(search.moves, axis=0)) == pytest.approx(left_px, abs=0.02)


def test_a_right_probe_that_explains_little_at_wrong_positions_is_asked_first() -> None:
    """Positions 1.3 px off look like light of three modes; the file's one finds them, and then explains it all."""
    scan = simulate(
        n_frames=144, n_pixels=32, photons=1e6, object_kind="siemens", pattern="random", step_px=2.0, seed=2
    )
    error = np.random.default_rng(1).normal(0, 1.0, scan.positions_px.shape)
    moved, none = replace(scan, positions_px=scan.positions_px + error), np.array([], dtype=np.int64)
    before = refine_probe(moved, none, "auto", update=ObjectUpdate(0.1), seed=0, dtype=torch.float32)
    assert not before.file_probe_explains
    assert len(before.probe) == 3

    options = CalibrationOptions(ObjectUpdate(0.1), 0, torch.float32, max_position_shift_px=4.0)

    (found,), after, _ = place_scans((moved,), [True], before, none, options, probe_iterations="auto")

    assert rms(found.positions_px - scan.positions_px) < 0.1 * rms(error)
    assert after.file_probe_explains
    assert len(after.probe) == 1


@pytest.mark.parametrize(("asked", "severity"), [("auto", "fixed"), (False, "warning")])
def test_positions_that_alone_explain_a_scan_are_refined_unless_the_user_objects(
    moved: Scan, exact: Scan, monkeypatch: pytest.MonkeyPatch, asked: Literal["auto", False], severity: str
) -> None:
    """The first of two scans is off; the other stays as it is."""
    named = Finding("positions-error", "warning", "Frames are elsewhere.", setting="physics.refine_positions=true")
    monkeypatch.setattr(geometry_check, "geometry_findings", lambda scan, **_: [named] if scan is not exact else [])
    options = CalibrationOptions(ObjectUpdate(0.1), 0, torch.float32, refine_positions=asked, max_position_shift_px=4.0)

    found = calibrate((moved, replace(exact, counts=exact.counts.copy())), lambda n: np.arange(n) % 20 == 0, options)

    first, other = found.scans
    assert [(item.id, item.severity) for item in first.findings] == [("positions-error", severity)]
    assert other.stored_positions_px is None
    if asked:
        assert rms(first.positions_px - exact.positions_px) < 0.15 * rms(moved.positions_px - exact.positions_px)
        assert found.probe.file_probe_explains
    else:
        np.testing.assert_array_equal(first.positions_px, moved.positions_px)


def test_a_stretch_drifts_by_itself_where_it_is_not_held(exact: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    """From exact positions: a single frame hardly shows a common stretch, so the fit wanders along it."""
    monkeypatch.setattr(module, "shrink_moves", lambda moves, variance: moves)
    held = linear_part(refined(exact, 4.0) - exact.positions_px, exact.positions_px)

    monkeypatch.setattr(module, "remove_affine", lambda positions, moves: moves - moves.mean(axis=0))
    free = linear_part(refined(exact, 4.0) - exact.positions_px, exact.positions_px)

    assert free > 0.06
    assert held < 0.25 * free


def test_moves_that_noise_explains_are_undone(exact: Scan, monkeypatch: pytest.MonkeyPatch) -> None:
    """At a hundredth of the photons frames would wander from exact positions."""
    assert exact.probe is not None
    counts = np.random.default_rng(4).poisson(exact.counts / 100).astype(np.float32)
    dim = replace(exact, counts=counts, probe=exact.probe / 10)
    assert rms(refined(dim, 4.0, alpha=1.0) - exact.positions_px) < 0.02

    monkeypatch.setattr(module, "shrink_moves", lambda moves, variance: moves)
    assert rms(refined(dim, 4.0, alpha=1.0) - exact.positions_px) > 0.1


def test_shrinking_leaves_of_noisy_moves_the_likely_part() -> None:
    """With errors and noise of equal spread half of each move is left, and its distance from the error is least."""
    rng = np.random.default_rng(0)
    error, noise = rng.normal(0, 1, (2, 20_000, 2))

    found = shrink_moves(error + noise, np.full(20_000, 2.0))

    np.testing.assert_allclose(found, 0.5 * (error + noise), rtol=0.05)
    assert rms(found - error) < 0.75 * rms(noise)


def test_whole_pixels_of_a_common_move_are_the_objects(moved: Scan) -> None:
    """The scan is off by (3, -2) px, which moves the object: moves have a mean below half a pixel, and a bound."""
    moves = refined(moved, 0.8) - moved.positions_px

    assert np.abs(moves.mean(axis=0)).max() <= 0.5 + 1e-6  # the rounding of 32 bits
    assert np.linalg.norm(moves - moves.mean(axis=0), axis=1).max() < 0.8 + 0.2  # the bound, before the mean is out


@pytest.mark.long
@pytest.mark.parametrize("asked", [["--refine-positions"], []])
def test_a_run_keeps_its_positions_and_finds_those_of_other_scans(
    moved: Scan, tmp_path: Path, asked: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    """In the weights, the file and the picture; the same after a resume and when its scan is reconstructed again."""
    scan, run, out = tmp_path / "a.h5", tmp_path / "run", tmp_path / "o.h5"
    write_scan(scan, moved)
    few = ["--epochs", "1", "--n-groups", "2", "--set", "model.options.stages=2", "--no-report", "--quiet"]

    assert main(["train", str(scan), "-o", str(run), *asked, *few]) == 0

    kept = load_file(run / "weights.safetensors")["positions_0"].double().numpy()
    assert rms(kept - moved.positions_px) > 0.5
    assert (run / "reconstruction-positions.png").stat().st_size > 10_000
    assert main(["train", "--resume", str(run), "--epochs", "2", "--quiet"]) == 0
    np.testing.assert_array_equal(load_file(run / "weights.safetensors")["positions_0"].double().numpy(), kept)
    assert main(["infer", str(run), str(scan), "-o", str(out), "--quiet"]) == 0
    with h5py.File(out) as file:
        np.testing.assert_allclose(file["ptycho_cli/probe_position_px"][()], kept)
        np.testing.assert_allclose(file["ptycho_cli/stored_position_px"][()], moved.positions_px)
    other = tmp_path / "b.h5"
    write_scan(
        other,
        replace(moved, counts=moved.counts[::-1].copy(), positions_px=moved.positions_px[::-1].copy()),
    )
    assert main(["infer", str(run), str(other), "-o", str(tmp_path / "p.h5"), "--quiet"]) == 0
    with h5py.File(tmp_path / "p.h5") as file:
        found = file["ptycho_cli/probe_position_px"][()]
    assert rms(found[::-1] - kept) < 0.5 * rms(kept - moved.positions_px)
    capsys.readouterr()
    useless = ["--set", "physics.refine_positions=false", "--set", "physics.max_position_shift_px=2"]
    assert main(["train", str(scan), "-o", str(tmp_path / "no"), *useless]) == 2
    assert "positions are not refined" in capsys.readouterr().err
