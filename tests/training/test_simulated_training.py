"""``ptycho train --simulate RECIPE``: a network is trained on simulated scans, and its weights suit other scans."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import ptycho_cli
from ptycho_cli.assembly.network_weights import read_network_weights, write_network_weights
from ptycho_cli.cli.app import main
from ptycho_cli.config.schema import ModelSettings
from ptycho_cli.errors import ConfigError, PtychoError
from ptycho_cli.extend.specs import NetworkContext
from ptycho_cli.networks.entries import REFINER as REFINER_ENTRY
from ptycho_cli.physics.object_update import ObjectUpdate
from ptycho_cli.workflows import TrainedRun

RECIPE = "frames: 12\nsize: 16\nphotons: [2e3, 5e3]\nobjects: [discs, stars]\nvalidation_scans: 4\n"
SMALL = {"physics_stages": 8, "width": 4, "levels": 2}
REFINER = {"network": "refiner", "network_options": {**SMALL, "passes": 1}}
TWO_PASSES = {"network": "refiner", "network_options": {**SMALL, "passes": 2, "pass_stages": 4}}


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    path = tmp_path / "recipe.yaml"
    path.write_text(RECIPE)
    return path


@pytest.mark.parametrize(
    "model",
    [
        pytest.param(REFINER, marks=pytest.mark.long),
        {**REFINER, "loss": "object"},
        {"network": "unrolled", "network_options": {"stages": 2, "width": 4}},
    ],
    ids=["refiner", "refiner, loss on objects", "unrolled"],
)
def test_training_on_simulated_scans_lowers_the_loss_on_others(
    recipe: Path, tmp_path: Path, model: dict[str, Any]
) -> None:
    """The validation scans are never trained on; the loss is a logarithm, so it may be negative."""

    def losses(folder: Path, **settings: Any) -> tuple[TrainedRun, list[float]]:
        run = ptycho_cli.train(simulate=str(recipe), output_dir=str(folder), report=False, **model, **settings)
        with (folder / "metrics.csv").open() as file:
            return run, [float(row["val_loss"]) for row in csv.DictReader(file) if row["val_loss"]]

    _, untrained = losses(tmp_path / "untrained", epochs=1, n_groups=1, learning_rate=1e-12)
    run, trained = losses(tmp_path / "run", epochs=2, n_groups=100, learning_rate=2e-3, gradient_clip_val=1.0)

    assert min(trained) < untrained[0] - 0.1
    assert run.record["data"][0]["path"] == str(recipe)
    assert run.verdict is not None


def test_weights_of_simulated_scans_reconstruct_a_scan(recipe: Path, scan_file: Path, tmp_path: Path) -> None:
    folder, weights = tmp_path / "run", tmp_path / "w.safetensors"
    ptycho_cli.train(simulate=str(recipe), output_dir=str(folder), epochs=1, n_groups=2, report=False, **REFINER)

    assert main(["weights", "export", str(folder), "-o", str(weights), "--trained-on", "a recipe"]) == 0
    found = ptycho_cli.reconstruct(scan_file, weights=str(weights), **REFINER)

    assert any("Reconstructed with" in note for note in found.notes)
    assert read_network_weights(weights).network == "refiner"


@pytest.fixture
def random_weights(tmp_path: Path) -> str:
    """Weights of which no layer is zero, so that the first pass corrects its object, too."""
    options = REFINER_ENTRY.options(**TWO_PASSES["network_options"])
    network = REFINER_ENTRY.build(NetworkContext(16, ObjectUpdate(0.1)), options)
    torch.manual_seed(0)
    with torch.no_grad():
        for weights in network.parameters():
            weights.add_(0.02 * torch.randn_like(weights))
    path = tmp_path / "random.safetensors"
    write_network_weights(network, path, ModelSettings(name="refiner", options=options), {"made_by": "a test"})
    return str(path)


def test_a_resumed_run_sees_the_scans_that_follow(recipe: Path, random_weights: str, tmp_path: Path) -> None:
    """Stopped after one epoch of two and resumed, the weights are those of a run without a break.

    The first pass is never trained, and makes the initial objects also after the resume.
    """
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    settings = {"simulate": str(recipe), "n_groups": 3, "report": False, "weights": random_weights, **TWO_PASSES}
    ptycho_cli.train(output_dir=str(whole), epochs=2, **settings)
    ptycho_cli.train(output_dir=str(parts), epochs=1, **settings)

    assert main(["train", "--resume", str(parts), "--epochs", "2", "--quiet"]) == 0
    assert (parts / "weights.safetensors").read_bytes() == (whole / "weights.safetensors").read_bytes()
    start, end = load_file(random_weights), load_file(whole / "weights.safetensors")
    changed = {name.split(".")[1] for name, value in start.items() if not torch.equal(end[f"network.{name}"], value)}
    assert changed == {"1"}


def test_a_changed_recipe_is_not_resumed(recipe: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = tmp_path / "run"
    ptycho_cli.train(simulate=str(recipe), output_dir=str(run), epochs=1, n_groups=2, report=False, **REFINER)
    recipe.write_text(RECIPE + "gaps: 0.5\n")

    assert main(["train", "--resume", str(run), "--epochs", "2"]) == 2
    assert "recipe.yaml" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("photon: [1e3, 1e4]", "photon: not a key of a recipe"),
        ("photons: [1e5, 1e3]", "photons is 1e5, 1e3: expected [low, high] from 1 to 1e+12, low first"),
        ("objects: [disks]", "objects is disks: expected names among"),
        ("size: 63", "size is 63"),
        ("size: 16\nsize: 32", "size stands there twice"),
        ("image_files: [a.png]", "image_files is a.png: these files are not used, since objects has no `images`"),
        ("probes: [measured]", "probe_files is []: probes has `measured`, so name at least one file"),
        ("objects: [images]\nimage_files: [nowhere.png]", "nowhere.png: no such file or folder"),
        ("- 3", "expected `key: value` lines"),
    ],
)
def test_a_recipe_that_cannot_be_used_is_refused(recipe: Path, tmp_path: Path, text: str, line: str) -> None:
    recipe.write_text(text + "\n")

    with pytest.raises(PtychoError) as refused:
        ptycho_cli.train(simulate=str(recipe), output_dir=str(tmp_path / "run"))

    assert line in refused.value.message
    assert not (tmp_path / "run").exists()


def test_a_mistyped_image_gets_the_nearest_name(recipe: Path, tmp_path: Path) -> None:
    (tmp_path / "micrograph.png").touch()
    recipe.write_text(f"objects: [images]\nimage_files: [{tmp_path / 'mircograph.png'}]\n")

    with pytest.raises(PtychoError) as refused:
        ptycho_cli.train(simulate=str(recipe), output_dir=str(tmp_path / "run"))

    assert refused.value.hint == f"Did you mean {tmp_path / 'micrograph.png'}?"


def test_what_has_no_effect_on_simulated_scans_is_refused(recipe: Path, scan_file: Path, tmp_path: Path) -> None:
    for settings in ({"probe_modes": 2}, {"group_size": 5}, {"loss.withheld": 0.2}):
        with pytest.raises(ConfigError, match="has no effect"):
            ptycho_cli.train(simulate=str(recipe), output_dir=str(tmp_path / "run"), **settings)
    with pytest.raises(ConfigError, match=r"data.paths has no effect: scans are simulated"):
        ptycho_cli.train(scan_file, simulate=str(recipe), output_dir=str(tmp_path / "run"))
