"""The weights that come with the program: they load, they are small, and they are worth their place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ptycho_cli.assembly.network_weights import read_network_weights, shipped_networks, shipped_path, weights_for
from ptycho_cli.cli.app import main
from ptycho_cli.config.schema import ModelSettings
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.inference.held_out_trial import HeldOutTrial
from ptycho_cli.networks.entries import REFINER, UNROLLED

RECIPES = Path(__file__).parents[2] / "docs" / "recipes"
ENTRIES = {entry.name: entry for entry in (UNROLLED, REFINER)}


@pytest.fixture
def low_dose(tmp_path: Path) -> Path:
    """Discs at 2,000 photons a frame, with a seed that no training used."""
    path = tmp_path / "low.h5"
    write_scan(path, simulate(n_frames=81, n_pixels=32, photons=2e3, object_kind="discs", seed=77))
    return path


@pytest.mark.parametrize("name", ENTRIES)
def test_shipped_weights_fit_the_default_options_and_are_small(name: str) -> None:
    assert name in shipped_networks()
    assert shipped_path(name).stat().st_size < 2e6
    found = weights_for(ModelSettings(name=name, options=ENTRIES[name].options()))

    assert found is not None
    assert found.source == "shipped"
    assert "docs/recipes" in str(found.about["trained_on"])


def test_shipped_weights_show_more_than_physics_where_photons_are_few(
    low_dose: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    scores, notes = {}, {}
    for chosen in ("none", "auto"):
        words = ["--weights", chosen, "--set", "inference.tv_weight=0", "--force", "--json"]
        assert main(["reconstruct", str(low_dose), "-o", str(tmp_path / "o.h5"), *words]) == 0
        found = json.loads(capsys.readouterr().out)
        scores[chosen], notes[chosen] = found["complex_snr_db"], found["notes"]

    assert any("shipped weights of refiner" in note for note in notes["auto"])
    assert scores["auto"] > scores["none"] + 1


@pytest.mark.parametrize(("noise", "chosen"), [(0.1, "the shipped weights of refiner"), (0.001, "physics alone")])
def test_physics_alone_must_explain_more_than_noise_does(
    noise: float, chosen: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    scan = tmp_path / "scan.h5"
    write_scan(scan, simulate(n_frames=25, n_pixels=16, photons=2e3, seed=77))

    def deviances(trial: Any, polish: Any) -> Any:
        return np.array([0.5, 0.5, 0.5]) if trial._physics_only else 0.51 + noise * np.array([-1.0, 1.0, 0.0])

    monkeypatch.setattr(HeldOutTrial, "frame_deviances", deviances)
    monkeypatch.setattr(HeldOutTrial, "deviance", lambda trial, polish: float(deviances(trial, polish).mean()))
    words = ["--network", "refiner", "--polish", "0", "--set", "inference.tv_weight=0", "--json"]

    assert main(["reconstruct", str(scan), "-o", str(tmp_path / "o.h5"), *words]) == 0

    notes = json.loads(capsys.readouterr().out)["notes"]
    (note,) = (line for line in notes if line.startswith("Reconstructed with"))
    assert note.startswith(f"Reconstructed with {chosen}: ")
    assert ("lower by less than its standard error" in note) == (chosen != "physics alone")


@pytest.mark.long
@pytest.mark.parametrize("name", ENTRIES)
def test_a_short_training_by_the_recipe_beats_physics_alone(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A fiftieth of the training that made the shipped weights; judged on a scan that it has not seen.

    That of refiner uses each of its few scans eight times.
    """
    monkeypatch.chdir(RECIPES.parents[1])
    scan, run, weights = tmp_path / "scan.h5", tmp_path / "run", tmp_path / "w.safetensors"
    kind, photons = ("discs", "5e3") if name == "refiner" else ("stars", "1e6")
    assert main(["simulate", "-o", str(scan), "--object", kind, "--photons", photons, "--seed", "9"]) == 0
    short = ["--epochs", "1", "--n-groups", "800" if name == "refiner" else "100", "--no-report", "--quiet"]
    if name == "refiner":
        (tmp_path / "recipe.yaml").write_text((RECIPES / "low_dose.yaml").read_text() + "uses: 8\n")
        short += ["--simulate", str(tmp_path / "recipe.yaml")]
    assert main(["train", "-c", str(RECIPES / f"{name}.yaml"), "-o", str(run), *short]) == 0
    assert main(["weights", "export", str(run), "-o", str(weights), "--trained-on", "a test"]) == 0

    scores = {}
    for chosen in ("none", str(weights)):
        capsys.readouterr()
        words = ["--network", name, "--weights", chosen, "--polish", "0", "--force", "--json"]
        words += ["--network-option", "passes=1"] if name == "refiner" else []
        assert main(["reconstruct", str(scan), "-o", str(tmp_path / "o.h5"), *words]) == 0
        scores[chosen] = json.loads(capsys.readouterr().out)["complex_snr_db"]
    assert scores[str(weights)] > scores["none"] + 0.3


def test_recipes_of_the_shipped_weights_can_be_used(capsys: pytest.CaptureFixture[str]) -> None:
    for name, further in {"unrolled": ("again",), "refiner": ("again", "second_pass")}.items():
        for recipe in (name, *(f"{name}_{word}" for word in further)):
            assert main(["inspect-config", "-c", str(RECIPES / f"{recipe}.yaml"), "--json"]) in (0, 2)
            config = json.loads(capsys.readouterr().out)["config"]
            assert (RECIPES.parents[1] / config["data"]["simulate"]).is_file()
            assert read_network_weights(shipped_path(name)).network == config["model"]["name"]
