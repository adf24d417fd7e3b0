"""The verdict: when held-out frames count as explained, what is listed, and when other geometries are tried."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from ptycho_cli.calibration import verdict as module
from ptycho_cli.calibration.verdict import LookedAgain, Verdict, unexplained, verdict
from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.misfit import HeldOutScore, Residuals
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulation import simulate
from ptycho_cli.render.verdict_lines import verdict_lines, verdict_title

GOOD = HeldOutScore(deviance=0.5, noise=0.49, mean_pattern=20.0)
BAD = HeldOutScore(deviance=15.0, noise=0.49, mean_pattern=20.0)
NOISE_FINDING = Finding("negative-noise", "warning", "Readout noise.", setting="data.negative=refuse")
RASTER = Finding("raster-regular", "warning", "A regular raster.")
FIXED = Finding("counts-gain", "fixed", "All counts were divided by 7.", setting="data.counts_per_photon=1")


@pytest.fixture(scope="module")
def scan() -> Scan:
    return simulate(n_frames=36, n_pixels=16, photons=1e6, seed=1)


@pytest.fixture
def nothing_tried(monkeypatch: pytest.MonkeyPatch) -> list[Scan]:
    """Trials that find nothing; the list gets the scan of each."""
    asked: list[Scan] = []
    monkeypatch.setattr(module, "geometry_findings", lambda scan, *_, **__: asked.append(scan) or [])
    return asked


def left(scan: Scan, **times: float) -> Residuals:
    """Photon noise in all frames and pixels, but so many times as much in some: ``f3=9`` for frame 3."""
    frames, pixels = np.full(scan.n_frames, 0.5), np.full(scan.mask.shape, 0.5)
    for name, factor in times.items():
        (frames if name[0] == "f" else pixels.reshape(-1))[int(name[1:])] *= factor
    return Residuals(frames, np.full(scan.n_frames, 0.5), pixels, np.full(scan.mask.shape, 0.5))


def judged(scan: Scan, score: HeldOutScore = GOOD, *findings: Finding, **times: float) -> Verdict:
    return verdict(score, left(scan, **times), replace(scan, findings=findings), scan.probe)


@pytest.mark.parametrize(
    ("score", "bad"),
    [
        (GOOD, False),
        (BAD, True),
        (HeldOutScore(1.7, 1.0, 6.2), False),  # the measured star: 1.7 times noise, and most is explained
        (HeldOutScore(0.95, 1.0, 0.9), False),  # nothing but noise: nothing to explain
        (HeldOutScore(8.0, 0.5, 1e4), False),  # many photons show small errors of the model
        (HeldOutScore(2.1, 1.0, 3.2), True),
    ],
)
def test_frames_are_unexplained_if_much_of_what_the_mean_pattern_leaves_is_left(score: HeldOutScore, bad: bool) -> None:
    assert unexplained(score) is bad


def test_other_geometries_are_tried_only_where_held_out_frames_leave_a_doubt(
    scan: Scan, nothing_tried: list[Scan]
) -> None:
    assert judged(scan).explained
    assert not nothing_tried
    assert not judged(scan, BAD).explained
    assert judged(scan, HeldOutScore(0.95, 1.0, 0.9)).explained  # at low dose a wrong axis hardly shows
    assert judged(scan, HeldOutScore(0.2, 0.2, 0.6)).explained
    assert len(nothing_tried) == 3


def test_a_geometry_that_was_tried_is_not_tried_again_and_comes_first(scan: Scan, nothing_tried: list[Scan]) -> None:
    axes = Finding("positions-axes", "warning", "Flip y.", setting="data.flip_positions=y")
    found = judged(scan, BAD, FIXED, NOISE_FINDING, axes)

    assert not nothing_tried
    assert found.as_json()["reasons"] == ["positions-axes", "negative-noise", "counts-gain"]


def test_a_standing_fault_of_the_counts_is_a_reason_and_a_regular_raster_is_not(scan: Scan) -> None:
    assert not judged(scan, GOOD, NOISE_FINDING).explained
    assert judged(scan, GOOD, RASTER, FIXED).explained
    assert judged(scan, GOOD, RASTER, FIXED).reasons == ()


def test_frames_that_stand_out_are_named_by_their_numbers_in_the_file(scan: Scan) -> None:
    part = replace(scan.select(np.arange(4, 36)), stored_frames=np.arange(4, 36))
    found = judged(part, GOOD, f3=9.0, p17=400.0)

    assert found.explained
    assert (found.worst_frames, found.worst_pixels) == ((7,), ((1, 1),))
    assert judged(part).worst_frames == ()
    lines = "\n".join(verdict_lines(found.as_json()))
    assert "frames 7; detector pixels (y, x) (1, 1): far above the others." in lines
    assert "--set data.exclude_frames=7 leaves the frames out" in lines


def test_single_frames_are_a_note_or_the_reason_where_the_others_are_explained_without_them(
    scan: Scan, nothing_tried: list[Scan]
) -> None:
    single = Finding("frames-outlier", "note", "Frame 3 fits nowhere.", setting="data.exclude_frames=3", frames=(3,))
    worst = left(scan, f3=9.0)

    good = verdict(GOOD, worst, scan, scan.probe, again=LookedAgain((single,), GOOD)).as_json()
    assert (good["explained"], good["reasons"], good["worst_frames"]) == (True, [], [3])
    assert verdict_lines(good)[1:] == [
        "note      Frame 3 fits nowhere.", "          frames-outlier: --set data.exclude_frames=3",
    ]  # fmt: skip
    bad = verdict(BAD, worst, scan, scan.probe, again=LookedAgain((single,), GOOD)).as_json()
    assert (bad["explained"], bad["reasons"]) == (False, ["frames-outlier"])
    assert bad["findings"][0]["message"].endswith(
        "Without them the model explains the frames (1.02 times photon noise)."
    )
    assert not nothing_tried
    assert verdict(BAD, worst, scan, scan.probe, again=LookedAgain((single,), BAD)).as_json()["findings"] == []


def test_a_verdict_is_one_line_or_a_warning_with_reasons_and_settings(scan: Scan, nothing_tried: list[Scan]) -> None:
    assert verdict_lines(judged(scan).as_json()) == ["The model explains the frames (1.02 times photon noise)."]
    lines = verdict_lines(judged(scan, BAD, NOISE_FINDING, f3=9.0).as_json())

    assert lines[0] == "warning   The model does not explain the frames: 30.6 times photon noise."
    assert lines[1:3] == ["likely    Readout noise.", "          negative-noise: --set data.negative=refuse"]
    assert lines[3].startswith("worst     frames 3, ")
    assert all(len(line) <= 60 for line in verdict_lines(judged(scan, BAD).as_json(), width=60))
    assert verdict_title(judged(scan, BAD, NOISE_FINDING).as_json()) == (
        "NOT EXPLAINED, 30.6 times photon noise (negative-noise)"
    )


def test_a_probe_that_a_run_kept_is_not_tried_beside_the_file_s(
    scan: Scan, nothing_tried: list[Scan], monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[object] = []
    monkeypatch.setattr(module, "geometry_findings", lambda scan, *, probe, **_: given.append(probe) or [])
    assert scan.probe is not None
    for probe in (3 * scan.probe, np.roll(scan.probe, 1, axis=-1)):
        verdict(BAD, left(scan), scan, probe)

    assert given[0] is None
    assert given[1] is not None
