"""A wrong geometry is found by trying, named with the setting that corrects it, and good scans are left alone."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ptycho_cli.calibration.auto_rules import auto_alpha
from ptycho_cli.calibration.calibration_options import CalibrationOptions
from ptycho_cli.calibration.frame_order import ALIKE, RELIABLE, neighbour_likeness
from ptycho_cli.calibration.geometry_hypotheses import as_read, other_order
from ptycho_cli.calibration.geometry_result import GeometryTrials
from ptycho_cli.calibration.geometry_trials import geometry_findings, try_geometry
from ptycho_cli.calibration.pipeline import calibrate
from ptycho_cli.calibration.position_trial import with_moved_positions
from ptycho_cli.calibration.scan_trials import ScanTrials
from ptycho_cli.cli.app import main
from ptycho_cli.data.electron_microscope import Microscope
from ptycho_cli.data.findings.finding import Finding
from ptycho_cli.data.position_sequence import in_sequence
from ptycho_cli.data.position_transform import PositionTransform
from ptycho_cli.data.read_as import ReadAs
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulated_imperfections import Imperfections
from ptycho_cli.data.simulation import simulate
from ptycho_cli.physics.modes import with_modes
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.physics.probe import largest_defocus, refocused

ANGLE = np.deg2rad(20.0)
TURN = np.array([[np.cos(ANGLE), -np.sin(ANGLE)], [np.sin(ANGLE), np.cos(ANGLE)]])
LONG = pytest.mark.long
SHORT = ("positions-axes flip", "positions-index delay")  # tried in every run of the tests
FAULTS = {
    "positions-axes flip": lambda c, p: (c, p * [-1, 1]),
    "positions-axes quarter turn": lambda c, p: (c, p[:, ::-1] * [1, -1]),
    "positions-axes frames": lambda c, p: (np.rot90(c, axes=(1, 2)), p),
    "positions-rotation": lambda c, p: (c, p @ TURN.T),
    "positions-scale": lambda c, p: (c, p * 1.1),
    "positions-affine": lambda c, p: (c, PositionTransform(asymmetry=-0.15, shear_deg=3)(p)),
    "positions-index delay": lambda c, p: (c[1:], p[:-1]),
    "positions-index reverse": lambda c, p: (c, p[::-1]),
    "positions-index snake": lambda c, p: (c, in_sequence(p, "snake")),
}


def stored(path: Path, scan: Scan, counts: np.ndarray, positions: np.ndarray) -> Path:
    np.savez(path, diffraction=counts, probe=scan.probe, scan_yx_px=positions)
    return path


@pytest.fixture(scope="module")
def good() -> Scan:
    return simulate(n_frames=81, n_pixels=32, photons=1e6, seed=3)


def last_trials(scan: Scan, *, move_frames: bool = False) -> list[Finding]:
    """What the last trials find, where no other geometry explained the frames."""
    trials = ScanTrials(scan)
    found = with_moved_positions(GeometryTrials(scan, ()), trials, trials.first_probes(), move_frames=move_frames)
    return found.findings


@pytest.mark.parametrize("trials", [last_trials, pytest.param(geometry_findings, marks=LONG)])
def test_positions_that_are_wrong_each_by_its_own_are_named(trials: Callable[..., list[Finding]], good: Scan) -> None:
    """Not by a tenth of a pixel, which leaves no more than noise does, nor where they will be refined anyway."""
    jitter = np.random.default_rng(0).normal(0, 1, good.positions_px.shape)
    wrong = replace(good, positions_px=good.positions_px + jitter)

    (found,) = trials(wrong, move_frames=True)

    assert (found.id, found.severity, found.setting) == ("positions-error", "warning", "physics.refine_positions=true")
    assert found.evidence["deviance_cured"] < 1.3 * found.evidence["noise"] < 0.7 * found.evidence["deviance"]
    assert trials(wrong, move_frames=False) == []
    assert trials(replace(good, positions_px=good.positions_px + 0.03 * jitter), move_frames=True) == []


def test_a_stretch_along_one_axis_and_a_shear_are_found_together(good: Scan) -> None:
    """The settings undo them to a hundredth and a degree, which is 0.3 pixels at the edge of the view."""
    fault = PositionTransform(asymmetry=0.12, shear_deg=-4)
    wrong = replace(good, positions_px=fault(good.positions_px))

    (finding,) = last_trials(wrong)

    assert (finding.id, finding.severity) == ("positions-affine", "warning")
    values = {word.split("=")[0].removeprefix("data."): float(word.split("=")[1]) for word in finding.setting.split()}
    cure = PositionTransform.from_matrix(np.linalg.inv(fault.matrix))
    assert values.get("position_scale", 1) == pytest.approx(cure.scale, abs=0.01)
    assert values["scan_asymmetry"] == pytest.approx(cure.asymmetry, abs=0.015)
    assert values.get("scan_rotation_deg", 0) == pytest.approx(cure.rotation_deg, abs=1)
    assert values["scan_shear_deg"] == pytest.approx(cure.shear_deg, abs=1)


def test_no_stretch_is_looked_for_across_a_line(good: Scan) -> None:
    """Positions on a line have none; here they do not explain the frames, whatever is tried."""
    assert last_trials(replace(good, positions_px=good.positions_px * [0.0, 1.0])) == []


@pytest.mark.long
def test_a_probe_that_was_refined_for_stretched_positions_does_not_hide_them(good: Scan) -> None:
    wrong = replace(good, positions_px=PositionTransform(asymmetry=0.1, shear_deg=2)(good.positions_px))
    trials = ScanTrials(wrong)
    refined = trials.refined_probe(as_read(wrong), trials.first_probes()[0])

    found = geometry_findings(wrong, probe=refined, move_frames=False)

    assert [finding.id for finding in found] == ["positions-affine"]


def test_a_frame_that_was_dropped_midway_is_found_to_the_frame(good: Scan) -> None:
    """The setting gives every frame its position again."""
    wrong = replace(good.select(np.delete(np.arange(81), 33)), positions_px=good.positions_px[:-1], stored_frames=None)

    (finding,) = last_trials(wrong)

    assert finding.id == "positions-index"
    assert "each frame from 33 on at the position 1 later" in finding.message
    assert finding.setting == "data.position_delay=1 data.position_delay_from=33"


@pytest.mark.parametrize(("first", "are_tried"), [(0, True), (33, False)])
def test_no_other_delay_is_tried_beside_one_from_a_certain_frame_on(good: Scan, first: int, are_tried: bool) -> None:
    """No setting says two delays."""
    options = ReadOptions(position_delay=1, position_delay_from=first)

    assert bool(other_order(replace(good, read_as=replace(good.read_as, options=options)))) == are_tried


@pytest.mark.parametrize("fault", [fault if fault in SHORT else pytest.param(fault, marks=LONG) for fault in FAULTS])
def test_data_check_names_a_wrong_geometry_and_its_setting_corrects_it(
    fault: str, good: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path / "scan.npz", good, *FAULTS[fault](good.counts, good.positions_px))

    assert main(["data", "check", str(path), "--json"]) == 0
    (finding,) = [
        item for item in json.loads(capsys.readouterr().out)["findings"] if item["id"].startswith("positions-")
    ]

    assert finding["id"] == fault.split()[0]
    assert finding["severity"] == "warning"
    words = [word for setting in finding["setting"].split() for word in ("--set", setting)]
    assert main(["data", "check", str(path), "--json", *words]) == 0
    after = [item["id"] for item in json.loads(capsys.readouterr().out)["findings"]]
    assert not [item for item in after if item.startswith("positions-")]


@pytest.mark.parametrize("fault", ["positions-axes flip", pytest.param("positions-rotation", marks=LONG)])
def test_a_wrong_geometry_is_found_without_a_probe_and_twins_score_alike(fault: str, good: Scan) -> None:
    """Frames with both axes of the positions reversed are those of another object, with another probe."""
    counts, positions = FAULTS[fault](good.counts, good.positions_px)

    trials = try_geometry(replace(good, counts=counts, positions_px=np.ascontiguousarray(positions), probe=None))

    assert trials is not None
    assert [finding.id for finding in trials.findings] == [fault.split()[0]]
    scores = {row["name"]: row["deviance"] for row in trials.axes_as_json()}
    assert scores["as read"] == scores["both reversed"]
    assert scores["x reversed"] == scores["y reversed"]


@pytest.mark.parametrize("photons", [pytest.param(1e4, marks=LONG), 1e6])
@pytest.mark.parametrize("kind", ["siemens", *(pytest.param(kind, marks=LONG) for kind in ("texture", "weak"))])
def test_a_good_scan_is_left_alone(kind: str, photons: float) -> None:
    scan = simulate(n_frames=100, n_pixels=32, photons=photons, object_kind=kind, seed=4)

    assert geometry_findings(scan) == []


@LONG
@pytest.mark.parametrize(("kind", "fault"), [("texture", "positions-scale"), ("weak", "positions-axes flip")])
def test_few_photons_suffice(kind: str, fault: str) -> None:
    """1e4 photons in a frame; every frame judges once."""
    scan = simulate(n_frames=100, n_pixels=32, photons=1e4, object_kind=kind, seed=5)
    counts, positions = FAULTS[fault](scan.counts, scan.positions_px)

    found = geometry_findings(replace(scan, counts=counts, positions_px=positions))

    assert [finding.id for finding in found] == [fault.split()[0]]


@pytest.mark.parametrize("fault", [pytest.param("good", marks=LONG), "positions-axes flip"])
def test_a_background_and_an_uneven_beam_hide_no_wrong_axis_of_a_weak_object(fault: str) -> None:
    uneven = Imperfections(intensity_jitter=0.1, background=0.3)
    scan = simulate(n_frames=81, n_pixels=32, photons=1e5, object_kind="weak", seed=6, imperfections=uneven)
    counts, positions = FAULTS.get(fault, lambda c, p: (c, p))(scan.counts, scan.positions_px)

    found = geometry_findings(replace(scan, counts=counts, positions_px=positions))

    assert [finding.id for finding in found] == [fault.split()[0]] * (fault != "good")


def test_a_background_is_tried_only_where_dark_pixels_vary_by_photon_noise_alone() -> None:
    """Scattered light varies with the position, a constant background does not."""
    dark = [
        ScanTrials(
            simulate(n_frames=81, n_pixels=32, photons=photons, seed=6, imperfections=Imperfections(background=b))
        ).dark
        for photons, b in ((1e6, 0.0), (1e5, 0.0), (1e4, 0.3))
    ]

    assert dark == [0.0, 0.0, pytest.approx(0.3, abs=0.1)]


@LONG
def test_two_faults_at_once_are_named_with_the_settings_of_both(good: Scan) -> None:
    swapped = good.positions_px[:, ::-1]

    found = geometry_findings(replace(good, positions_px=swapped @ TURN.T))

    assert [finding.id for finding in found] == ["positions-axes", "positions-rotation"]
    settings = str(found[0].setting).split()
    assert settings[0] == "data.position_order=xy"
    assert float(settings[1].removeprefix("data.scan_rotation_deg=")) == pytest.approx(20, abs=1)
    assert found[1].setting == found[0].setting


def test_frames_in_another_order_than_the_positions_are_named_without_a_setting(good: Scan) -> None:
    order = np.random.default_rng(8).permutation(good.n_frames)

    (found,) = geometry_findings(replace(good, positions_px=good.positions_px[order]))

    assert (found.id, found.severity, found.setting) == ("positions-index", "warning", None)
    assert "in another order than the positions" in found.message


@pytest.mark.parametrize("kind", ["siemens", "texture", "weak"])
def test_frames_of_neighbours_are_alike_in_every_orientation_and_not_after_a_shuffle(kind: str) -> None:
    scan = simulate(n_frames=100, n_pixels=32, photons=1e5, object_kind=kind, seed=7)
    order = np.random.default_rng(8).permutation(100)

    found = neighbour_likeness(replace(scan, positions_px=scan.positions_px @ (2 * TURN.T)))
    assert found.reliability > RELIABLE
    assert found.significance > 1.5 * ALIKE
    assert neighbour_likeness(replace(scan, positions_px=scan.positions_px[order])).is_shuffled
    few_photons = simulate(n_frames=100, n_pixels=32, photons=1e3, object_kind=kind, seed=7)
    assert not neighbour_likeness(replace(few_photons, positions_px=scan.positions_px[order])).is_shuffled
    assert not neighbour_likeness(replace(scan, counts=0 * scan.counts)).is_shuffled


@LONG
def test_a_rough_probe_does_not_ask_for_another_scale(good: Scan) -> None:
    """A defocus of the probe looks like a stretch as long as the probe is not refined."""
    assert good.probe is not None
    k = np.fft.fftfreq(32)
    rough = np.fft.ifft2(np.fft.fft2(good.probe) * np.exp(60j * (k[:, None] ** 2 + k**2))).astype(np.complex64)

    scan = replace(good, probe=rough)
    trials = ScanTrials(scan)

    assert geometry_findings(scan) == []
    assert geometry_findings(scan, probe=trials.refined_probe(as_read(scan), trials.first_probes()[0])) == []


@pytest.mark.parametrize("photons", [1e4, pytest.param(1e5, marks=LONG)])
@pytest.mark.parametrize("wrong", ["scale", pytest.param("focus", marks=LONG)])
@pytest.mark.parametrize("refined", [True, pytest.param(False, marks=LONG)])
def test_a_wrong_scale_is_told_from_a_probe_out_of_focus(photons: float, wrong: str, refined: bool) -> None:
    """Each takes up much of the other, and so does a probe that was refined on the frames that judge."""
    scan = simulate(n_frames=100, n_pixels=48, photons=photons, object_kind="siemens", seed=71)
    assert scan.probe is not None
    if wrong == "scale":
        scan = replace(scan, positions_px=np.ascontiguousarray(scan.positions_px / 1.17))
    else:
        probe = torch.from_numpy(scan.probe)
        scan = replace(scan, probe=refocused(probe, -0.2 * largest_defocus(probe)).numpy())
    trials = ScanTrials(scan)
    given = trials.refined_probe(as_read(scan), trials.first_probes()[0]) if refined else None

    found = geometry_findings(scan, probe=given, move_frames=False)

    scales = [float(str(finding.setting).removeprefix("data.position_scale=")) for finding in found]
    assert scales == ([pytest.approx(1.17, rel=0.02)] if wrong == "scale" else [])


def test_a_scale_that_a_focus_explains_as_well_is_told_with_both() -> None:
    """A weak object, whose frames hardly tell the two apart."""
    scan = simulate(n_frames=100, n_pixels=48, photons=1e5, object_kind="weak", seed=71)
    wrong = replace(scan, positions_px=np.ascontiguousarray(scan.positions_px / 1.17))

    (found,) = geometry_findings(wrong, move_frames=False)

    assert found.id == "positions-scale"
    assert "the file's probe at another focus explains the frames as well" in found.message


@pytest.mark.long
@pytest.mark.parametrize("factor", [0.81, 1.2])
def test_a_wrong_scale_is_found_where_the_probe_was_refined_for_it(factor: float) -> None:
    """A refined probe with modes takes up much of a wrong scale; the file's shows it."""
    scan = simulate(n_frames=100, n_pixels=32, photons=1e5, object_kind="siemens", seed=12)
    scan = replace(scan, positions_px=np.ascontiguousarray(scan.positions_px * factor))
    trials = ScanTrials(scan)
    refined = trials.refined_probe(as_read(scan), with_modes(trials.first_probes()[0], 3))

    (found,) = geometry_findings(scan, probe=refined)

    assert found.id == "positions-scale"
    assert float(found.setting.split("=")[-1]) == pytest.approx(1 / factor, rel=0.03)


@pytest.mark.parametrize("factor", [1.0, *(pytest.param(factor, marks=LONG) for factor in (0.1, 10.0))])
def test_a_step_of_an_electron_scan_in_another_unit_is_found(factor: float) -> None:
    """Angstrom taken for nanometres, or the other way round, are both possible, so that they must be tried."""
    microscope = Microscope()
    scan = simulate(
        n_frames=64, n_pixels=32, photons=1e5, object_kind="atoms", pattern="grid", step_px=1.5,
        measured_probe=replace(microscope, defocus_m=4e-9).measured_probe(32),
    )  # fmt: skip

    found = geometry_findings(replace(scan, positions_px=scan.positions_px * factor))

    expected = [] if factor == 1 else [("positions-unit", f"data.position_scale={1 / factor:g}")]
    assert [(item.id, item.setting) for item in found] == expected


def test_quick_tries_nothing(good: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = stored(tmp_path / "scan.npz", good, good.counts, good.positions_px * [-1, 1])

    assert main(["data", "check", str(path), "--quick", "--json"]) == 0

    assert json.loads(capsys.readouterr().out)["findings"] == []


@pytest.mark.parametrize("fault", ["positions-axes flip", pytest.param("positions-index delay", marks=LONG)])
def test_modes_and_intensities_are_not_called_for_to_explain_wrong_positions(fault: str, good: Scan) -> None:
    counts, positions = FAULTS[fault](good.counts, good.positions_px)
    wrong = replace(good, counts=counts, positions_px=positions)
    options = CalibrationOptions(ObjectUpdate(auto_alpha(wrong)), seed=0, dtype=torch.float32, background="auto")

    found = calibrate((wrong,), lambda n: np.arange(n) % 20 == 0, options)

    assert [finding.id for finding in found.findings] == [fault.split()[0]]
    assert found.scans[0].findings == found.findings
    assert str(found.findings[0].setting) in found.notes[-1]
    assert len(found.probe.probe) == 1
    assert found.scans[0].intensities is None
    assert found.scans[0].background == 0


@pytest.mark.parametrize("factor", [1.0, 1.14, pytest.param(0.88, marks=LONG)])
def test_a_scale_that_a_refined_probe_takes_up_is_found_by_a_calibration(factor: float) -> None:
    """Nothing else is called for: no modes, intensities or background. A good scan is not tried."""
    scan = simulate(n_frames=100, n_pixels=32, photons=1e5, object_kind="texture", seed=64)
    wrong = replace(scan, positions_px=scan.positions_px / factor)
    options = CalibrationOptions(ObjectUpdate(auto_alpha(wrong)), seed=0, dtype=torch.float32)

    found = calibrate((wrong,), lambda n: np.arange(n) % 20 == 0, options)

    assert found.scans[0].geometry_tried == (factor != 1)
    assert [finding.id for finding in found.findings] == ["positions-scale"] * (factor != 1)
    for finding in found.findings:
        assert float(str(finding.setting).split("=")[-1]) == pytest.approx(factor, rel=0.01)


def test_data_check_shows_the_eight_orientations_of_the_positions(
    good: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = stored(tmp_path / "scan.npz", good, good.counts, good.positions_px[:, ::-1] * [1, -1])

    assert main(["data", "check", str(path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["positions"]
    assert main(["data", "check", str(path)]) == 0
    printed = capsys.readouterr().out.splitlines()

    assert [row["name"] for row in rows if row["as_read"]] == ["as read"]
    assert len({row["setting"] for row in rows}) == 8
    assert min(rows, key=lambda row: row["deviance"])["setting"] == "data.position_order=xy data.flip_positions=y"
    first = next(i for i, line in enumerate(printed) if "deviance" in line and "x noise" in line)
    assert printed[first + 1].startswith("> as read")
    assert any(line.endswith("--position-order xy --flip-positions y") for line in printed)
    assert max(len(line) for line in printed[first : first + 9]) <= 80
    assert "Only a good probe in the file" in printed[first + 9]


def test_a_finding_that_is_ignored_is_not_reported(good: Scan) -> None:
    ignoring = ReadAs(options=ReadOptions(findings=(("positions-axes", "ignore"),)))

    assert geometry_findings(replace(good, positions_px=good.positions_px * [-1, 1], read_as=ignoring)) == []


@LONG
def test_a_wrong_scale_names_the_likely_cause(good: Scan, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A distance that is a tenth too small makes object pixels smaller, and positions too far apart."""
    size, wavelength, detector = 1e-8, 1e-10, 75e-6
    path = tmp_path / "scan.npz"
    np.savez(
        path, diffraction=good.counts, probe=good.probe, positions=good.positions_px * size, wavelength_m=wavelength,
        distance_m=size * 32 * detector / wavelength / 1.1, detector_pixel_m=detector,
    )  # fmt: skip

    assert main(["data", "check", str(path), "--json"]) == 0

    (finding,) = [item for item in json.loads(capsys.readouterr().out)["findings"] if item["id"] == "positions-scale"]
    assert "a distance of 240 mm (not 218 mm)" in finding["message"]
    assert "a detector pixel of 68." in finding["message"]


def test_settings_are_relative_to_how_positions_were_read() -> None:
    read_as = ReadAs("xy", ReadOptions(flip_positions="y", scan_rotation_deg=30, frame_transform="rotate_90"))

    assert read_as.axes_setting((True, "")) == (
        "data.position_order=yx data.flip_positions=x data.scan_rotation_deg=-30"
    )
    assert read_as.axes_setting((False, "y")) == "data.flip_positions=none data.scan_rotation_deg=-30"
    assert read_as.axes_setting((False, "yx")) == "data.flip_positions=x"
    assert read_as.frames_setting((True, "y")) == "data.frame_transform=rotate_180"
    assert read_as.transform_setting(PositionTransform(rotation_deg=170)) == "data.scan_rotation_deg=-160"
    assert read_as.transform_setting(PositionTransform(1.1)) == "data.position_scale=1.1"
    leaning = ReadAs(options=ReadOptions(scan_asymmetry=0.2, scan_shear_deg=5))
    assert leaning.axes_setting((False, "y")) == "data.flip_positions=y data.scan_shear_deg=-5"
    assert leaning.transform_setting(PositionTransform(rotation_deg=10)) == "data.scan_rotation_deg=10"
    assert leaning.transform_setting(PositionTransform(shear_deg=-5)).startswith("data.scan_shear_deg=")
