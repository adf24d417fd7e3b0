"""Whole-scan reconstruction: exact in portions, better with polish, honest about its misfit."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.data.misfit import misfit
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import read_reconstruction
from ptycho_cli.errors import CheckpointError
from ptycho_cli.inference.reconstruct import reconstruct, run_network
from ptycho_cli.inference.results import result_of, scores, write_result
from ptycho_cli.physics import polish
from ptycho_cli.physics.frame_source import GroupFrameSource, ScanFrameSource
from ptycho_cli.physics.frame_tensors import FrameBatch
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.polish import polish_object
from ptycho_cli.physics.probe import shift_waves


@pytest.fixture(scope="module")
def scan() -> Scan:
    return simulate(n_frames=120, n_pixels=32, photons=1e6, seed=4)


def test_portions_add_up_to_the_whole_scan_at_once(scan: Scan, objective: Objective) -> None:
    """What inference does portion by portion is what training does on one canvas."""
    exposure, probe = scan_frames(scan, dtype=torch.float32), objective.probe.detach()
    order = torch.randperm(scan.n_frames, generator=torch.Generator().manual_seed(0))
    whole = exposure.select(order)
    frames = FrameBatch(
        whole.amplitude[None],
        whole.corners[None],
        shift_waves(probe, whole.shifts)[None],
    )
    with torch.inference_mode():
        at_once = objective.network(
            GroupFrameSource(frames, exposure.shape, probe.abs().square().max()[None, None, None])
        )
        in_portions = objective.network(ScanFrameSource(whole, probe, frames_at_once=7))

    torch.testing.assert_close(in_portions, at_once, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(run_network(objective.network, exposure, probe), at_once[0], rtol=1e-3, atol=1e-4)


def test_polish_brings_the_object_nearer_to_the_truth(scan: Scan, objective: Objective) -> None:
    update = ObjectUpdate(auto_alpha(scan))
    plain = scores(reconstruct(objective, scan, update=update, physics_only=True), scan)
    polished = scores(reconstruct(objective, scan, update=update, physics_only=True, polish=15), scan)

    assert polished["complex_snr_db"] > plain["complex_snr_db"] + 3
    assert polished["r_factor"] < plain["r_factor"]
    assert polished["complex_snr_db"] > polished["flat_object"]["complex_snr_db"] + 10


def test_a_run_reconstructs_a_scan_of_another_dose(scan: Scan, objective: Objective) -> None:
    dimmer = simulate(n_frames=120, n_pixels=32, photons=2.5e5, seed=4)

    update = ObjectUpdate(auto_alpha(dimmer))
    found = scores(reconstruct(objective, dimmer, update=update, physics_only=True, polish=10), dimmer)

    assert found["complex_snr_db"] > found["flat_object"]["complex_snr_db"] + 8


def test_frames_of_another_size_are_refused(objective: Objective) -> None:
    other, update = simulate(n_frames=20, n_pixels=16, seed=1), ObjectUpdate(0.1)
    with pytest.raises(CheckpointError, match="frames of 16 px, but the run was trained on frames of 32 px"):
        reconstruct(objective, other, update=update)


def test_the_written_file_explains_the_data_as_the_result_says(
    scan: Scan, objective: Objective, tmp_path: Path
) -> None:
    result = reconstruct(objective, scan, update=ObjectUpdate(0.1), physics_only=True, polish=3)

    picture, *_ = write_result(result, tmp_path / "o.h5", {"config": {}}, title="small")

    back = read_reconstruction(tmp_path / "o.h5")
    again = misfit(back, scan)
    assert again.r_factor == pytest.approx(result.r_factor, rel=1e-4)
    assert again.deviance == pytest.approx(result.deviance, rel=1e-3)
    assert picture.stat().st_size > 10_000
    assert back.frame_residual is not None
    assert back.frame_residual.shape == (scan.n_frames,)
    assert np.isfinite(back.frame_residual).all()


def test_a_polish_is_fast_and_ends_calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fast to its end it stays noisy; calm from its start it is far from the truth; without momentum it is behind."""
    noisy = simulate(n_frames=120, n_pixels=32, photons=1e5, seed=4)
    assert noisy.probe is not None
    probe, alpha = torch.from_numpy(noisy.probe), auto_alpha(noisy)
    exposure = scan_frames(noisy, dtype=torch.float32)
    start = torch.ones(exposure.shape, dtype=torch.complex64)

    def judge(**options: Any) -> tuple[float, float]:
        result = result_of(
            exposure,
            noisy,
            polish_object(exposure, start, probe, iterations=20, update=ObjectUpdate(alpha), **options),
            probe,
        )
        return result.deviance, float(scores(result, noisy)["complex_snr_db"])

    reports: list[tuple[int, int]] = []
    both = judge(progress=lambda *now: reports.append(now))
    monkeypatch.setattr(polish, "MOMENTUM", 0.0)
    still = judge()
    monkeypatch.setattr(polish, "ALPHA", (1.0, 1.0))
    fast = judge()
    monkeypatch.setattr(polish, "ALPHA", (32.0, 32.0))
    calm = judge()

    assert both[0] < min(fast[0], calm[0]) - 0.01
    assert both[1] > max(fast[1], calm[1]) - 0.5
    assert both[1] > still[1] + 0.5
    assert reports == [(done, 20) for done in range(1, 21)]
