"""The probe of another scan: everything is found with the probe that reconstructs, and a run's that fails is told."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ptycho_cli.assembly.objective import Objective
from ptycho_cli.assembly.polish_rule import polish_rule
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.schema import Config
from ptycho_cli.config.sources import library_layer
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulated_imperfections import Imperfections
from ptycho_cli.data.simulation import MeasuredProbe, simulate
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.inference.inference_run import infer
from ptycho_cli.inference.results import scores
from ptycho_cli.inference.scan_calibration import CalibratedScan, calibrate_for_run


def settings(**changes: object) -> Config:
    return resolve([library_layer({"polish": 20, **changes})], load_plugins(()).catalogue(), command="infer").config


@pytest.fixture(scope="module")
def scan() -> Scan:
    """The scan of the run."""
    return simulate(n_frames=120, n_pixels=32, photons=1e6, seed=4)


@pytest.fixture(scope="module")
def other(scan: Scan) -> Scan:
    """A scan with another probe, under a beam that is not steady."""
    assert scan.probe is not None
    y, x = np.mgrid[-16:16, -16:16] / 16
    moved = np.roll(np.conj(scan.probe) * np.exp(6j * (y**2 - 0.5 * x**2 + y * x)), 3, axis=-1)
    return simulate(
        n_frames=120, n_pixels=32, seed=5, step_px=3.0, object_kind="texture", measured_probe=MeasuredProbe(moved),
        imperfections=Imperfections(intensity_jitter=0.1),
    )  # fmt: skip


def ready(objective: Objective, scan: Scan, **changes: object) -> CalibratedScan:
    return calibrate_for_run(objective, settings(**changes), scan, None)


def snr(found: CalibratedScan, **changes: object) -> float:
    result = infer(found.objective, settings(**changes), found.scan).result
    return float(scores(result, found.scan)["complex_snr_db"])


def test_intensities_are_found_with_the_probe_that_reconstructs(objective: Objective, other: Scan) -> None:
    found = ready(objective, other, probe="scan")

    assert found.scan.intensities is not None
    assert np.log(found.scan.intensities).std() == pytest.approx(0.1, rel=0.2)
    assert snr(found, probe="scan") > 25


def test_a_run_probe_that_does_not_explain_a_scan_is_reported(objective: Objective, scan: Scan, other: Scan) -> None:
    (warning,) = ready(objective, other).warnings

    assert warning.startswith("The run's probe does not explain this scan")
    assert "--probe scan" in warning
    assert ready(objective, replace(other, probe=None)).warnings[0].endswith("--probe scan (inference.probe).")


def test_nothing_is_searched_for_with_a_probe_that_does_not_explain_the_scan(objective: Objective, other: Scan) -> None:
    """It would explain the errors of the probe, and cost most of the time. What is asked for is done."""
    found = ready(objective, other)

    assert (found.scan.intensities, found.scan.background, found.scan.geometry_tried) == (None, 0.0, True)
    assert "not searched for" in found.notes[0]
    rule = polish_rule(objective, settings(polish="auto"), other, probe_fits=found.probe_fits)
    for polish in (rule.choose(), rule.choose(8, 2.0)):  # the run chose a prior
        assert (polish.iterations, polish.tv_weight) == (0, 0.0)
        assert polish.note is not None
        assert "probe" in polish.note
    asked = ready(objective, other, **{"physics.refine_intensity": "always"})
    assert asked.scan.intensities is not None


def test_a_run_probe_that_explains_a_scan_is_not_reported(objective: Objective) -> None:
    for photons in (1e4, 1e6):
        same = simulate(n_frames=120, n_pixels=32, photons=photons, seed=6, object_kind="texture")
        assert ready(objective, same).warnings == ()
        assert ready(objective, replace(same, probe=None)).warnings == ()


def test_a_scan_without_a_probe_gets_one_found_by_physics(objective: Objective, other: Scan) -> None:
    found = ready(objective, replace(other, probe=None), probe="scan")

    assert "A probe made from the mean pattern" in found.notes[0]
    assert snr(found, probe="scan") > snr(ready(objective, other)) + 3


def test_the_time_includes_the_calibration(objective: Objective, other: Scan) -> None:
    found = ready(objective, other)

    assert found.cpu_s > 0
    assert found.wall_s > 0
