"""The whole path of a user, judged by the object: better than a flat object and better than physics alone."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import h5py
import pytest

from ptycho_cli.calibration import verdict
from ptycho_cli.cli.app import main

Capture = pytest.CaptureFixture[str]


def scores(arguments: list[str], capsys: Capture) -> dict[str, float]:
    capsys.readouterr()
    assert main([*arguments, "--json"]) == 0
    found: dict[str, float] = json.loads(capsys.readouterr().out)
    return found


def test_simulate_train_infer_evaluate(tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch) -> None:
    scan, other, run, out = (str(tmp_path / name) for name in ("a.h5", "b.h5", "run", "out.h5"))
    assert main(["simulate", "-o", scan, "--frames", "100", "--size", "32", "--seed", "1"]) == 0
    assert main(["simulate", "-o", other, "--frames", "100", "--size", "32", "--object", "texture"]) == 0

    schedule = ["--scheduler", "Exponential", "--accumulate-grad-batches", "2", "--compare-untrained"]
    summary = scores(["train", scan, "-o", run, "--epochs", "4", *schedule], capsys)

    trained, untrained = summary["trained"], summary["untrained"]
    assert trained["complex_snr_db"] > trained["flat_object"]["complex_snr_db"] + 6
    assert trained["complex_snr_db"] > untrained["complex_snr_db"] + 1
    names = {"run.json", "metrics.csv", "weights.safetensors", "reconstruction.h5", "reconstruction.png", "checkpoints"}
    names |= {"callback_metrics.csv", "curves.png", "report.html"}
    assert {path.name for path in Path(run).iterdir()} == names
    record = json.loads((Path(run) / "run.json").read_text())
    per_epoch = record["effective"]["steps_per_epoch"]
    with (Path(run) / "metrics.csv").open() as file:
        for line in csv.DictReader(file):
            epoch = (int(line["step"]) - 1) // per_epoch
            assert float(line["learning_rate"]) == pytest.approx(2e-3 * 0.95**epoch, rel=1e-12)

    monkeypatch.setattr(verdict, "doubtful", lambda score: False)  # other geometries are tried in tests of their own
    plain = scores(["infer", run, other, "-o", out, "--polish", "0"], capsys)
    physics_only = scores(["infer", run, other, "-o", out, "--force", "--untrained", "--polish", "0"], capsys)
    polished = scores(["infer", run, other, "-o", out, "--force"], capsys)
    assert plain["complex_snr_db"] > plain["flat_object"]["complex_snr_db"] + 3
    assert plain["deviance"] < physics_only["deviance"]
    assert polished["r_factor"] < plain["r_factor"]
    assert polished["complex_snr_db"] > plain["complex_snr_db"] + 5

    scored = scores(["evaluate", out, "--truth", other, "--data", other], capsys)
    assert scored["complex_snr_db"] == pytest.approx(polished["complex_snr_db"], abs=0.05)
    assert scored["r_factor"] == pytest.approx(polished["r_factor"], rel=1e-3)


def test_an_electron_file_leads_to_atoms_without_a_flag(tmp_path: Path, capsys: Capture) -> None:
    """A 4-D raster in kV, mrad and angstrom; also one without semi-angle and defocus, whose probe must be found."""
    scan, bare, run = (str(tmp_path / name) for name in ("atoms.h5", "bare.h5", "run"))
    preset = ["--preset", "electron", "--layout", "electron", "--frames", "196", "--size", "48", "--photons", "5e5"]
    assert main(["simulate", "-o", scan, *preset]) == 0
    with h5py.File(scan) as file, h5py.File(bare, "w") as other:
        other["data"] = file["data"][()]
        other["voltage_kv"], other["angle_per_pixel_mrad"], other["scan_step_angstrom"] = 80.0, 3.25, 0.5

    for path in (scan, bare):
        summary = scores(["train", path, "-o", run, "--force", "--preset", "quick"], capsys)
        scored = scores(["evaluate", f"{run}/reconstruction.h5", "--truth", scan], capsys)
        assert summary["verdict"]["explained"]
        assert scored["phase_ssim"] > 0.7
        assert scored["flat_object"]["phase_ssim"] < 0.1


def test_the_python_api_trains_and_infers_without_printing(small_scan: Path, tmp_path: Path, capsys: Capture) -> None:
    import ptycho_cli

    run = ptycho_cli.train(
        small_scan,
        output_dir=tmp_path / "run",
        epochs=1,
        n_groups=3,
        network_options={"stages": 2},
        **{"physics.probe_warmup": 0},
    )
    found = ptycho_cli.infer(run, small_scan, polish=3)

    assert run.resolved.decision("training.epochs").winner.source.label == "library"
    assert found.result.reconstruction.object.dtype == "complex64"
    assert found.result.r_factor < 0.3
    assert capsys.readouterr().out == ""


@pytest.mark.real_data
@pytest.mark.long
def test_the_measured_star_is_explained(measured: Path, tmp_path: Path, capsys: Capture) -> None:
    """A short training with one probe mode; docs/benchmarks.md has the full one, with three."""
    scan = str(measured / "siemens_star" / "siemens_star_small.npz")
    references = measured / "siemens_star" / "reference_recons.npz"
    run, out = str(tmp_path / "run"), str(tmp_path / "o.h5")

    assert main(["train", scan, "-o", run, "--epochs", "1", "--probe-modes", "1", "--no-report", "--quiet"]) == 0
    assert main(["infer", run, scan, "-o", out, "--polish", "0", "--quiet"]) == 0
    places = [f"{references}:{name}_object_roi" for name in ("ptychi_lsqml30", "cdtools_adam30")]
    arguments = [word for place in places for word in ("--reference", place)]
    scored = scores(["evaluate", out, "--data", scan, *arguments], capsys)

    assert scored["r_factor"] <= 0.165
    assert min(scored["phase_correlation"].values()) >= 0.97  # type: ignore[attr-defined]
    polished = scores(["evaluate", f"{run}/reconstruction.h5", *arguments], capsys)
    assert min(polished["phase_correlation"].values()) >= 0.97  # type: ignore[attr-defined]


def test_at_low_dose_the_settings_of_the_scan_beat_the_physics_that_the_network_starts_from(
    tmp_path: Path, capsys: Capture
) -> None:
    """With few photons the untrained network is converged physics; training removes noise that physics cannot."""
    scan, run = str(tmp_path / "scan.h5"), str(tmp_path / "run")
    arguments = ["--frames", "300", "--size", "32", "--photons", "2e3", "--seed", "1"]
    assert main(["simulate", "-o", scan, *arguments]) == 0

    shorter = ["--epochs", "2", "--n-groups", "40", "--group-size", "48", "--compare-untrained"]
    summary = scores(["train", scan, "-o", run, *shorter], capsys)

    trained, untrained = summary["trained"], summary["untrained"]
    assert untrained["complex_snr_db"] > untrained["flat_object"]["complex_snr_db"] + 5
    assert trained["complex_snr_db"] > untrained["complex_snr_db"] + 2
    assert trained["amplitude_ssim"] > untrained["amplitude_ssim"] + 0.1
