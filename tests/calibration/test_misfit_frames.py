"""Frames that fit nowhere are found before anything else, and left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
import pytest
import torch

from ptycho_cli.calibration import misfit_frames
from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.misfit_frames import without_misfits
from ptycho_cli.calibration.pipeline import calibrate
from ptycho_cli.data.read_as import ReadAs
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.errors import DataError
from ptycho_cli.physics.object_update import ObjectUpdate

ROWS = [12, 30, 31]


@pytest.fixture(scope="module", params=[("siemens", 1e4), ("texture", 1e5), ("weak", 1e6), ("cells", 1e7)])
def scan(request: pytest.FixtureRequest) -> Scan:
    kind, photons = request.param
    return simulate(n_frames=64, n_pixels=32, photons=photons, object_kind=kind, seed=4)


def with_foreign(scan: Scan) -> Scan:
    """Three frames are mirrored, as no place of this object makes them."""
    counts = scan.counts.copy()
    counts[ROWS] = counts[ROWS, :, ::-1]
    return replace(scan, counts=counts)


def asked(scan: Scan, treatment: str, reject: Literal["auto", "never"] = "auto") -> Scan:
    options = ReadOptions(reject_bad_frames=reject, findings=(("frames-outlier", treatment),) if treatment else ())  # type: ignore[arg-type]
    return replace(scan, read_as=ReadAs(options=options))


def test_all_frames_of_a_good_scan_fit(scan: Scan) -> None:
    assert without_misfits(scan) is scan


def test_foreign_frames_are_left_out_and_told_by_their_numbers_in_the_file(scan: Scan) -> None:
    found = without_misfits(replace(with_foreign(scan), stored_frames=np.arange(64) + 100))

    (finding,) = found.findings
    assert (finding.id, finding.severity, finding.setting) == (
        "frames-outlier", "fixed", "data.reject_bad_frames=never",
    )  # fmt: skip
    assert finding.frames == (112, 130, 131)
    assert "Frames 112, 130, 131 fit nowhere within 8 px" in finding.message
    assert found.n_frames == 61
    assert found.left_out is not None
    assert found.left_out.frames.tolist() == [112, 130, 131]
    np.testing.assert_array_equal(found.left_out.positions_px, scan.positions_px[ROWS])


def test_two_exposures_in_one_frame_are_left_out() -> None:
    scan = simulate(n_frames=64, n_pixels=32, photons=1e6, object_kind="siemens", seed=4)
    counts = scan.counts.copy()
    counts[20:24] = scan.counts[20:24] + scan.counts[21:25]

    assert without_misfits(replace(scan, counts=counts)).findings[0].frames == (20, 21, 22, 23)


def test_the_user_may_keep_ignore_or_refuse_them() -> None:
    scan = with_foreign(simulate(n_frames=64, n_pixels=32, photons=1e5, object_kind="siemens", seed=4))

    kept = without_misfits(asked(scan, "", reject="never"))
    assert (kept.n_frames, kept.findings[0].severity) == (64, "warning")
    assert without_misfits(kept) is kept, "as with a probe that was refined since"
    noted = without_misfits(asked(scan, "note"))
    assert (noted.n_frames, noted.findings[0].severity) == (64, "note")
    ignored = without_misfits(asked(scan, "ignore"))
    assert (ignored.n_frames, ignored.findings) == (64, ())
    with pytest.raises(DataError, match="Frames 12, 30, 31 fit nowhere"):
        without_misfits(asked(scan, "error"))


def test_scans_that_share_a_probe_are_each_judged_at_their_own_photons() -> None:
    first, weak = (
        replace(simulate(n_frames=64, n_pixels=32, photons=photons, object_kind="siemens", seed=4), probe=None)
        for photons in (1e6, 1e4)
    )
    options = CalibrationOptions(ObjectUpdate(auto_alpha(first)), 0, torch.float32, probe_modes=1)

    found = calibrate((first, with_foreign(weak)), lambda n: np.arange(n) % 20 == 0, options)

    assert found.scans[0].left_out is None
    assert found.scans[1].left_out is not None
    assert found.scans[1].left_out.frames.tolist() == ROWS


def test_few_frames_and_scans_without_a_probe_are_left_as_they_are() -> None:
    scan = with_foreign(simulate(n_frames=64, n_pixels=32, photons=1e5, object_kind="siemens", seed=4))

    assert without_misfits(replace(scan, probe=None)).n_frames == 64
    assert without_misfits(scan.select(np.arange(31))).n_frames == 31


def test_no_single_frame_is_blamed_where_the_probe_explains_none() -> None:
    scan = with_foreign(simulate(n_frames=64, n_pixels=32, photons=1e5, object_kind="siemens", seed=4))
    assert scan.probe is not None
    noise = np.random.default_rng(0).normal(size=(2, *scan.probe.shape))

    assert without_misfits(replace(scan, probe=(noise[0] + 1j * noise[1]).astype(np.complex64))).n_frames == 64


def test_of_a_scan_that_lost_frames_in_reading_both_are_kept_in_mind() -> None:
    scan = simulate(n_frames=16, n_pixels=16, seed=1).without(np.array([3]))

    found = scan.without(np.array([1, 5]))

    assert found.left_out is not None
    assert found.left_out.frames.tolist() == [1, 3, 6]
    assert found.frame_numbers.tolist() == [0, 2, 4, 5, *range(7, 16)]
    assert found.leaving_out([7, 99]).frame_numbers.tolist() == [0, 2, 4, 5, *range(8, 16)]
    assert found.leaving_out([1]) is found


@pytest.mark.parametrize("delay", [-1, 1])
def test_no_frame_is_blamed_for_positions_that_are_one_behind(delay: int) -> None:
    """Only the frames at the ends of rows are at places where they fit worse than others."""
    scan = simulate(n_frames=100, n_pixels=32, photons=1e5, object_kind="texture", seed=7)
    rows = np.arange(1, 99)

    behind = replace(scan.select(rows), positions_px=scan.positions_px[rows + delay], stored_frames=None)

    assert without_misfits(behind).n_frames == 98


def test_frames_that_fit_only_at_another_position_are_left_out_unless_positions_are_refined() -> None:
    """Those around them, which they spoil, are kept."""
    scan = simulate(n_frames=64, n_pixels=32, photons=1e6, object_kind="siemens", seed=4)
    moved = scan.positions_px.copy()
    moved[[1, 27]] += [[-3.0, 2.0], [4.0, 1.0]]
    scan = replace(scan, positions_px=moved)

    found = without_misfits(scan)

    (finding,) = found.findings
    assert (finding.id, finding.severity, finding.frames) == ("positions-outlier", "fixed", (1, 27))
    assert "Frames 1, 27 fit only 3.6 to 4.1 px away from the stored position" in finding.message
    assert found.left_out is not None
    assert found.left_out.frames.tolist() == [1, 27]
    assert without_misfits(scan, keep_moved=True) is scan


def test_a_frame_that_stands_alone_cannot_be_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    scan = simulate(n_frames=64, n_pixels=32, photons=1e5, object_kind="siemens", seed=4)
    away = scan.positions_px + np.where(np.arange(64)[:, None] == 12, 500.0, 0.0)
    monkeypatch.setattr(misfit_frames, "standing_out", lambda *arguments: np.array([12]))

    assert without_misfits(replace(scan, positions_px=away)).n_frames == 64
