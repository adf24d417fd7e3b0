"""What callbacks log has a file of its own, beside metrics.csv, and cannot change the losses of the training."""

from __future__ import annotations

import copy
import csv
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.callbacks import (
    DeviceStatsMonitor,
    EMAWeightAveraging,
    LearningRateMonitor,
    StochasticWeightAveraging,
    Timer,
)

from ptycho_cli.errors import TrainingError
from ptycho_cli.training.run_folder import CALLBACK_METRICS


class Logs(Callback):
    """Log one value in each batch, and one in each epoch."""

    def __init__(self, name: str = "batch") -> None:
        self.name = name

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        pl_module.log(self.name, float(batch_idx))

    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.log("epoch_number", float(trainer.current_epoch))


def rows(folder: Path) -> list[dict[str, str]]:
    with (folder / CALLBACK_METRICS).open(newline="") as file:
        return [row for row in csv.DictReader(file) if ":" in row["name"]]


def test_values_that_a_callback_gives_the_logger_itself_have_its_name_too(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    class Direct(Callback):
        def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
            trainer.logger.log_metrics({"val_loss": -5.0}, step=99)

    run = small_run(tmp_path / "run", callbacks={"mine": {}}, host=offering(callback=Direct()))

    assert [(row["step"], row["name"]) for row in rows(tmp_path / "run")] == [
        ("7", "mine:val_loss"),
        ("14", "mine:val_loss"),
    ]
    assert run.losses["val_loss"] > 0


def test_values_of_a_callback_go_to_a_file_of_their_own(small_run: Any, tmp_path: Path, offering: Any) -> None:
    small_run(tmp_path / "without")
    small_run(tmp_path / "run", callbacks={"mine": {}}, host=offering(callback=Logs()))

    assert (tmp_path / "run/metrics.csv").read_text() == (tmp_path / "without/metrics.csv").read_text()
    found = [(row["step"], row["epoch"], row["value"]) for row in rows(tmp_path / "run") if row["name"] == "mine:batch"]
    assert found == [(str(step), str((step - 1) // 7), str(float((step - 1) % 7))) for step in range(1, 15)]
    found = [(row["step"], row["value"]) for row in rows(tmp_path / "run") if row["name"] == "mine:epoch_number"]
    assert found == [("7", "0.0"), ("14", "1.0")]


def test_a_resumed_run_removes_the_values_after_its_checkpoint(small_run: Any, tmp_path: Path, offering: Any) -> None:
    small_run(tmp_path / "run", epochs=1, callbacks={"mine": {}}, host=offering(callback=Logs()))
    before = (tmp_path / "run" / CALLBACK_METRICS).read_text()
    (tmp_path / "run" / CALLBACK_METRICS).write_text(before + "8,1,mine:batch,0.0\n9,1,mine:ba")

    small_run(resume=tmp_path / "run", epochs=2, which="config", host=offering(callback=Logs()))

    text = (tmp_path / "run" / CALLBACK_METRICS).read_text()
    assert text.startswith(before)
    assert text.count("8,1,mine:batch") == 1


@pytest.mark.parametrize("name", ["val_loss", "train_loss"])
def test_a_callback_cannot_log_a_loss_of_the_training(small_run: Any, tmp_path: Path, offering: Any, name: str) -> None:
    with pytest.raises(TrainingError, match=rf"'mine' .* failed in on_train_batch_end.*{name} is the training's own"):
        small_run(tmp_path / "run", callbacks={"mine": {}}, host=offering(callback=Logs(name)))


@pytest.mark.parametrize(
    "make",
    [
        lambda: EMAWeightAveraging(decay=0.5),
        lambda: StochasticWeightAveraging(swa_lrs=1e-3, swa_epoch_start=1),
        lambda: LearningRateMonitor(),
        lambda: DeviceStatsMonitor(cpu_stats=False),
        lambda: Timer(duration="00:01:00:00"),
    ],
)
def test_lightning_s_own_callbacks_train_and_resume(small_run: Any, tmp_path: Path, offering: Any, make: Any) -> None:
    run = small_run(tmp_path / "run", epochs=3, callbacks={"mine": {}}, host=offering(callback=make()))
    assert run.applied_steps == 21
    small_run(tmp_path / "part", epochs=2, callbacks={"mine": {}}, host=offering(callback=make()))
    resumed = small_run(resume=tmp_path / "part", epochs=3, which="config", host=offering(callback=make()))
    assert resumed.applied_steps == 21
    averages = isinstance(make(), (EMAWeightAveraging, StochasticWeightAveraging))
    assert (run.weights_from == "callback 'mine' (ptycho-test 1.0)") == averages
    for name, value in run.assembled.objective.state_dict().items():
        assert torch.equal(resumed.assembled.objective.state_dict()[name], value), name


def test_the_module_can_be_copied_and_pickled(fit: Any) -> None:
    module = fit()(epochs=1).module
    module.trainer = None
    for copied in (copy.deepcopy(module), pickle.loads(pickle.dumps(module))):
        for name, value in module.objective.state_dict().items():
            assert torch.equal(copied.objective.state_dict()[name], value)
