"""Settings that may change when a run is resumed, key by key, and the messages about them."""

from __future__ import annotations

import csv
import json
from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch.optim.lr_scheduler import CosineAnnealingLR, LambdaLR

from ptycho_cli.config.earlier_run import checkpoint_layer
from ptycho_cli.config.resolve import resolve
from ptycho_cli.errors import CheckpointError, ConfigError
from ptycho_cli.extend.specs import Schedule, Span
from ptycho_cli.training.resume import plan_resume
from ptycho_cli.training.run_record import read_record


def rates(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["learning_rate"]) for row in csv.DictReader(file)]


def test_one_epoch_and_two_more_equal_three(small_run: Any, tmp_path: Path) -> None:
    """More epochs need no choice if the schedule does not depend on the length."""
    at_once = small_run(tmp_path / "at_once", epochs=3, scheduler="Exponential")
    small_run(tmp_path / "run", epochs=1, scheduler="Exponential")

    resumed = small_run(resume=tmp_path / "run", epochs=3)

    assert resumed.applied_steps == 21
    assert (tmp_path / "run" / "metrics.csv").read_text() == (tmp_path / "at_once" / "metrics.csv").read_text()
    for name, weights in at_once.assembled.objective.state_dict().items():
        assert torch.equal(resumed.assembled.objective.state_dict()[name], weights)
    assert json.loads((tmp_path / "run" / "run.json").read_text())["resumed_at_step"] == 7


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"learning_rate": 0.5}, r"optimizer.learning_rate is 0.002 in the checkpoint and 0.5 in the settings"),
        ({"scheduler": "Exponential"}, r"scheduler.name is WarmupCosine in the checkpoint and Exponential"),
        ({"scheduler_options": {"warmup": 2}}, r"scheduler.options.warmup is 0 in the checkpoint and 2"),
        ({"epochs": 5}, r"training.epochs is 2 in the checkpoint and 5 in the settings"),
    ],
)
def test_a_changed_schedule_is_never_silently_ignored(
    small_run: Any, tmp_path: Path, change: dict[str, Any], found: str
) -> None:
    """A cosine ends with the training, so the number of epochs is part of the schedule."""
    small_run(tmp_path / "run", epochs=2, scheduler="WarmupCosine")

    with pytest.raises(ConfigError, match=found) as caught:
        small_run(resume=tmp_path / "run", **{"epochs": 2, **change})

    assert "--resume-schedule checkpoint" in (caught.value.hint or "")


def test_an_epoch_wise_schedule_that_depends_on_the_number_of_epochs_needs_a_choice_too(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    def build(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
        return Schedule(LambdaLR(optimizer, lambda epoch: 1 - epoch / (2 * span.epochs)), interval="epoch")

    small_run(tmp_path / "run", epochs=2, scheduler="Mine", host=offering(build))

    with pytest.raises(ConfigError, match=r"training.epochs is 2 in the checkpoint and 3 in the settings"):
        small_run(resume=tmp_path / "run", epochs=3, host=offering(build))


def test_the_message_about_another_scheduler_leaves_out_options(small_run: Any, tmp_path: Path) -> None:
    small_run(tmp_path / "run", epochs=1, scheduler="Exponential")

    with pytest.raises(ConfigError) as caught:
        small_run(resume=tmp_path / "run", scheduler="WarmupCosine")

    assert "scheduler.name is Exponential in the checkpoint and WarmupCosine" in caught.value.message
    assert "options" not in caught.value.message


def test_resume_schedule_config_follows_the_new_settings_from_the_step_reached(small_run: Any, tmp_path: Path) -> None:
    small_run(tmp_path / "run", epochs=1)

    run = small_run(
        resume=tmp_path / "run", which="config", epochs=3, scheduler="Exponential",
        scheduler_options={"gamma": 0.5}, learning_rate=0.008,
    )  # fmt: skip

    assert rates(tmp_path / "run") == pytest.approx([0.002] * 7 + [0.004] * 7 + [0.002] * 7)
    assert run.record["effective"]["learning_rates"]["network"] == 0.008


def test_resume_schedule_checkpoint_keeps_the_old_one_and_its_last_rate(small_run: Any, tmp_path: Path) -> None:
    """Two epochs of a cosine, then a third at its last rate."""
    small_run(tmp_path / "run", epochs=2, scheduler="WarmupCosine")
    before = rates(tmp_path / "run")

    run = small_run(resume=tmp_path / "run", which="checkpoint", epochs=3, learning_rate=0.5)

    after = rates(tmp_path / "run")
    assert after[:14] == before
    assert after[14:] == pytest.approx([0.0002] * 7)
    assert run.record["effective"]["learning_rates"]["network"] == 0.002


@pytest.mark.parametrize(
    "change", [{"batch_size": 2}, {"seed": 9}, {"accumulate_grad_batches": 2}, {"group_size": 7}, {"loss": "amplitude"}]
)
def test_settings_that_the_weights_depend_on_are_fixed(small_run: Any, tmp_path: Path, change: dict[str, Any]) -> None:
    small_run(tmp_path / "run", epochs=1)

    with pytest.raises(ConfigError, match=f"{next(iter(change))}.* cannot be .*: checkpoint .* fixes it to "):
        small_run(resume=tmp_path / "run", epochs=2, **change)


def test_a_run_without_a_setting_that_came_later_resumes_with_its_default(small_run: Any, tmp_path: Path) -> None:
    small_run(tmp_path / "run", epochs=1)
    path = tmp_path / "run" / "run.json"
    record = json.loads(path.read_text())
    assert record["config"]["physics"].pop("probe_per_scan") == "auto"
    path.write_text(json.dumps(record))

    assert small_run(resume=tmp_path / "run", epochs=1).applied_steps == 7


def test_the_number_of_devices_is_part_of_an_optimizer_step_and_fixed(small_run: Any, tmp_path: Path) -> None:
    small_run(tmp_path / "run", epochs=1)

    with pytest.raises(ConfigError, match=r"the run fixes execution.devices times execution.num_nodes to 1, not 4"):
        small_run(resume=tmp_path / "run", epochs=2, devices=2, num_nodes=2)


def test_settings_that_may_change_take_effect(small_run: Any, tmp_path: Path) -> None:
    small_run(tmp_path / "run", epochs=1)

    run = small_run(resume=tmp_path / "run", epochs=2, gradient_clip_val=0.25, checkpoint_save_top_k=2)

    assert run.record["effective"]["gradient_clip_val"] == 0.25
    assert len(list((tmp_path / "run" / "checkpoints").glob("epoch-*"))) == 2


def test_a_scheduler_of_another_version_is_refused_by_name(small_run: Any, tmp_path: Path, versioned_host: Any) -> None:
    small_run(tmp_path / "run", epochs=1, scheduler="Mine", host=versioned_host("1.0"))

    with pytest.raises(CheckpointError, match=r"'Mine' of ptycho-test 1.0, but ptycho-test 2.0 is installed"):
        small_run(resume=tmp_path / "run", epochs=2, host=versioned_host("2.0"))


def test_a_scheduler_of_another_class_is_refused_though_its_version_is_the_same(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    """This happens with a plugin in an editable installation."""
    before = offering(lambda optimizer, span: Schedule(LambdaLR(optimizer, lambda step: 1.0)))
    after = offering(lambda optimizer, span: Schedule(CosineAnnealingLR(optimizer, span.total_steps)))
    small_run(tmp_path / "run", epochs=1, scheduler="Mine", host=before)

    with pytest.raises(CheckpointError, match=r"is a torch.*\.LambdaLR, but ptycho-test 1.0 built a torch.*\.Cosine"):
        small_run(resume=tmp_path / "run", which="checkpoint", epochs=2, host=after)

    small_run(resume=tmp_path / "run", which="config", epochs=2, learning_rate=0.004, host=after)
    assert rates(tmp_path / "run")[7:] == pytest.approx([0.002 * (1 + cos(pi * t / 14)) for t in range(7, 14)])


def test_the_error_names_the_distribution_of_a_scheduler_that_is_no_longer_installed(
    small_run: Any, tmp_path: Path, versioned_host: Any
) -> None:
    small_run(tmp_path / "run", epochs=1, scheduler="Mine", host=versioned_host("1.0"))

    with pytest.raises(CheckpointError, match=r"'Mine' of ptycho-test 1.0, but there is no scheduler"):
        small_run(resume=tmp_path / "run", which="checkpoint", epochs=2, scheduler="Default")


def test_a_folder_without_a_run_is_refused(small_run: Any, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no readable run.json in it"):
        small_run(resume=tmp_path, epochs=2)


def test_a_damaged_checkpoint_is_refused(small_run: Any, tmp_path: Path) -> None:
    small_run(tmp_path / "run", epochs=1)
    last = tmp_path / "run" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])

    with pytest.raises(CheckpointError, match=r"last.ckpt: damaged, or not a checkpoint"):
        small_run(resume=tmp_path / "run", epochs=2)


def test_fewer_epochs_than_are_done_are_refused(small_run: Any, tmp_path: Path) -> None:
    small_run(tmp_path / "run", epochs=3)

    with pytest.raises(ConfigError, match=r"3 epochs are done, but training.epochs is 2"):
        small_run(resume=tmp_path / "run", epochs=2)


def test_a_run_that_a_callback_ended_before_its_first_step_starts_again_when_resumed(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    class Never(Callback):
        def on_train_start(self, trainer: Any, pl_module: Any) -> None:
            trainer.should_stop = True

    host = offering(callback=Never())
    run = small_run(tmp_path / "run", callbacks={"mine": {}}, host=host)
    assert (run.applied_steps, run.record["ended_by"]) == (0, "callback 'mine' (ptycho-test 1.0) asked for it")

    resolved = resolve([checkpoint_layer(read_record(tmp_path / "run")["config"], "run")], host.catalogue())

    assert plan_resume(resolved, host, tmp_path / "run", None) is None
