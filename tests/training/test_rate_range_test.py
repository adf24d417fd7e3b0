"""``train --find-lr`` tries growing learning rates on a copy of the weights and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from ptycho_cli.cli.app import main
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.schema import Config
from ptycho_cli.config.sources import library_layer
from ptycho_cli.errors import ConfigError
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.training import rate_range_test
from ptycho_cli.training.rate_range_test import range_test

BUILT_INS = load_plugins(environment={"PTYCHO_NO_PLUGINS": "1"})


def settings(**given: Any) -> Config:
    layer = library_layer({"data.paths": ("small",), "output_dir": "run", "accelerator": "cpu", **given})
    return resolve([layer], BUILT_INS.catalogue()).config


@pytest.fixture
def assembled(fit: Any) -> Any:
    parts = fit(n_groups=7)
    return SimpleNamespace(objective=parts.objective, training_loader=parts.loader)


@pytest.mark.parametrize("accumulate", [1, 3])
def test_the_loss_falls_and_then_diverges_and_the_suggestion_is_on_the_slope(assembled: Any, accumulate: int) -> None:
    steps: list[tuple[int, int]] = []

    found = range_test(
        settings(accumulate_grad_batches=accumulate), assembled, progress=lambda *done: steps.append(done)
    )

    ratios = np.array(found.rates[1:]) / found.rates[:-1]
    np.testing.assert_allclose(ratios, 1e5 ** (1 / 59))
    assert found.rates[0] == pytest.approx(1e-5)
    assert len(found.rates) == len(found.losses) == len(found.smoothed)
    assert abs(found.losses[0]) < 1e-3
    assert min(found.smoothed) < -0.3
    assert found.suggested is not None
    assert found.rates[1] < found.suggested < found.lowest_at
    assert steps[0] == (0, 60)
    assert len(steps) == len(found.losses) + 1


def test_weights_random_numbers_and_files_stay_as_they_are(assembled: Any, tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    before = {name: value.clone() for name, value in assembled.objective.state_dict().items()}
    random_state = torch.get_rng_state()

    range_test(settings(), assembled)

    assert all(torch.equal(value, before[name]) for name, value in assembled.objective.state_dict().items())
    assert torch.equal(torch.get_rng_state(), random_state)
    assert list(tmp_path.iterdir()) == []


def test_losses_are_compared_on_the_same_frames(assembled: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a change of the weights, no loss differs from that of the initial weights, whatever its frames are."""
    monkeypatch.setattr(rate_range_test, "LOWEST", 1e-12)
    monkeypatch.setattr(rate_range_test, "HIGHEST", 1e-12)

    found = range_test(settings(), assembled)

    np.testing.assert_allclose(found.losses, 0.0, atol=1e-6)
    assert found.suggested is None
    assert not found.diverged


def test_a_loss_that_is_not_finite_ends_the_test(assembled: Any) -> None:
    objective, calls = assembled.objective, 0
    loss = type(objective).forward

    def forward(self: Any, batch: Any, loss_weight: Any) -> Any:
        nonlocal calls
        calls += self.training and torch.is_grad_enabled()
        return loss(self, batch, loss_weight) * (float("nan") if calls > 20 else 1.0)

    assembled.objective.__class__ = type("Breaking", (type(objective),), {"forward": forward})
    found = range_test(settings(), assembled)

    assert found.diverged
    assert len(found.losses) == 19


def test_several_devices_are_refused(assembled: Any) -> None:
    with pytest.raises(ConfigError, match="--find-lr: expected one device"):
        range_test(settings(devices=2), assembled)


def test_the_command_writes_the_curve_beside_the_folder_and_trains_nothing(
    scan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any
) -> None:
    monkeypatch.setattr(rate_range_test, "STEPS", 8)
    words = ["train", str(scan_file), "-o", str(tmp_path / "run"), "--find-lr", "--epochs", "1"]

    assert main([*words, "--json"]) == 0

    report = json.loads(capfd.readouterr().out)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run-find-lr.json", "run-find-lr.png"]
    assert json.loads((tmp_path / "run-find-lr.json").read_text())["rates"] == report["rates"]
    assert len(report["rates"]) <= 8
    assert report["current_learning_rate"] == 0.002
    assert (tmp_path / "run-find-lr.png").read_bytes().startswith(b"\x89PNG")
    assert main(words) == 2  # the files are there
    assert "run-find-lr.png" in capfd.readouterr().err


@pytest.mark.parametrize("words", ["--resume run", "scan.h5 -o run --dry-run"])
def test_a_test_is_of_a_new_training(words: str, capfd: Any) -> None:
    assert main(["train", "--find-lr", *words.split()]) == 2
    assert "--find-lr cannot be combined with --" in capfd.readouterr().err
