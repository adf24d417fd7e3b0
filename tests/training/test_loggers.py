"""Loggers of other programs get the figures and pictures of a training, and go on with their run after a resume."""

from __future__ import annotations

import csv
import json
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback
from lightning.pytorch.loggers import wandb as lightning_wandb
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import ptycho_cli
from ptycho_cli.config.provenance import Problem
from ptycho_cli.config.resolve import examine
from ptycho_cli.config.sources import library_layer
from ptycho_cli.data.simulation import simulate
from ptycho_cli.data.write import write_scan
from ptycho_cli.errors import ConfigError
from ptycho_cli.extend.host import load_plugins
from ptycho_cli.training.run_loggers import TensorBoard

BUILT_INS = load_plugins(environment={"PTYCHO_NO_PLUGINS": "1"})


def reconstruct(assembled: Any) -> tuple[Any, Any]:
    torch.rand(3)  # a reconstruction may use random numbers
    y = np.arange(20)[:, None] + np.zeros((1, 30))
    return np.exp(0.1j * (y > 10)).astype(np.complex64), np.ones((20, 30), np.float32)


def events_in(folder: Path) -> EventAccumulator:
    found = EventAccumulator(str(folder / "tensorboard"))
    found.Reload()
    return found


def scalars(found: EventAccumulator, name: str) -> dict[int, float]:
    events = found.Scalars(name)
    steps = [event.step for event in events]
    assert steps == sorted(set(steps)), "a step was logged twice"
    return {event.step: event.value for event in events}


def record_of(folder: Path, column: str) -> dict[int, float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return {int(row["step"]): float(row[column]) for row in csv.DictReader(file) if row[column]}


def problems_with(logger: str) -> tuple[Problem, ...]:
    layer = library_layer({"data.paths": ("a.h5",), "logger": logger})
    return examine([layer], BUILT_INS.catalogue(), command="train")[1]


class Worse(Callback):
    def on_train_epoch_end(self, trainer: Any, pl_module: Any) -> None:
        self.log("worse", 10.0 + trainer.current_epoch)


def test_tensorboard_has_the_figures_of_metrics_csv_and_more(small_run: Any, tmp_path: Path, offering: Any) -> None:
    folder = tmp_path / "run"
    small_run(
        folder, logger="tensorboard", epochs=3, picture_every=2, reconstruct=reconstruct,
        host=offering(callback=Worse()), callbacks={"mine": {}},
    )  # fmt: skip

    found = events_in(folder)
    for column in ("learning_rate", "train_loss", "val_loss"):
        assert scalars(found, column) == pytest.approx(record_of(folder, column), rel=1e-6)
    norms = scalars(found, "gradient_norm")
    assert list(norms) == list(range(1, 22))
    assert min(norms.values()) > 0
    assert scalars(found, "mine/worse") == {7: 10.0, 14: 11.0, 21: 12.0}
    assert [image.step for image in found.Images("object")] == [14, 21]
    assert "training.epochs: 3" in (folder / "tensorboard" / "hparams.yaml").read_text()
    assert not (folder / "callback_metrics.csv").exists()  # that is what csv is for


def test_a_resumed_run_goes_on_in_the_same_tensorboard_run(small_run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small_run(folder, logger=("csv", "tensorboard"), epochs=1, reconstruct=reconstruct)
    small_run(resume=folder, epochs=2, reconstruct=reconstruct)

    assert scalars(events_in(folder), "train_loss") == pytest.approx(record_of(folder, "train_loss"), rel=1e-6)


def test_csv_keeps_the_gradient_norm_of_every_step_also_over_a_resume(small_run: Any, tmp_path: Path) -> None:
    def rows(folder: Path) -> list[list[str]]:
        with (folder / "callback_metrics.csv").open(newline="") as file:
            return list(csv.reader(file))

    small_run(tmp_path / "whole", epochs=2)
    small_run(tmp_path / "parts", epochs=1)
    small_run(resume=tmp_path / "parts", epochs=2)

    assert [row[:3] for row in rows(tmp_path / "whole")[1:]] == [
        [str(step), str((step - 1) // 7), "gradient_norm"] for step in range(1, 15)
    ]
    assert rows(tmp_path / "parts") == rows(tmp_path / "whole")


def test_the_gradient_norm_is_that_before_clipping(small_run: Any, tmp_path: Path, offering: Any) -> None:
    seen: list[float] = []

    class Seen(Callback):
        def on_before_optimizer_step(self, trainer: Any, pl_module: Any, optimizer: Any) -> None:
            parts = [part.grad.double().square().sum() for part in pl_module.parameters()]
            seen.append(float(torch.stack(parts).sum().sqrt()))

    small_run(
        tmp_path / "run", logger="tensorboard", gradient_clip_val=1e-3, reconstruct=reconstruct,
        host=offering(callback=Seen()), callbacks={"mine": {}},
    )  # fmt: skip

    norms = scalars(events_in(tmp_path / "run"), "gradient_norm")
    assert list(norms.values()) == pytest.approx(seen, rel=1e-5)
    assert min(seen) > 1e-3


def test_scores_and_verdict_reach_the_loggers_after_the_training(tmp_path: Path, wandb: StandIn) -> None:
    """The training has ended for Lightning by then. MLflow is asked where it is installed."""
    mlflow = ("mlflow",) if find_spec("mlflow") else ()
    write_scan(tmp_path / "scan.h5", simulate(n_frames=36, n_pixels=16, photons=1e5, seed=1))
    run = ptycho_cli.train(
        tmp_path / "scan.h5", output_dir=tmp_path / "run", logger=("tensorboard", "wandb", *mlflow),
        accelerator="cpu", epochs=1, n_groups=4, group_size=12, network_options={"stages": 1, "width": 4},
        report=False,
    )  # fmt: skip

    found, steps = events_in(tmp_path / "run"), run.summary["optimizer_steps"]
    assert run.verdict is not None
    last = {name: scalars(found, name) for name in found.Tags()["scalars"] if "/" in name}
    assert last["verdict/ratio"] == pytest.approx({steps: run.verdict.ratio}, rel=1e-6)
    assert last["verdict/explained"] == {steps: float(run.verdict.explained)}
    snr_db = run.scores["trained"]["complex_snr_db"]
    assert last["scores/trained/complex_snr_db"] == pytest.approx({steps: snr_db}, rel=1e-6)
    (text,) = found.Tensors("verdict/text_summary")
    assert (
        text.tensor_proto.string_val[0].decode().startswith("explained" if run.verdict.explained else "not explained")
    )


def test_steps_that_were_lost_are_not_shown_twice(small_run: Any, tmp_path: Path) -> None:
    """A process that is killed has logged steps after its last checkpoint, which the resumed run repeats."""
    folder = tmp_path / "run"
    small_run(folder, logger="tensorboard", checkpoint_save_top_k=-1, reconstruct=reconstruct)
    (folder / "checkpoints" / "epoch-0000.ckpt").replace(folder / "checkpoints" / "last.ckpt")
    small_run(resume=folder, reconstruct=reconstruct)

    found = events_in(folder)
    assert scalars(found, "train_loss") == pytest.approx(record_of(folder, "train_loss"), rel=1e-6)
    assert [image.step for image in found.Images("object")] == [7, 14]


def test_loggers_and_pictures_do_not_change_the_weights(small_run: Any, tmp_path: Path) -> None:
    watched = small_run(tmp_path / "a", logger="tensorboard", reconstruct=reconstruct)
    alone = small_run(tmp_path / "b", logger="none")

    for name, weights in watched.assembled.objective.state_dict().items():
        assert torch.equal(weights, alone.assembled.objective.state_dict()[name])
    assert (tmp_path / "a" / "metrics.csv").read_bytes() == (tmp_path / "b" / "metrics.csv").read_bytes()


def test_a_logger_that_fails_does_not_end_the_training(
    small_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Any, image: Any, step: int) -> None:
        self.attempt(lambda: (_ for _ in ()).throw(OSError("the server is gone")))

    monkeypatch.setattr(TensorBoard, "show", refuse)
    with pytest.warns(RuntimeWarning, match="logger tensorboard failed and gets no more figures: .*server is gone"):
        run = small_run(tmp_path / "run", logger="tensorboard", reconstruct=reconstruct)

    assert run.applied_steps == 14
    assert list(scalars(events_in(tmp_path / "run"), "train_loss")) == list(range(1, 8))


@pytest.mark.parametrize("name", ["tensorboard", "mlflow", "wandb"])
def test_a_missing_package_is_named_before_anything_is_read(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ptycho_cli.config.combinations.find_spec", lambda package: None)

    _, problems = examine(
        [library_layer({"data.paths": ("a.h5",), "logger": name})], BUILT_INS.catalogue(), command="train"
    )

    (problem,) = [item for item in problems if item.key == "execution.logger"]
    assert problem.message == f"execution.logger is {name}, but the package {name} is not installed."
    assert problem.hint == f"Install it with: pip install 'ptycho-cli[{name}]'"


def test_none_stands_alone() -> None:
    _, problems = examine(
        [library_layer({"data.paths": ("a.h5",), "logger": "none,csv"})], BUILT_INS.catalogue(), command="train"
    )

    assert [item.message for item in problems] == ["execution.logger is none and also csv."]


class StandIn(ModuleType):
    """As much of the package wandb as a training calls; it keeps what it is given."""

    def __init__(self) -> None:
        super().__init__("wandb")
        self.started: list[dict[str, Any]] = []
        self.rows: list[dict[str, Any]] = []
        self.finished = 0
        self.config: dict[str, Any] = {}
        self.summary: dict[str, Any] = {}
        self.run = None
        self.Settings, self.Image = dict, lambda image: ("picture", image.shape)

    def init(self, **options: Any) -> Any:
        self.started.append(options)
        config = SimpleNamespace(update=lambda values, **rest: self.config.update(values))
        return SimpleNamespace(
            config=config, log=self.rows.append, finish=self.finish, define_metric=lambda *name, **rest: None,
            summary=self.summary, id=options["id"], name=options["name"],
        )  # fmt: skip

    def finish(self) -> None:
        self.finished += 1


@pytest.fixture
def wandb(monkeypatch: pytest.MonkeyPatch) -> StandIn:
    stand_in = StandIn()
    for name in ("wandb", "wandb.sdk", "wandb.sdk.lib", "wandb.wandb_run"):
        monkeypatch.setitem(sys.modules, name, stand_in)
    stand_in.RunDisabled = stand_in.Run = SimpleNamespace  # type: ignore[attr-defined]
    stand_in.__spec__ = SimpleNamespace(name="wandb")  # type: ignore[assignment]
    monkeypatch.setattr(lightning_wandb, "_WANDB_AVAILABLE", True)
    monkeypatch.setenv("WANDB_MODE", "offline")
    return stand_in


def test_weights_and_biases_gets_figures_pictures_and_settings(small_run: Any, tmp_path: Path, wandb: StandIn) -> None:
    folder = tmp_path / "star"
    small_run(folder, logger="wandb", epochs=1, reconstruct=reconstruct)
    small_run(resume=folder, epochs=2, reconstruct=reconstruct)

    first, second = wandb.started
    assert first["id"] == second["id"] == json.loads((folder / "run.json").read_text())["loggers"]["wandb"]
    assert (first["project"], first["name"], first["resume"]) == ("ptycho", "star", "allow")
    steps = {row["trainer/global_step"]: row["train_loss"] for row in wandb.rows if "train_loss" in row}
    assert steps == pytest.approx(record_of(folder, "train_loss"))
    assert [row["trainer/global_step"] for row in wandb.rows if "object" in row] == [7, 14]
    assert wandb.config["training.epochs"] == 2
    assert wandb.finished == 2


def test_a_logger_that_cannot_start_ends_the_command_before_the_first_step_and_the_other_loggers(
    small_run: Any, tmp_path: Path, wandb: StandIn, monkeypatch: pytest.MonkeyPatch
) -> None:
    ended: list[bool] = []
    monkeypatch.setattr(TensorBoard, "end", lambda logger, *, failed: ended.append(failed))

    def refuse(**options: Any) -> Any:
        raise RuntimeError("No API key configured.")

    wandb.init = refuse  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="wandb cannot start: RuntimeError: No API key configured") as caught:
        small_run(tmp_path / "run", logger="tensorboard,wandb")

    assert "wandb login" in str(caught.value.hint)
    assert ended == [True]
    assert not (tmp_path / "run").exists()


def test_mlflow_keeps_figures_pictures_and_settings_in_the_folder_of_the_run(small_run: Any, tmp_path: Path) -> None:
    pytest.importorskip("mlflow")
    from mlflow.tracking import MlflowClient

    folder = tmp_path / "star"
    small_run(folder, logger="mlflow", epochs=1, reconstruct=reconstruct)
    small_run(resume=folder, epochs=2, reconstruct=reconstruct)

    client, id = MlflowClient((folder / "mlruns").as_uri()), json.loads((folder / "run.json").read_text())["loggers"]
    run = client.get_run(id["mlflow"])
    assert (run.info.status, run.info.run_name) == ("FINISHED", "star")
    losses = {item.step: item.value for item in client.get_metric_history(id["mlflow"], "train_loss")}
    assert losses == pytest.approx(record_of(folder, "train_loss"))
    assert run.data.params["training.batch_size"] == "1"
    assert len(client.list_artifacts(id["mlflow"], "pictures")) == 2
