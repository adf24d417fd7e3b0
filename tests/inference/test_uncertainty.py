"""Errors estimated without a known object: the spread is the error, held-out frames an alarm, sparse scans refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.cli.app import main
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.schema import Config
from ptycho_cli.config.sources import library_layer
from ptycho_cli.data.groups import Groups, held_out_frames
from ptycho_cli.data.misfit import misfit
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.uncertainty_record import Uncertainty
from ptycho_cli.data.write import read_reconstruction, write_scan
from ptycho_cli.errors import DataError
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.inference.inference_run import infer
from ptycho_cli.inference.reconstruct import reconstruct
from ptycho_cli.inference.results import write_result
from ptycho_cli.inference.uncertainty import estimate_uncertainty, held_out_misfit, second_half
from ptycho_cli.networks.unrolled import UnrolledNetwork
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.registration import align


def noisy(photons: float = 3e4) -> Scan:
    return simulate(n_frames=200, n_pixels=32, photons=photons, object_kind="texture", seed=5)


def physics_only(scan: Scan) -> Objective:
    """A network without trained weights, with the probe of the scan."""
    assert scan.probe is not None
    network = UnrolledNetwork(stages=8, subsets=2, width=2, update=ObjectUpdate(0.5))
    return Objective(network, torch.from_numpy(scan.probe), torch.tensor([frame_photons(scan)]))


def solver(scan: Scan, *, polish: int, alpha: float) -> Callable[[Scan, str], Reconstruction]:
    objective = physics_only(scan)
    return lambda part, name: reconstruct(
        objective, part, physics_only=True, polish=polish, update=ObjectUpdate(alpha)
    ).reconstruction  # fmt: skip


def judged(scan: Scan, *, polish: int = 20, alpha: float = 0.5) -> tuple[Reconstruction, Uncertainty]:
    solve = solver(scan, polish=polish, alpha=alpha)
    whole = solve(scan, "")
    held_out = np.arange(0, scan.n_frames, 20)
    return whole, estimate_uncertainty(solve, scan, whole, held_out=held_out, from_training=True, seed=1)


def test_halves_are_disjoint_cover_the_scan_and_depend_on_the_seed_alone() -> None:
    second = second_half(51, 3)

    assert second.sum() == 25
    np.testing.assert_array_equal(second, second_half(51, 3))
    assert (second != second_half(51, 4)).any()


def test_the_spread_of_halves_is_the_error_that_noise_makes() -> None:
    """Within a factor of 1.5 of the true error; halves see the noise, not the bias that both share."""
    scan = noisy()
    whole, found = judged(scan)
    assert scan.truth is not None
    assert scan.truth_origin_px is not None
    offset = tuple(np.subtract(whole.object_origin_px, scan.truth_origin_px))
    aligned = align(whole.object, scan.truth, coverage=whole.coverage, offset_px=(offset[0], offset[1]))
    error = (np.abs(aligned.object) - np.abs(aligned.reference))[aligned.covered]

    estimated = np.sqrt(np.nanmean(found.amplitude_spread**2))
    assert estimated == pytest.approx(np.sqrt(np.mean(error**2)), rel=0.5)


def test_more_light_brings_a_smaller_spread_and_a_later_ring_cut() -> None:
    (_, dim), (_, bright) = judged(noisy(3e3)), judged(noisy(1e5))

    assert np.nanmedian(bright.amplitude_spread) < 0.5 * np.nanmedian(dim.amplitude_spread)
    assert np.nanmedian(bright.phase_spread_rad) < 0.5 * np.nanmedian(dim.phase_spread_rad)
    assert bright.frc_half_bit_nyquist > dim.frc_half_bit_nyquist


def test_held_out_frames_tell_of_fitted_noise_where_the_fit_itself_praises_it() -> None:
    """Dim, polished long with little regularisation: the deviance of used frames falls, of those left out rises."""
    scan = noisy(1e3)
    held_out = np.arange(0, scan.n_frames, 20)
    fit, left = [], []
    for polish, alpha in ((20, 2.0), (100, 0.5)):
        solve = solver(scan, polish=polish, alpha=alpha)
        whole = solve(scan, "")
        fit.append(misfit(whole, scan).deviance)
        left.append(held_out_misfit(solve, scan, whole, held_out).deviance)

    assert fit[1] < fit[0] - 0.001
    assert left[1] > left[0] + 0.001


def test_no_reconstruction_of_a_part_sees_the_frames_that_judge_it() -> None:
    scan = noisy()
    solve, seen = solver(scan, polish=0, alpha=0.5), {}

    def spy(part: Scan, name: str) -> Reconstruction:
        seen[name] = {tuple(position) for position in part.positions_px}
        return solve(part, name)

    held_out = np.array([3, 50, 120])
    estimate_uncertainty(spy, scan, solve(scan, ""), held_out=held_out, from_training=True, seed=0)

    kept_back = {tuple(position) for position in scan.positions_px[held_out]}
    first, second, without = seen.values()
    assert first & second == set()
    assert len(first | second) == scan.n_frames
    assert without & kept_back == set()
    assert len(without) == scan.n_frames - 3


def settings(**changes: object) -> Config:
    layer = library_layer({"uncertainty": True, **changes})
    return resolve([layer], load_plugins(()).catalogue(), command="infer").config


def trained_with(*, seed: int, validation_fraction: float) -> Config:
    """Settings of a reconstruction at the end of a training."""
    config = settings()
    data = config.data.model_copy(update={"validation_fraction": validation_fraction})
    return config.model_copy(update={"data": data, "training": config.training.model_copy(update={"seed": seed})})


def test_the_frames_are_those_that_training_held_out_and_others_for_another_scan() -> None:
    scan = noisy()
    config = trained_with(seed=7, validation_fraction=0.1)
    groups = Groups([scan, scan], group_size=8, seed=7, validation_fraction=0.1)

    for number in (0, 1):
        found = infer(physics_only(scan), config, scan, training_scan=number).result.reconstruction.uncertainty
        assert found is not None
        np.testing.assert_array_equal(found.held_out, groups.held_out(number))
        assert found.held_out_from_training

    fitted = trained_with(seed=0, validation_fraction=0.0)
    everything_trained_on = infer(physics_only(scan), fitted, scan, training_scan=0).result.reconstruction.uncertainty
    assert everything_trained_on is not None
    assert len(everything_trained_on.held_out) == 10
    assert not everything_trained_on.held_out_from_training


def test_infer_judges_by_the_frames_that_a_run_with_another_seed_held_out(tmp_path: Path) -> None:
    scan, run, out = tmp_path / "scan.h5", tmp_path / "run", tmp_path / "out.h5"
    write_scan(scan, simulate(n_frames=49, n_pixels=16, step_px=2, photons=1e5, seed=1))
    short = ["--epochs", "1", "--n-groups", "2", "--set", "data.validation_fraction=0.2", "--no-report", "--quiet"]
    assert main(["train", str(scan), "-o", str(run), "--seed", "5", *short]) == 0

    assert main(["infer", str(run), str(scan), "-o", str(out), "--uncertainty", "--quiet"]) == 0

    found = read_reconstruction(out).uncertainty
    held_out, by_default = (np.flatnonzero(held_out_frames(49, 0.2, seed)) for seed in (5, 0))
    assert found is not None
    assert found.held_out_from_training
    np.testing.assert_array_equal(found.held_out, held_out)
    assert set(held_out) != set(by_default)


def test_a_scan_whose_halves_do_not_overlap_is_refused_with_the_reason() -> None:
    sparse = simulate(n_frames=64, n_pixels=32, step_px=9, seed=2)

    with pytest.raises(DataError, match=r"too sparse .* half of them illuminate a pixel") as caught:
        judged(sparse, polish=0)
    assert caught.value.hint == "Leave out inference.uncertainty."


def test_the_file_gives_everything_back_and_the_pictures_are_two(tmp_path: Path) -> None:
    scan = noisy()
    result = infer(physics_only(scan), settings(), scan).result

    pictures = write_result(result, tmp_path / "o.h5", {"config": {}}, title="small")

    assert [path.name for path in pictures] == ["o.png", "o-uncertainty.png"]
    back, made = read_reconstruction(tmp_path / "o.h5").uncertainty, result.reconstruction.uncertainty
    assert back is not None
    assert made is not None
    assert back.metrics() == made.metrics()
    np.testing.assert_array_equal(back.halves, made.halves)
    np.testing.assert_array_equal(back.second_half, made.second_half)


def test_evaluate_without_a_truth_prints_what_the_parts_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scan = noisy()
    write_scan(tmp_path / "scan.h5", scan)
    result = infer(physics_only(scan), settings(), scan).result
    write_result(result, tmp_path / "o.h5", {"config": {}}, title="small")
    plain = replace(result.reconstruction, uncertainty=None)
    write_result(replace(result, reconstruction=plain), tmp_path / "plain.h5", {}, title="")

    assert main(["evaluate", str(tmp_path / "o.h5"), "--data", str(tmp_path / "scan.h5"), "--json"]) == 0
    figures = json.loads(capsys.readouterr().out)
    assert main(["evaluate", str(tmp_path / "o.h5")]) == 0
    printed = capsys.readouterr().out

    made = result.reconstruction.uncertainty
    assert made is not None
    assert figures["half_frc_half_bit_nyquist"] == made.frc_half_bit_nyquist
    assert figures["held_out_deviance"] == made.held_out_deviance > figures["deviance"]
    assert f"{made.held_out_deviance:.3f}" in printed
    assert "held-out frames: 10, never seen by the network" in printed
    assert main(["evaluate", str(tmp_path / "plain.h5")]) == 2
    assert "nothing to compare with" in capsys.readouterr().err
