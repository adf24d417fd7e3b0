"""Plugins that bring weights of networks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

import ptycho_cli
from ptycho_cli.assembly.network_weights import write_network_weights
from ptycho_cli.cli.app import main
from ptycho_cli.config.schema import ModelSettings
from ptycho_cli.networks.entries import UnrolledOptions
from ptycho_cli.networks.unrolled import UnrolledNetwork
from ptycho_cli.physics.object_update import ObjectUpdate

CODE = """
from pathlib import Path
from ptycho_cli.extend import WeightsEntry, hookimpl

ptycho_plugin_api = 1


@hookimpl
def ptycho_weights():
    return [WeightsEntry("NAME", "Of hall 3.", PATH)]
"""
SMALL = {"stages": 2, "width": 4}


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    network = UnrolledNetwork(subsets=1, update=ObjectUpdate(0.5), **SMALL)
    path, model = tmp_path / "w.safetensors", ModelSettings(name="unrolled", options=UnrolledOptions(**SMALL))
    write_network_weights(network, path, model, {"trained_on": "zone plates"})
    return path


def test_weights_of_a_plugin_are_listed_and_used(
    make_plugin: Any, weights: Path, scan_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plugin("ptycho-hall", CODE.replace("PATH", f"lambda: Path({str(weights)!r})"), offers="Hall-3")

    assert main(["weights", "list", "--json"]) == 0
    listed = {item["name"]: item for item in json.loads(capsys.readouterr().out)}
    assert listed["Hall-3"]["trained_on"] == "zone plates"
    found = ptycho_cli.reconstruct(scan_file, weights="hall-3", polish=0, network_options=SMALL)

    assert any("Hall-3 (ptycho-hall 1.0)" in note for note in found.notes)
    assert main(["weights", "info", "ptycho-hall:hall-3"]) == 0
    assert "ptycho-hall" in capsys.readouterr().out


def test_a_plugin_that_fails_to_give_its_weights_is_named(
    make_plugin: Any, scan_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    make_plugin("ptycho-hall", CODE.replace("PATH", "lambda: 1 / 0"), offers="Hall-3")

    assert main(["reconstruct", str(scan_file), "-o", str(tmp_path / "o.h5"), "--weights", "hall-3"]) == 2
    assert "weights 'Hall-3' (ptycho-hall 1.0) failed" in " ".join(capsys.readouterr().err.split())


def test_weights_of_one_name_are_told_apart_by_their_distribution(
    make_plugin: Any, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("ptycho-hall", "ptycho-other"):
        make_plugin(name, CODE.replace("PATH", f"lambda: Path({str(weights)!r})"), offers="Hall-3")

    assert main(["weights", "info", "hall-3"]) == 2
    assert "ptycho-hall:Hall-3" in " ".join(capsys.readouterr().err.split())
    assert main(["weights", "info", "ptycho-other:hall-3"]) == 0
