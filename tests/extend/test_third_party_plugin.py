"""A third-party plugin, used from the shell: list, show, train, interrupt, resume.

Every command runs in a separate process, with the plugin's folder on the path. The plugins use only what
docs/plugins.md describes.
"""

from __future__ import annotations

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file

SCHEDULER = '''
"""A scheduler that drops at milestones."""

from pydantic import Field

from ptycho_cli.extend import Length, Options, Schedule, SchedulerEntry, closed_form, hookimpl

ptycho_plugin_api = 1


class StairsOptions(Options):
    """Milestones and factor."""

    milestones: tuple[Length, ...] = Field((Length.parse("50%"),), description="Where the rate drops.")
    factor: float = Field(0.5, gt=0.0, le=1.0, description="Factor at each of them.")


def build_stairs(optimizer, span, options):
    steps = [length.steps(span) for length in options.milestones]
    return Schedule(closed_form(optimizer, lambda step: options.factor ** sum(step >= at for at in steps)))


@hookimpl
def ptycho_schedulers():
    yield SchedulerEntry("Stairs", "Drop at milestones.", StairsOptions, build_stairs)
'''
CALLBACKS = '''
"""Two callbacks that write the learning rate of every batch; one of them can interrupt the training."""

import os
import signal

from pydantic import Field

from ptycho_cli.extend import CallbackEntry, Options, hookimpl

ptycho_plugin_api = 1


class NoteOptions(Options):
    """Batch of the interrupt."""

    stop_at: int = Field(0, ge=0, description="Number of batches before Ctrl-C; 0: never.")


def build(context, name, stop_at):
    from lightning.pytorch import Callback

    class Note(Callback):
        seen = 0

        def on_train_batch_end(self, trainer, pl_module, *arguments):
            self.seen += 1
            with (context.run_dir / "notes.txt").open("a") as file:
                file.write(f"{name} {self.seen} {trainer.optimizers[0].param_groups[0]['lr']:.6g}\\n")
            if self.seen == stop_at:
                os.kill(os.getpid(), signal.SIGINT)

        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state_dict):
            self.seen = state_dict["seen"]

    Note.__qualname__ = name  # two callbacks of one class would share their state
    return Note()


@hookimpl
def ptycho_callbacks():
    note = lambda context, options: build(context, "Note", options.stop_at)
    echo = lambda context, options: build(context, "Echo", 0)
    return [CallbackEntry("Note", "Note.", NoteOptions, note), CallbackEntry("Echo", "Note too.", Options, echo)]
'''
SMALL = (
    *("--n-groups", "6", "--group-size", "6", "--accelerator", "cpu", "--quiet", "--accumulate-grad-batches", "2"),
    "--no-report",
)
NETWORK = ("model.options.stages=1", "model.options.subsets=1", "model.options.width=4")
QUICK = (*NETWORK, "physics.probe_warmup=0", "inference.polish=0")
SETTINGS = (*SMALL, *(word for text in QUICK for word in ("--set", text)), "--epochs", "4")


def install(site: Path, distribution: str, version: str, code: str) -> None:
    """Write a module and its metadata into a folder, as an installer does, and remove an older version."""
    module = distribution.replace("-", "_")
    for earlier in site.glob(f"{module}-*.dist-info"):
        shutil.rmtree(earlier)
    (site / f"{module}.py").write_text(code)
    metadata = site / f"{module}-{version}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    (metadata / "entry_points.txt").write_text(f"[ptycho_cli]\n{module} = {module}\n")


class Shell:
    """Calls ``ptycho`` in a separate process, in one folder, with one folder of plugins on the path."""

    def __init__(self, folder: Path, site: Path) -> None:
        self.folder = folder
        kept = {name: value for name, value in os.environ.items() if not name.startswith("PTYCHO_")}
        self.environment = {**kept, "PYTHONPATH": str(site), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}

    def __call__(self, line: str, *words: str, code: int = 0, **variables: str) -> tuple[str, str]:
        done = subprocess.run(
            [sys.executable, "-m", "ptycho_cli", *line.split(), *words],
            cwd=self.folder,
            env={**self.environment, **variables},
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert done.returncode == code, done.stderr
        return done.stdout, done.stderr


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("site")


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, site: Path) -> Shell:
    install(site, "beamline-stairs", "0.3", SCHEDULER)
    install(site, "beamline-notes", "1.2", CALLBACKS)
    shell = Shell(tmp_path_factory.mktemp("work"), site)
    shell("simulate -o scan.h5 --frames 24 --size 16 --seed 1 --quiet")
    return shell


@pytest.fixture(scope="module")
def whole(shell: Shell) -> Path:
    """The folder of a training without interruption, with both callbacks."""
    chosen = ("--scheduler", "Stairs", "--scheduler-option", "milestones=4, 2ep, 75%")
    shell("train scan.h5 -o whole --callback Note --callback Echo", *chosen, *SETTINGS)
    return shell.folder / "whole"


def rows(run: Path) -> list[dict[str, str]]:
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_it_is_listed_checked_shown_and_explained(shell: Shell) -> None:
    listed = json.loads(shell("plugins list --json")[0])
    assert [(item["distribution"], item["version"], item["schedulers"], item["callbacks"]) for item in listed[1:]] == [
        ("beamline-notes", "1.2", [], ["Note", "Echo"]),
        ("beamline-stairs", "0.3", ["Stairs"], []),
    ]
    assert "beamline-stairs 0.3 (beamline_stairs): ok" in shell("plugins check")[0]

    words = ("--epochs", "4", "--steps-per-epoch", "6", "--accumulate-grad-batches", "2")
    shown = json.loads(shell("schedulers show stairs --json --scheduler-option milestones=4,2ep,75%", *words)[0])
    assert shown["option_steps"] == {"milestones": [4, 6, 9]}
    assert shown["learning_rate"] == [2e-3] * 4 + [1e-3] * 2 + [5e-4] * 3 + [2.5e-4] * 3

    output, _ = shell(
        "inspect-config --scheduler Stairs --scheduler-option factor=0.1 --explain scheduler.options.factor"
    )
    assert output.startswith("scheduler.options.factor = 0.1\n  from --scheduler-option (argument 4)\n  overrides 0.5")


def test_the_rates_of_a_real_training_are_those_that_were_shown(whole: Path) -> None:
    rates = [float(row["learning_rate"]) for row in rows(whole)]

    assert rates == [2e-3] * 4 + [1e-3] * 2 + [5e-4] * 3 + [2.5e-4] * 3


def test_callbacks_run_in_the_order_given(whole: Path) -> None:
    lines = (whole / "notes.txt").read_text().splitlines()

    assert [line.split()[0] for line in lines] == ["Note", "Echo"] * 24


def test_the_record_lists_the_plugins_and_their_entries(whole: Path) -> None:
    record = json.loads((whole / "run.json").read_text())

    listed = {item["distribution"]: (item["version"], item["schedulers"]) for item in record["plugins"]}
    assert listed["beamline-stairs"] == ("0.3", ["Stairs"])
    assert listed["beamline-notes"] == ("1.2", [])
    assert record["effective"]["scheduler_lengths"] == {"milestones": [4, 6, 9]}


def test_a_training_interrupted_and_resumed_equals_one_without_a_break(shell: Shell, whole: Path) -> None:
    """After Ctrl-C within an accumulation window, rates, weights and callback states continue exactly."""
    run = shell.folder / "cut"
    chosen = ("--scheduler", "Stairs", "--scheduler-option", "milestones=4, 2ep, 75%")
    stop = ("--callback", "Note", "--callback-option", "Note.stop_at=9", "--callback", "Echo")
    stderr = shell(f"train scan.h5 -o {run.name}", *chosen, *stop, *SETTINGS, code=130)[1]
    assert f"Resume it with: ptycho train --resume {run.name}" in stderr

    shell(f"train --resume {run.name} --quiet")

    assert rows(run) == rows(whole)
    ours, theirs = (load_file(folder / "weights.safetensors") for folder in (run, whole))
    assert ours.keys() == theirs.keys()
    assert all(np.array_equal(ours[name], theirs[name]) for name in theirs)
    assert (run / "notes.txt").read_text() == (whole / "notes.txt").read_text()


@pytest.mark.long
def test_resuming_with_another_version_names_both(shell: Shell, whole: Path, site: Path) -> None:
    shutil.copytree(whole, shell.folder / "older")
    install(site, "beamline-stairs", "0.4", SCHEDULER.replace("step >= at", "step > at"))
    install(site, "beamline-notes", "1.3", CALLBACKS)
    try:
        line = "train --resume older --epochs 5 --set scheduler.options.milestones=13 --quiet"
        refused = shell(line, code=2)[1]
        stderr = shell(f"{line.removesuffix('--quiet')} --resume-schedule config")[1]
        rates = [float(row["learning_rate"]) for row in rows(shell.folder / "older")]
    finally:
        install(site, "beamline-stairs", "0.3", SCHEDULER)
        install(site, "beamline-notes", "1.2", CALLBACKS)

    assert "its scheduler is 'Stairs' of beamline-stairs 0.3, but beamline-stairs 0.4 is installed." in refused
    assert "callback Note: the run was made with beamline-notes 1.2, and 1.3 is installed." in stderr
    assert rates[12:] == [2e-3, 2e-3, 1e-3]  # version 0.4 drops one step later


def test_a_missing_plugin_is_named_when_its_run_is_resumed(shell: Shell, whole: Path, tmp_path: Path) -> None:
    stderr = shell("train --resume whole --quiet", code=2, PYTHONPATH=str(tmp_path))[1]

    assert (
        "checkpoint whole: there is no scheduler beamline-stairs:Stairs. It came from beamline-stairs 0.3. Install"
        in stderr
    )
    assert "checkpoint whole: there is no callback beamline-notes:Echo. It came from beamline-notes 1.2." in stderr
    stderr = shell("train --resume whole --quiet --no-plugin beamline-stairs", code=2)[1]
    assert "It came from beamline-stairs 0.3. Blocked: beamline-stairs 0.3 (beamline_stairs)." in stderr


def test_no_plugin_prevents_the_import(shell: Shell, site: Path, tmp_path: Path) -> None:
    """The module writes a file when it is imported."""
    trace = tmp_path / "imported"
    install(site, "beamline-trace", "1.0", f"open({str(trace)!r}, 'w').close()\n{SCHEDULER}".replace("Stairs", "Trace"))
    try:
        shell("schedulers list --no-plugin Beamline_Trace")
        shell("inspect-config --quiet", PTYCHO_NO_PLUGINS="1")
        assert not trace.exists()
        shell("schedulers list")
        assert trace.exists()
    finally:
        for left in site.glob("beamline_trace*"):
            shutil.rmtree(left) if left.is_dir() else left.unlink()
