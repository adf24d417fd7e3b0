"""A run's folder and record: written early, atomically, read back from what was built, and never over other files."""

from __future__ import annotations

import errno
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch.optim.lr_scheduler import LambdaLR

from ptycho_cli.assembly.schedule import OptimizerRates, build_optimizer
from ptycho_cli.errors import ConfigError, OutputError, PluginError, TrainingError
from ptycho_cli.extend.host import Host
from ptycho_cli.extend.specs import SchedulerEntry
from ptycho_cli.training import checkpoint
from ptycho_cli.training import trainer as trainer_module
from ptycho_cli.training import training_run as run_module
from ptycho_cli.training.run_record import write_record
from ptycho_cli.training.training_events import NoEvents
from ptycho_cli.training.training_module import TrainingModule

EFFECTIVE_KEYS = {
    *(
        "accelerator",
        "devices",
        "num_nodes",
        "world_size",
        "precision",
        "num_workers",
        "batch_size",
        "accumulate_grad_batches",
    ),
    *("effective_batch", "gradient_clip_val", "optimizer", "learning_rates", "scheduler", "scheduler_interval"),
    *("monitor", "steps_per_epoch", "total_steps", "scheduler_lengths"),
}


def test_the_record_is_there_before_the_first_step(small_run: Any, tmp_path: Path) -> None:
    """A run that fails at once leaves its settings, and does not look as if it went on."""

    def dies(batch: Any, loss_weight: Any) -> Any:
        raise RuntimeError("died")

    with pytest.raises(RuntimeError, match="died"):
        small_run(tmp_path / "run", forward=dies)

    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record.keys() >= {"config", "decisions", "requested", "effective", "plugins", "versions", "data"}
    assert record["status"] == "failed"
    assert record["effective"]["total_steps"] == 14


def test_effective_values_are_read_back_and_stored(small_run: Any, tmp_path: Path) -> None:
    settings = {"scheduler": "Exponential", "accumulate_grad_batches": 4, "batch_size": 2, "gradient_clip_val": 0.5}
    run = small_run(tmp_path / "run", **settings)

    effective = json.loads((tmp_path / "run" / "run.json").read_text())["effective"]
    assert effective == run.record["effective"]
    assert effective.keys() == EFFECTIVE_KEYS
    assert (effective["accelerator"], effective["effective_batch"], effective["total_steps"]) == ("cpu", 8, 2)
    assert effective["scheduler_lengths"] == {"every": 1}
    assert effective["learning_rates"]["network"] == 0.002
    assert effective["gradient_clip_val"] == 0.5


TAMPERED = {
    "accumulate_grad_batches: 4 was requested, 1 was built": ("training", {"accumulate_grad_batches": 1}),
    "gradient_clip_val: 0.5 was requested, None was built": ("training", {"gradient_clip_val": None}),
    "total_steps: 4 was requested, 6 was built": ("training", {"epochs": 3}),
    "precision: '32-true' was requested, '64-true' was built": ("execution", {"precision": "64-true"}),
}


@pytest.mark.parametrize("difference", TAMPERED)
def test_a_trainer_that_is_built_against_the_request_stops_the_run(
    small_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, difference: str
) -> None:
    build, (group, changes) = trainer_module.build_trainer, TAMPERED[difference]

    def forgetful(training: Any, execution: Any, *arguments: Any, **options: Any) -> Any:
        groups = {"training": training, "execution": execution}
        groups[group] = groups[group].model_copy(update=changes)
        return build(*groups.values(), *arguments, **options)

    monkeypatch.setattr(run_module, "build_trainer", forgetful)
    with pytest.raises(TrainingError, match=f"not set up as requested: .*{difference}"):
        small_run(tmp_path / "run", accumulate_grad_batches=4, gradient_clip_val=0.5)

    assert not (tmp_path / "run" / "metrics.csv").read_text().splitlines()[1:]  # no step was taken


def test_an_optimizer_with_other_rates_than_requested_stops_the_run(
    small_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def half(parameters: Any, rates: OptimizerRates) -> Any:
        return build_optimizer(parameters, OptimizerRates(rates.network / 2, rates.probe / 2, rates.weight_decay))

    monkeypatch.setattr(run_module, "build_optimizer", half)
    with pytest.raises(TrainingError, match=r"learning_rates: .*'network': 0.002.* was requested, .*0.001.* was built"):
        small_run(tmp_path / "run")


def test_another_scheduler_than_the_requested_one_stops_the_run(
    small_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that copied the request would show Exponential."""
    find = Host.find

    def default(host: Host, entry_type: Any, name: str) -> Any:
        return find(host, entry_type, "Default" if entry_type is SchedulerEntry else name)

    monkeypatch.setattr(Host, "find", default)
    with pytest.raises(TrainingError, match="scheduler: 'Exponential' was requested, 'Default' was built"):
        small_run(tmp_path / "run", scheduler="Exponential")


def test_a_trainer_that_steps_another_scheduler_stops_the_run(
    small_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = TrainingModule.configure_optimizers

    def other(module: TrainingModule) -> Any:
        found = own(module)
        found["lr_scheduler"]["scheduler"] = LambdaLR(found["optimizer"], lambda step: 1.0)
        return found

    monkeypatch.setattr(TrainingModule, "configure_optimizers", other)
    with pytest.raises(TrainingError, match="the trainer steps another scheduler than the one that was built"):
        small_run(tmp_path / "run")


def test_a_plateau_with_validation_less_often_than_every_epoch_is_refused(
    small_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = trainer_module.build_trainer

    def rare(*arguments: Any, **options: Any) -> Any:
        trainer = build(*arguments, **options)
        trainer.check_val_every_n_epoch = 2
        return trainer

    monkeypatch.setattr(run_module, "build_trainer", rare)
    with pytest.raises(ConfigError, match=r"'ReduceLROnPlateau' monitors val_loss .* validates every 2 epochs"):
        small_run(tmp_path / "run", scheduler="ReduceLROnPlateau")


def test_settings_that_prove_wrong_before_training_leave_no_folder(small_run: Any, tmp_path: Path) -> None:
    """Stages longer than the training are found when its length is known."""
    with pytest.raises(ConfigError, match="longer than the training"):
        small_run(tmp_path / "run", scheduler="MultiStage", scheduler_options={"stage_1": 1000})

    assert not (tmp_path / "run").exists()


def test_a_folder_with_files_is_refused_and_force_removes_only_files_of_a_run(small_run: Any, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    small_run(folder, epochs=1)
    (folder / "notes.txt").write_text("mine")
    with pytest.raises(OutputError, match="not empty"):
        small_run(folder, epochs=1)

    small_run(folder, epochs=1, enable_checkpointing=False, force=True)

    assert (folder / "notes.txt").read_text() == "mine"
    assert not list((folder / "checkpoints").iterdir())


def test_a_dry_run_takes_no_step_and_writes_nothing(small_run: Any, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", dry_run=True)

    assert run.folder is None
    assert run.record["effective"]["steps_per_epoch"] == 7
    assert not list(tmp_path.iterdir())


def test_the_weights_kept_are_those_of_the_best_epoch(small_run: Any, tmp_path: Path) -> None:
    """A rate of 3 makes later epochs worse, so the last weights are not the best ones."""
    folder = tmp_path / "run"
    run = small_run(folder, epochs=4, learning_rate=3.0, checkpoint_save_top_k=-1)
    in_memory = small_run(tmp_path / "memory", epochs=4, learning_rate=3.0, enable_checkpointing=False)

    rows = [line.split(",") for line in (folder / "metrics.csv").read_text().splitlines()[1:]]
    losses = [float(row[4]) for row in rows if row[4]]
    best = f"epoch-{losses.index(min(losses)):04d}"
    assert run.weights_from == best
    state = torch.load(folder / "checkpoints" / f"{best}.ckpt", weights_only=True)["state_dict"]
    for name, weights in load_file(folder / "weights.safetensors").items():
        assert torch.equal(weights, state[f"objective.{name}"])
        assert torch.equal(weights, run.assembled.objective.state_dict()[name])
        assert torch.equal(weights, in_memory.assembled.objective.state_dict()[name])
    assert in_memory.weights_from == best


def test_without_checkpoints_and_logger_only_weights_and_record_are_written(small_run: Any, tmp_path: Path) -> None:
    run = small_run(tmp_path / "run", enable_checkpointing=False, logger="none")

    files = {str(path.relative_to(tmp_path / "run")) for path in (tmp_path / "run").rglob("*") if path.is_file()}
    assert files == {"run.json", "weights.safetensors", "metrics.csv"}
    assert run.weights_from == "epoch-0001"


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory"), MemoryError()])
def test_running_out_of_memory_is_an_error_of_the_training(small_run: Any, tmp_path: Path, error: Exception) -> None:
    def greedy(batch: Any, loss_weight: Any) -> Any:
        raise error

    with pytest.raises(TrainingError, match="out of memory") as caught:
        small_run(tmp_path / "run", forward=greedy)

    assert caught.value.exit_code == 3
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"


def test_a_schedule_that_monitors_an_unknown_value_is_refused_before_the_first_step(
    small_run: Any, tmp_path: Path, monitoring_host: Any
) -> None:
    with pytest.raises(ConfigError, match=r"'Watcher' monitors 'psnr'.*train_loss and val_loss"):
        small_run(tmp_path / "run", scheduler="Watcher", host=monitoring_host)

    assert not (tmp_path / "run").exists()


def test_a_state_that_cannot_be_loaded_again_is_refused_before_the_first_step(
    small_run: Any, tmp_path: Path, unsavable_host: Any
) -> None:
    with pytest.raises(
        PluginError, match=r"scheduler 'Unsavable' .*state_dict\(\)\['where'\], a PosixPath, cannot be saved"
    ):
        small_run(tmp_path / "run", scheduler="Unsavable", host=unsavable_host)


def test_the_error_of_a_factory_names_its_distribution(small_run: Any, tmp_path: Path, failing_host: Any) -> None:
    with pytest.raises(PluginError, match=r"scheduler 'Failing' \(ptycho-test 1.0\) failed in build: KeyError"):
        small_run(tmp_path / "run", scheduler="Failing", host=failing_host)


def test_the_caller_s_random_state_and_modes_are_restored(small_run: Any, tmp_path: Path) -> None:
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)

    small_run(tmp_path / "run", epochs=1)

    assert torch.equal(torch.rand(1), expected)
    assert not torch.are_deterministic_algorithms_enabled()


def test_an_epoch_with_fewer_groups_than_a_step_is_reported(small_run: Any, tmp_path: Path) -> None:
    notes: list[str] = []
    events = NoEvents()
    events.note = notes.append  # type: ignore[method-assign]

    run = small_run(tmp_path / "run", epochs=1, n_groups=None, batch_size=5, accumulate_grad_batches=2, events=events)

    assert run.applied_steps == 1
    assert notes == [
        "An optimizer step should use 10 groups, but an epoch has only 7: each epoch is one step with all of them."
    ]


def test_early_stopping_ends_the_run_normally_and_is_reported(small_run: Any, tmp_path: Path) -> None:
    """A rate of 1 makes the loss worse after some epochs."""
    notes: list[str] = []
    events = NoEvents()
    events.note = notes.append  # type: ignore[method-assign]

    run = small_run(tmp_path / "run", epochs=30, learning_rate=1.0, early_stop_patience=2, events=events)

    assert run.applied_steps < 30 * 7
    assert notes == [f"Ended after optimizer step {run.applied_steps} of 210: no better val_loss in 2 epochs."]


def test_a_full_disk_ends_the_run_with_the_step_that_is_saved(
    small_run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, write, written = tmp_path / "run", checkpoint.write_whole, []

    def full(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) > 3:  # each epoch writes its own file and the last one
            raise OSError(errno.ENOSPC, "No space left on device")
        write(path, content)

    monkeypatch.setattr(checkpoint, "write_whole", full)
    with pytest.raises(TrainingError, match=r"run: cannot be written \(No space left on device\)") as caught:
        small_run(run, **{"checkpoint.save_top_k": -1})

    assert f"Saved after optimizer step 7; ptycho train --resume {run} resumes the run." in str(caught.value.hint)
    assert json.loads((run / "run.json").read_text())["status"] == "failed"
    assert not list(run.rglob("*.part"))

    monkeypatch.setattr("os.access", lambda *_: False)
    with pytest.raises(OutputError, match="run: no permission to write"):
        small_run(resume=run)


def test_a_record_with_nan_and_infinity_is_valid_json(tmp_path: Path) -> None:
    write_record(tmp_path, {"config": {}, "losses": {"val_loss": float("nan")}, "rates": (float("inf"), 1.0)})

    text = (tmp_path / "run.json").read_text()
    assert json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON")) == {
        "config": {},
        "losses": {"val_loss": None},
        "rates": [None, 1.0],
    }
