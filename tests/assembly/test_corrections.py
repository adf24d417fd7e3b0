"""Corrections for uneven beams, background and bad pixels recover most of the picture."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from ptycho_cli.assembly.build import build
from ptycho_cli.assembly.objective import Objective
from ptycho_cli.calibration.geometry_check import GeometryCheck
from ptycho_cli.calibration.intensity_background import CorrectionSearch
from ptycho_cli.calibration.scan_canvas import frame_photons
from ptycho_cli.cli.app import main
from ptycho_cli.config.data_settings import DataSettings
from ptycho_cli.config.schema import Config, LossSettings, ModelSettings, PhysicsSettings
from ptycho_cli.data.read import read_scan
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.scan import Scan
from ptycho_cli.data.simulated_imperfections import Imperfections
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import read_reconstruction, write_scan
from ptycho_cli.extend.specs import NetworkEntry
from ptycho_cli.inference.reconstruct import reconstruct
from ptycho_cli.inference.results import scores
from ptycho_cli.networks.entries import AUTOENCODER, REFINER, UNROLLED
from ptycho_cli.networks.unrolled import UnrolledNetwork
from ptycho_cli.physics.object_update import ObjectUpdate

ALPHA = 0.1


def made(imperfections: Imperfections | None = None) -> Scan:
    return simulate(n_frames=144, n_pixels=32, photons=1e6, seed=6, imperfections=imperfections)


def snr_db(scan: Scan) -> float:
    """Of the physics alone, with the true probe."""
    assert scan.probe is not None
    network = UnrolledNetwork(stages=6, subsets=3, width=4, update=ObjectUpdate(ALPHA))
    objective = Objective(network, torch.from_numpy(scan.probe), torch.tensor([frame_photons(scan)]))
    found = reconstruct(objective, scan, update=ObjectUpdate(ALPHA), physics_only=True, polish=30)
    return float(scores(found, scan)["complex_snr_db"])


@pytest.fixture(scope="module")
def clean_db() -> float:
    return snr_db(made())


def test_hot_and_dead_pixels_cost_the_picture_nothing_once_masked(clean_db: float, tmp_path: Path) -> None:
    write_scan(tmp_path / "scan.h5", made(Imperfections(hot_pixels=3, dead_pixels=2)))

    masked, kept = (read_scan(tmp_path / "scan.h5", ReadOptions(mask_bad_pixels=wanted)) for wanted in (True, False))

    assert snr_db(masked) > clean_db - 2
    assert snr_db(kept) < clean_db - 10


def corrected(scan: Scan) -> Scan:
    """With what ``auto`` finds."""
    assert scan.probe is not None
    return CorrectionSearch(ObjectUpdate(ALPHA), "auto", "auto", 0).find(scan, torch.from_numpy(scan.probe))


def test_a_clean_scan_is_left_alone() -> None:
    for photons in (1e3, 1e6):
        scan = corrected(simulate(n_frames=144, n_pixels=32, photons=photons, seed=6))

        assert scan.intensities is None
        assert scan.background == 0


def test_ten_percent_of_jitter_are_found_and_cost_the_picture_little(clean_db: float) -> None:
    scan = made(Imperfections(intensity_jitter=0.1))

    found = corrected(scan)

    assert found.intensities is not None
    assert np.log(found.intensities / Imperfections(0.1).intensities(144, 6)).std() < 0.015
    assert np.log(found.intensities).mean() == pytest.approx(0, abs=1e-6)
    assert found.background == 0
    assert snr_db(found) > clean_db - 1
    assert snr_db(scan) < clean_db - 3


def test_a_background_is_found_and_costs_the_picture_no_more_than_its_noise() -> None:
    """At 1e4 photons a frame half a photon in each pixel is a twentieth of the light, and most of it at high angles."""
    scan = simulate(n_frames=144, n_pixels=32, photons=1e4, seed=6, imperfections=Imperfections(background=0.5))

    found = corrected(scan)

    assert found.background == pytest.approx(0.5, rel=0.2)
    assert found.intensities is None
    corrected_db = snr_db(found)
    assert corrected_db > snr_db(replace(scan, background=0.5)) - 0.5
    assert corrected_db > snr_db(scan) + 4


def scattered(scan: Scan, photons: float) -> tuple[Scan, np.ndarray]:
    """With light that air scattered about the beam, and its pattern."""
    y, x = np.mgrid[: scan.n_pixels, : scan.n_pixels] - scan.n_pixels / 2
    pattern = photons * np.exp(-(y**2 + x**2) / (2 * (scan.n_pixels / 5) ** 2))
    counts = scan.counts + np.random.default_rng(0).poisson(pattern, scan.counts.shape)
    return replace(scan, counts=counts.astype(np.float32)), pattern


def test_light_that_air_scattered_is_found_as_a_pattern_and_costs_the_picture_little() -> None:
    scan, pattern = scattered(simulate(n_frames=144, n_pixels=32, photons=1e5, seed=6), 40.0)

    found = corrected(scan)

    assert isinstance(found.background, np.ndarray)
    assert np.sqrt(np.mean((found.background - pattern) ** 2)) < 0.25 * np.sqrt(np.mean(pattern**2))
    assert snr_db(found) > max(snr_db(scan) + 4, snr_db(replace(scan, background=pattern)) - 1.5)


def test_a_run_keeps_a_pattern_and_uses_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In weights and file, after a resume and at infer; evaluate sees the same rates."""
    path, run, out = tmp_path / "a.h5", tmp_path / "run", tmp_path / "o.h5"
    write_scan(path, scattered(simulate(n_frames=64, n_pixels=32, photons=1e5, seed=1), 40.0)[0])
    few = ["--epochs", "1", "--n-groups", "2", "--group-size", "8", "--set", "model.options.stages=2", "--quiet"]

    assert main(["train", str(path), "-o", str(run), "--no-report", *few]) == 0

    kept = load_file(run / "weights.safetensors")["background"]
    assert kept.shape == (1, 32, 32)
    record = json.loads((run / "run.json").read_text())
    assert record["auto"]["physics.background"] == pytest.approx(float(kept.mean()), rel=1e-5)
    assert main(["train", "--resume", str(run), "--epochs", "2", "--quiet"]) == 0
    torch.testing.assert_close(load_file(run / "weights.safetensors")["background"], kept)
    capsys.readouterr()
    assert main(["infer", str(run), str(path), "-o", str(out), "--polish", "3", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    np.testing.assert_allclose(read_reconstruction(out).background, kept[0].double(), rtol=1e-5)
    assert main(["evaluate", str(out), "--data", str(path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deviance"] == pytest.approx(scored["deviance"], rel=1e-3)


@pytest.mark.long
def test_a_run_keeps_what_it_found_and_uses_it_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In weights and file, after a resume and at infer; evaluate sees the same rates; another scan gets its own."""
    imperfections = Imperfections(0.1, 2.0, hot_pixels=2)
    first, other = tmp_path / "a.h5", tmp_path / "b.h5"
    write_scan(first, simulate(n_frames=81, n_pixels=32, photons=1e5, seed=1, imperfections=imperfections))
    write_scan(other, simulate(n_frames=64, n_pixels=32, photons=1e5, seed=2, imperfections=imperfections))
    run, out = tmp_path / "run", tmp_path / "o.h5"
    few = [
        "--epochs",
        "1",
        "--n-groups",
        "2",
        "--group-size",
        "8",
        "--set",
        "model.options.stages=2",
        "--no-report",
        "--quiet",
    ]

    assert main(["train", str(first), str(other), "-o", str(run), *few]) == 0

    kept = load_file(run / "weights.safetensors")
    assert kept["intensities"].shape == (2, 81)
    for row, (frames, seed) in zip(kept["intensities"], ((81, 1), (64, 2)), strict=True):
        assert np.log(row[:frames].numpy() / Imperfections(0.1).intensities(frames, seed)).std() < 0.05
        assert bool(row[frames:].isnan().all())
    np.testing.assert_allclose(kept["background"].numpy(), 2.0, rtol=0.2)
    record = json.loads((run / "run.json").read_text())
    assert record["auto"]["physics.background"] == pytest.approx(float(kept["background"][0]))
    assert [(item["id"], len(item["pixels"])) for item in record["data"][0]["findings"]] == [("pixels-hot", 2)]
    assert main(["train", "--resume", str(run), "--epochs", "2", "--quiet"]) == 0
    torch.testing.assert_close(
        load_file(run / "weights.safetensors")["intensities"], kept["intensities"], equal_nan=True
    )
    capsys.readouterr()
    assert main(["infer", str(run), str(other), "-o", str(out), "--polish", "3", "--json"]) == 0
    scored = json.loads(capsys.readouterr().out)
    found = read_reconstruction(out)
    np.testing.assert_allclose(found.intensities, kept["intensities"][1, :64].double(), rtol=1e-6)
    assert found.background == pytest.approx(float(kept["background"][1]))
    assert main(["evaluate", str(out), "--data", str(other), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["deviance"] == pytest.approx(scored["deviance"], rel=1e-3)
    new = tmp_path / "c.h5"
    write_scan(new, simulate(n_frames=64, n_pixels=32, photons=1e5, seed=3, imperfections=Imperfections(0.1)))
    assert main(["infer", str(run), str(new), "-o", str(tmp_path / "p.h5"), "--quiet"]) == 0
    found = read_reconstruction(tmp_path / "p.h5")
    assert np.log(found.intensities / Imperfections(0.1).intensities(64, 3)).std() < 0.05
    assert found.background == 0


@pytest.mark.parametrize("jitter", [0.0, 0.1])
def test_intensities_do_not_take_up_the_errors_of_a_rough_probe(jitter: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the file's probe they seem to vary by 20 % rms, since one half of the detector counts more."""
    monkeypatch.setattr(GeometryCheck, "is_wrong", lambda *_: False)  # other geometries are tried in tests of their own
    scan = simulate(n_frames=49, n_pixels=32, photons=1e5, seed=6, imperfections=Imperfections(jitter))
    counts = np.array(scan.counts, dtype=np.float32)
    counts[:, :, :16] = np.round(1.3 * counts[:, :, :16])
    rough = corrected(replace(scan, counts=counts)).intensities
    assert rough is not None
    assert np.log(rough).std() > 0.15

    model = ModelSettings(name="unrolled", options=UNROLLED.options())
    config = Config(model=model, physics=PhysicsSettings(probe_modes=1))
    found = build(config, (replace(scan, counts=counts),), network=UNROLLED).scans[0].intensities

    if jitter:
        assert found is not None
        assert np.log(found / Imperfections(jitter).intensities(49, 6)).std() < 0.03
    else:
        assert found is None


@pytest.mark.parametrize(
    "entry",
    [UNROLLED, *(pytest.param(entry, marks=pytest.mark.long) for entry in (AUTOENCODER, REFINER))],
    ids=lambda entry: entry.name,
)
def test_every_network_is_trained_on_what_was_found(entry: NetworkEntry) -> None:
    """The loss of the first step falls; with more than one probe mode and withheld photons too."""
    scan = simulate(n_frames=36, n_pixels=32, photons=1e4, seed=1, imperfections=Imperfections(0.2, 1.0))
    losses = []
    for physics in ({}, {"refine_intensity": "never", "background": 0.0}):
        config = Config(
            data=DataSettings(group_size=16),
            model=ModelSettings(name=entry.name, options=entry.options()),
            physics=PhysicsSettings(probe_modes=2, probe_warmup=0, **physics),  # type: ignore[arg-type]
            loss=LossSettings(withheld=0.25),
        )
        assembled = build(config, (scan,), network=entry)
        batch = next(iter(assembled.training_loader))
        with torch.no_grad():
            losses.append(float(assembled.objective(batch).mean()))
    assert losses[0] < 0.9 * losses[1]
