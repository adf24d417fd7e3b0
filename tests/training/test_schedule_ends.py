"""A schedule of T steps is asked for T rates; afterwards the last one stays. One factor scales all parameter groups."""

from __future__ import annotations

import csv
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback
from torch.optim.lr_scheduler import LambdaLR, MultiStepLR, ReduceLROnPlateau, StepLR

from ptycho_cli.config.settings_group import Options
from ptycho_cli.errors import PluginError, TrainingError
from ptycho_cli.extend.host import Host
from ptycho_cli.extend.learning_rates import curve, span_of
from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

BASE = 0.002


def rates(folder: Path) -> list[float]:
    with (folder / "metrics.csv").open(newline="") as file:
        return [float(row["learning_rate"]) for row in csv.DictReader(file)]


def from_a_table(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    """A rate and a loss weight for each optimizer step, and no more."""
    table = [1.0 - step / span.total_steps for step in range(span.total_steps)]
    return Schedule(LambdaLR(optimizer, lambda step: table[step]), loss_weight=lambda step: table[step])


def from_a_table_of_epochs(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    table = [0.5**epoch for epoch in range(span.epochs)]
    return Schedule(LambdaLR(optimizer, lambda epoch: table[epoch]), interval="epoch")


def test_a_rate_for_each_step_suffices_and_the_last_one_stays(small_run: Any, tmp_path: Path, offering: Any) -> None:
    """Also when a run that went past the end of its schedule is killed there, and resumed once more."""
    host = offering(from_a_table, staged=True)
    small_run(tmp_path / "run", epochs=2, scheduler="Mine", host=host)
    assert rates(tmp_path / "run") == pytest.approx([BASE * (1 - step / 14) for step in range(14)])

    small_run(resume=tmp_path / "run", which="checkpoint", epochs=3, host=host)
    again = small_run(resume=tmp_path / "run", which="checkpoint", epochs=4, host=host)
    small_run(resume=tmp_path / "run", host=host)

    assert rates(tmp_path / "run")[14:] == pytest.approx([BASE / 14] * 14)
    assert again.loss_weights == pytest.approx((1 / 14, 1 / 14))


def test_a_rate_for_each_epoch_suffices_and_the_last_one_stays(small_run: Any, tmp_path: Path, offering: Any) -> None:
    host = offering(from_a_table_of_epochs)
    small_run(tmp_path / "run", epochs=2, scheduler="Mine", host=host)
    small_run(resume=tmp_path / "run", which="checkpoint", epochs=3, learning_rate=0.5, host=host)

    assert rates(tmp_path / "run") == pytest.approx([BASE] * 7 + [BASE / 2] * 14)


def test_a_table_suffices_in_previews_and_tests_of_schedulers_too() -> None:
    entry = SchedulerEntry("Table", "A table.", Options, lambda optimizer, span, options: from_a_table(optimizer, span))

    found = curve(entry, span_of(6, 2, 4), {}, [1.0])

    assert [row[0] for row in found] == pytest.approx([1.0, 0.75, 0.5, 0.25])


@pytest.mark.parametrize("scheduler", ["Mine", "ReduceLROnPlateau"])
def test_more_epochs_make_up_for_the_step_at_the_end_of_the_first_ones(
    small_run: Any, tmp_path: Path, offering: Any, scheduler: str
) -> None:
    host = offering(from_a_table_of_epochs)
    at_once = small_run(tmp_path / "at_once", epochs=3, scheduler=scheduler, host=host)
    small_run(tmp_path / "run", epochs=1, scheduler=scheduler, host=host)

    resumed = small_run(resume=tmp_path / "run", epochs=3, host=host)

    assert rates(tmp_path / "run") == rates(tmp_path / "at_once")
    for name, weights in at_once.assembled.objective.state_dict().items():
        assert torch.equal(resumed.assembled.objective.state_dict()[name], weights)


def probe_slower(optimizer: torch.optim.Optimizer, span: Span) -> Schedule:
    """The probe keeps its rate, and that of the network falls from the fifth step on."""
    fall = {"network": lambda step: 1.0 if step < 4 else 0.5, "probe": lambda step: 1.0}
    return Schedule(LambdaLR(optimizer, [fall[group["name"]] for group in optimizer.param_groups]))


def test_groups_with_different_factors_are_refused_at_the_step_where_it_shows(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    expected = re.escape(
        "after optimizer step 4: scheduler 'Mine' (ptycho-test 1.0) multiplies the base rates of network and probe by"
        " 0.5 and 1, expected one factor, since its entry does not declare per_group."
    )
    with pytest.raises(TrainingError, match=expected) as caught:
        small_run(tmp_path / "run", scheduler="Mine", host=offering(probe_slower))

    assert "Saved after optimizer step 4" in (caught.value.hint or "")


def test_an_absolute_lowest_rate_shows_at_the_step_where_it_applies(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    """torch's ``eta_min`` is one number for all groups, which base rates of 0.002 and 0.0003 reach differently."""
    host = offering(
        lambda optimizer, span: Schedule(
            torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, span.total_steps, eta_min=1e-4)
        )
    )
    with pytest.raises(TrainingError, match=r"after optimizer step 1: .* expected one factor"):
        small_run(tmp_path / "run", scheduler="Mine", host=host)


def test_rates_that_a_callback_changed_are_not_laid_to_the_schedule(
    small_run: Any, tmp_path: Path, offering: Any
) -> None:
    class OneRate(Callback):
        def on_train_batch_end(self, trainer: Any, *arguments: Any) -> None:
            for group in trainer.optimizers[0].param_groups:
                group["lr"] = 1e-3

    schedule = offering(lambda optimizer, span: Schedule(MultiStepLR(optimizer, [5])))
    host = Host(schedule.plugins, (*schedule.registered, offering(callback=OneRate()).registered[-1]))

    small_run(tmp_path / "run", scheduler="Mine", callbacks={"mine": {}}, host=host)

    assert rates(tmp_path / "run")[1:] == [1e-3] * 13


def test_an_entry_may_declare_a_factor_for_each_group(small_run: Any, tmp_path: Path, offering: Any) -> None:
    plain = offering(probe_slower)
    own = plain.registered[-1]
    entry = SchedulerEntry("Mine", "Ours.", Options, own.entry.build, per_group=True)
    host = Host(plain.plugins, (*plain.registered[:-1], own._replace(entry=entry)))

    small_run(tmp_path / "run", scheduler="Mine", host=host)

    assert rates(tmp_path / "run") == pytest.approx([BASE] * 4 + [BASE / 2] * 10)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda optimizer, span: Schedule(ReduceLROnPlateau(optimizer), interval="epoch"),
            "the step of its ReduceLROnPlateau needs 'metrics', but it monitors nothing",
        ),
        (
            lambda optimizer, span: Schedule(StepLR(optimizer, 2), interval="epoch", monitor="val_loss"),
            "monitors val_loss, but the step of its StepLR takes no loss",
        ),
    ],
)
def test_a_monitor_that_does_not_fit_the_schedule_is_refused_before_anything_is_written(
    small_run: Any, tmp_path: Path, offering: Any, build: Any, message: str
) -> None:
    with pytest.raises(PluginError, match=rf"scheduler 'Mine' \(ptycho-test 1.0\).*{message}"):
        small_run(tmp_path / "run", scheduler="Mine", host=offering(build))

    assert not (tmp_path / "run").exists()
