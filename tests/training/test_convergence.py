"""A training ends once held-out frames gain less than their noise, unless its end was set."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import ptycho_cli
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.config.resolve import resolve
from ptycho_cli.config.sources import library_layer
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.training.convergence import StopWhenConverged
from ptycho_cli.training.stop_request import StopRequest

SMALL = {
    "physics.probe_warmup": 0, "network_options": {"stages": 2, "width": 4}, "n_groups": 4, "group_size": 12,
    "inference.polish": 0, "report": False,
}  # fmt: skip
FRAMES = torch.linspace(-1, 1, 9)  # standard error of the mean: 0.228


def losses_of(
    means: list[float], *, weights: tuple[float, ...] = (), frames: torch.Tensor = FRAMES
) -> list[str | None]:
    """Why the training is to end, after each epoch with these mean losses of the held-out frames."""
    stop, found = StopRequest(), []
    callback = StopWhenConverged(stop)
    for epoch, mean in enumerate(means):
        module: Any = SimpleNamespace(frame_losses=[(mean + frames)[:4], (mean + frames)[4:]], loss_weights=weights)
        trainer: Any = SimpleNamespace(current_epoch=epoch, world_size=1)
        callback.on_train_epoch_end(trainer, module)
        found.append(stop.ended_by)
    return found


def test_the_first_epoch_that_gains_less_than_the_standard_error_ends_the_training() -> None:
    *before, last = losses_of([3.0, 2.7, 2.46, 2.24])

    assert before == [None, None, None]
    assert last is not None
    assert "epoch 4 lowered the deviance of held-out frames by 0.22, less than its standard error of 0.23" in last


def test_a_worse_epoch_ends_it_too_and_few_frames_or_an_amplitude_loss_do_not() -> None:
    assert losses_of([2.0, 2.5])[-1] is not None
    assert losses_of([2.0, 2.5], frames=FRAMES[:7])[-1] is None
    assert losses_of([2.0, 2.5], weights=(0.0, 0.9))[-1] is None
    assert losses_of([2.0, 2.5], weights=(0.0, 1.0))[-1] is not None


def resolved(**settings: Any) -> Resolved:
    return resolve([library_layer({"data.paths": ("a.h5",), **settings})], load_plugins(()).catalogue())


@pytest.mark.parametrize(
    ("settings", "stop"),
    [
        ({}, "auto"),
        ({"learning_rate": 1e-3}, "auto"),
        ({"epochs": 6}, "never"),
        ({"epochs": 6, "stop": "auto"}, "auto"),
        ({"scheduler": "Exponential"}, "never"),
        ({"scheduler": "default"}, "auto"),
        ({"scheduler": "Exponential", "stop": "auto"}, "auto"),
        ({"stop": "never"}, "never"),
    ],
)
def test_an_end_that_was_set_is_reached(settings: dict[str, Any], stop: str) -> None:
    assert resolved(**settings).config.training.stop == stop


def test_the_table_says_what_decided() -> None:
    assert (
        resolved(epochs=6).decision("training.stop").winner.origin
        == resolved(epochs=6).decision("training.epochs").winner.origin
    )


def test_a_converged_training_ends_well_and_a_resumed_one_stays_ended(
    scan_file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Every epoch is said to gain nothing: two of six are trained. More epochs that are set are trained."""
    from ptycho_cli.cli.app import main
    from ptycho_cli.training import convergence

    monkeypatch.setattr(convergence, "MIN_FRAMES", 1)
    monkeypatch.setattr(convergence, "_mean_and_error", lambda *_: (1.0, 0.1, 40))
    run = ptycho_cli.train(scan_file, output_dir=tmp_path / "run", **SMALL)

    assert run.summary["optimizer_steps"] == 8
    assert run.record["status"] == "trained"
    assert "epoch 2 lowered the deviance" in run.record["ended_by"]
    weights = (tmp_path / "run" / "weights.safetensors").read_bytes()

    assert main(["train", "--resume", str(run.folder)]) == 0
    assert "less than its standard error" in capsys.readouterr().err.replace("\n", " ")
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert (record["applied_steps"], (tmp_path / "run" / "weights.safetensors").read_bytes()) == (8, weights)

    assert main(["train", "--resume", str(run.folder), "--epochs", "4"]) == 0
    assert json.loads((tmp_path / "run" / "run.json").read_text())["applied_steps"] == 16
