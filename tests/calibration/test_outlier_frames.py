"""Frames that a reconstruction does not explain: found among good ones, and looked at once more."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.outlier_frames import look_again, standing_out
from ptycho_cli.calibration.scan_canvas import scan_frames
from ptycho_cli.data.misfit import Residuals, residuals
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.inference.results import result_of
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.pie import run_pie

ROWS = np.array([12, 30])


@pytest.fixture(scope="module", params=[1e4, 1e6])
def scan(request: pytest.FixtureRequest) -> Scan:
    return simulate(n_frames=49, n_pixels=32, photons=request.param, object_kind="siemens", seed=4)


def reconstructed(scan: Scan) -> tuple[Reconstruction, Residuals]:
    frames = scan_frames(scan, dtype=torch.float32)
    assert scan.probe is not None
    probe = torch.from_numpy(scan.probe)
    obj, _ = run_pie(frames, frames.vacuum(), probe, update=ObjectUpdate(auto_alpha(scan)), iterations=30, momentum=0.6)
    result = result_of(frames, scan, obj, probe).reconstruction
    return result, residuals(result, scan)


def explainable(scan: Scan, left: Residuals) -> float:
    """Deviance of the mean pattern beyond noise, at many photons about that of the amplitudes times two."""
    amplitude = np.sqrt(scan.counts)
    return float(2 * np.var(amplitude, axis=0).mean() - left.frames_noise.mean())


def found_in(scan: Scan) -> tuple[NDArray[np.int64], dict[str, tuple[int, ...]], list[str | None]]:
    result, left = reconstructed(scan)
    rows = standing_out(left, explainable(scan, left), scan.counts.sum((-2, -1)))
    findings = look_again(rows, left, explainable(scan, left), result, scan)
    assert all(finding.severity == "note" for finding in findings)
    return rows, {finding.id: finding.frames for finding in findings}, [finding.setting for finding in findings]


def test_no_frame_of_a_good_scan_stands_out(scan: Scan) -> None:
    assert [len(found) for found in found_in(scan)] == [0, 0, 0]


def test_frames_at_a_wrong_position_are_explained_there_and_named_by_their_numbers_in_the_file(scan: Scan) -> None:
    moved = scan.positions_px.copy()
    moved[ROWS] += [[3.0, -2.0], [-1.0, 4.0]]
    part = replace(scan, positions_px=moved, stored_frames=np.arange(49) + 100)

    rows, frames, settings = found_in(part)

    assert set(ROWS) <= set(rows)
    assert frames == {"positions-outlier": (112, 130)}
    assert settings == ["data.exclude_frames=112,130"]


def test_a_brighter_frame_is_explained_by_its_intensity_and_a_foreign_one_by_nothing(scan: Scan) -> None:
    bright, foreign = scan.counts.copy(), scan.counts.copy()
    bright[ROWS] *= 3
    foreign[ROWS] = np.rot90(foreign[ROWS], axes=(-2, -1))

    assert found_in(replace(scan, counts=bright))[1:] == (
        {"frames-outlier": (12, 30)}, ["physics.refine_intensity=always"],
    )  # fmt: skip
    assert found_in(replace(scan, counts=foreign))[1:] == (
        {"frames-outlier": (12, 30)}, ["data.exclude_frames=12,30"],
    )  # fmt: skip


def test_a_tenth_of_the_frames_are_looked_at_the_worst_of_them() -> None:
    frames = np.full(50, 0.5)
    frames[10:20] = np.arange(10, 20)
    left = Residuals(frames, np.full(50, 0.5), np.zeros((4, 4)), np.zeros((4, 4)))

    np.testing.assert_array_equal(standing_out(left, 20.0, np.ones(50)), np.arange(15, 20))
    assert not len(standing_out(left, 200.0, np.ones(50)))
