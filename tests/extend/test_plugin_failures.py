"""Failures of a plugin at every place where it is called: one line names it, and other trainings work."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from ptycho_cli.cli.app import main

MakePlugin = Callable[..., Path]
SMALL = ("--n-groups", "5", "--group-size", "6", "--epochs", "2", "--accelerator", "cpu", "--no-report", "--quiet")
QUICK = ("model.options.stages=1", "model.options.subsets=1", "model.options.width=4", "physics.probe_warmup=0")

PLUGIN = """
from ptycho_cli.extend import CallbackEntry, ConfigError, Options, Schedule, SchedulerEntry, closed_form, hookimpl

ptycho_plugin_api = 1


def build_mine(optimizer, span, options):
    factor = lambda step: 1.0 / (1 + step)
    weight = lambda step: 1.0
    schedule = closed_form(optimizer, factor)
    return Schedule(schedule, loss_weight=weight)


def build_watch(context, options):
    from lightning.pytorch import Callback

    class Watch(Callback):
        def on_train_batch_end(self, *arguments):
            pass

        def on_fit_start(self, *arguments):
            ()

        def state_dict(self):
            return {"seen": [0]}

    callback = Watch()
    return callback


@hookimpl
def ptycho_schedulers():
    return [SchedulerEntry("Mine", "A decay.", Options, build_mine, staged=True)]


@hookimpl
def ptycho_callbacks():
    return [CallbackEntry("Watch", "Watch.", Options, build_watch)]
"""
ONE_CYCLE = (
    "from torch.optim.lr_scheduler import OneCycleLR; most = [group['lr'] for group in optimizer.param_groups];"
    " schedule = OneCycleLR(optimizer, most, total_steps=span.total_steps, cycle_momentum=False)"
)
SCHEDULER = "scheduler 'Mine' (ptycho-mine 2.5)"
CALLBACK = "callback 'Watch' (ptycho-mine 2.5)"
# A change of the plugin (old and new code), part of the message, and the exit code.
FAULTS = {
    "build raises": ("factor = lambda", "1 / 0 #", f"{SCHEDULER} failed in build: ZeroDivisionError: division by", 2),
    "build exits": ("factor = lambda", "raise SystemExit(7) #", f"{SCHEDULER} failed in build: SystemExit: 7.", 2),
    "build says why": (
        "factor = lambda",
        "raise ConfigError('scheduler.options.x is 1, expected 2.') #",
        "error: scheduler.options.x is 1, expected 2.",
        2,
    ),
    "build returns nothing": ("return Schedule(", "return str(", f"{SCHEDULER} failed in build: TypeError:", 2),
    "a step raises": (
        "1.0 / (1 + step)",
        "1.0 / (3 - step)",
        f"error: after optimizer step 3: {SCHEDULER} failed in step at ptycho_mine.py:8: ZeroDivisionError:",
        3,
    ),
    "a step exits": (
        "1.0 / (1 + step)",
        "exit(9) if step == 3 else 1.0",
        f"error: after optimizer step 3: {SCHEDULER} failed in step at ptycho_mine.py:8: SystemExit: 9.",
        3,
    ),
    "torch's own scheduler gets too few steps": (
        "schedule = closed_form(optimizer, factor)",
        ONE_CYCLE.replace("span.total_steps", "span.total_steps - 2"),
        f"after optimizer step 9: {SCHEDULER} failed in step: ValueError: Tried to step 9 times.",
        3,
    ),
    "a rate below zero": (
        "1.0 / (1 + step)",
        "1.0 - step",
        f"error: after optimizer step 2: {SCHEDULER} set the learning rates [-0.002, -0.0003], expected finite",
        3,
    ),
    "a rate that is no number": (
        "1.0 / (1 + step)",
        "float('nan') if step == 7 else 1.0",
        f"error: after optimizer step 7: {SCHEDULER} set the learning rates [nan, nan], expected finite",
        3,
    ),
    "the loss weight raises": (
        "step: 1.0\n",
        "step: 1.0 / (step - 6)**0.5 and 1 // (step != 6)\n",
        f"error: before optimizer step 7: {SCHEDULER} failed in loss_weight at ptycho_mine.py:9: ZeroDivisionError:",
        3,
    ),
    "a loss weight above 1": (
        "step: 1.0\n",
        "step: step / 2\n",
        f"error: before optimizer step 4: {SCHEDULER} set the loss weight 1.5, expected 0 to 1.",
        3,
    ),
    "the callback's build raises": ("callback = ", "1 / 0 #", f"{CALLBACK} failed in build: ZeroDivisionError:", 2),
    "the callback's build exits": ("callback = ", "exit('no') #", f"{CALLBACK} failed in build: SystemExit: no.", 2),
    "the callback is none": ("callback = ", "callback = 3 #", f"{CALLBACK} returned int, expected a lightning", 2),
    "a hook raises before the first step": (
        "            ()",
        "            1 / 0",
        f"error: {CALLBACK} failed in on_fit_start at ptycho_mine.py:22: ZeroDivisionError",
        2,
    ),
    "a hook exits in the second epoch": (
        "            pass",
        "            arguments[0].current_epoch == 1 and exit(4)",
        f"error: {CALLBACK} failed in on_train_batch_end at ptycho_mine.py:19: SystemExit: 4.",
        3,
    ),
    "a state that only code could read": (
        '"seen": [0]',
        '"seen": [0, object()]',
        "callback Watch (ptycho-mine 2.5): state_dict()['seen'][1], a object, cannot be saved in a checkpoint",
        2,
    ),
}


@pytest.fixture
def train(scan_file: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str]]:
    """Call ``ptycho train scan.h5 -o RUN ...``; returns the exit code and standard error."""

    def run(folder: str, *words: str) -> tuple[int, str]:
        settings = [word for text in QUICK for word in ("--set", text)]
        code = main(["train", str(scan_file), "-o", str(tmp_path / folder), *SMALL, *settings, *words])
        return code, capfd.readouterr().err

    return run


def detector_intensity(run: Path) -> list[float]:
    rows = (run / "metrics.csv").read_text().splitlines()[1:]
    return [float(row.split(",")[2]) for row in rows]


def test_the_plugin_without_a_fault_trains(make_plugin: MakePlugin, train: Callable[..., tuple[int, str]]) -> None:
    make_plugin("ptycho-mine", PLUGIN, version="2.5")

    assert train("run", "--scheduler", "Mine", "--callback", "Watch") == (0, "")


def test_torch_schedulers_may_overwrite_the_initial_rates(
    make_plugin: MakePlugin, train: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    """OneCycleLR does. The rates are those of torch, and the effective base rates those of the user."""
    import torch

    make_plugin("ptycho-mine", PLUGIN.replace("schedule = closed_form(optimizer, factor)", ONE_CYCLE))

    assert train("run", "--scheduler", "Mine") == (0, "")

    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=2e-3)
    theirs = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=10, cycle_momentum=False)
    expected = []
    for _ in range(10):
        expected.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        theirs.step()
    assert detector_intensity(tmp_path / "run") == pytest.approx(expected)
    record = json.loads((tmp_path / "run" / "run.json").read_text())
    assert record["effective"]["learning_rates"] == {"network": 2e-3, "probe": 3e-4}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_gets_one_line_that_names_the_plugin_and_other_trainings_work(
    make_plugin: MakePlugin, train: Callable[..., tuple[int, str]], tmp_path: Path, fault: str
) -> None:
    old, new, line, exit_code = FAULTS[fault]
    assert PLUGIN.count(old) == 1
    make_plugin("ptycho-mine", PLUGIN.replace(old, new), version="2.5")

    code, stderr = train("run", "--scheduler", "Mine", "--callback", "Watch")

    assert code == exit_code
    assert line in stderr
    assert stderr.count("\n") <= 2  # the error, and a hint
    if exit_code == 2:
        assert not (tmp_path / "run").exists()
    else:
        assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "failed"
    assert train("other", "--scheduler", "Default") == (0, "")


def test_a_failed_training_resumes_once_its_plugin_is_fixed(
    make_plugin: MakePlugin, train: Callable[..., tuple[int, str]], tmp_path: Path, scan_file: Path
) -> None:
    """It was saved at its last step; the remaining steps have the rates of an uninterrupted training."""
    import sys

    path = make_plugin("ptycho-mine", PLUGIN.replace("1.0 / (1 + step)", "1.0 / (1 + step) if step != 7 else 1 / 0"))
    assert train("run", "--scheduler", "Mine")[0] == 3

    path.write_text(PLUGIN)
    sys.modules.pop("ptycho_mine")
    assert main(["train", "--resume", str(tmp_path / "run"), "--quiet"]) == 0

    assert detector_intensity(tmp_path / "run") == pytest.approx([2e-3 / k for k in range(1, 11)])


def test_two_callbacks_of_one_class_are_refused_before_one_loses_its_state(
    make_plugin: MakePlugin, train: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    make_plugin("ptycho-mine", PLUGIN, version="2.5")
    make_plugin("aps-mine", PLUGIN.replace('"Watch"', '"Other"'), version="7.0")

    code, stderr = train("run", "--callback", "Watch", "--callback", "Other")

    assert code == 2
    assert stderr.startswith(
        "error: callback 'Other' (aps-mine 7.0) and callback 'Watch' (ptycho-mine 2.5) save their state under the"
        " same name"
    )
    assert not (tmp_path / "run").exists()


def test_two_plugins_with_one_name_are_distinguished_by_their_distribution(
    make_plugin: MakePlugin, train: Callable[..., tuple[int, str]], tmp_path: Path
) -> None:
    make_plugin("ptycho-mine", PLUGIN, version="2.5")
    make_plugin("aps-mine", PLUGIN.replace("1.0 / (1 + step)", "0.5"), version="7.0")
    make_plugin("thief", PLUGIN.replace('"Mine"', '"Exponential"').replace("1.0 / (1 + step)", "0.25"))

    code, stderr = train("clash", "--scheduler", "Mine", "--callback", "Watch")
    assert code == 2
    assert "--scheduler (argument 23): aps-mine 7.0 and ptycho-mine 2.5 both offer the scheduler Mine." in stderr
    assert "Choose aps-mine:Mine or ptycho-mine:Mine." in stderr
    assert "aps-mine 7.0 and ptycho-mine 2.5 and thief 1.0 all offer the callback Watch." in stderr
    assert not (tmp_path / "clash").exists()

    assert train("chosen", "--scheduler", "APS_Mine:mine", "--callback", "ptycho-mine:watch") == (0, "")
    assert detector_intensity(tmp_path / "chosen") == [1e-3] * 10
    code, stderr = train("built-in", "--scheduler", "exponential")
    assert stderr == (
        "warning: thief 1.0 offers a scheduler Exponential too; the built-in one is used."
        " Choose the other with thief:Exponential.\n"
    )
    assert detector_intensity(tmp_path / "built-in")[5:] == [2e-3 * 0.95] * 5
    assert train("asked", "--scheduler", "thief:Exponential") == (0, "")
    assert detector_intensity(tmp_path / "asked") == [5e-4] * 10
    assert train("default", "--scheduler", "Default") == (0, "")
