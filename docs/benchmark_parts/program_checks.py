"""Benchmarks of the program itself: learning rates against their closed form, start-up times, threads."""

from __future__ import annotations

import csv
import json
import sys
import time
from pathlib import Path
from statistics import median

from benchmark_parts.harness import PTYCHO, STAR64, head, ptycho, row, run

SETTINGS_FILES = {
    "a.yaml": "training:\n  epochs: 3\n  batch_size: 2\nscheduler:\n  name: Exponential\n",
    "b.yaml": "training:\n  seed: 3\noptimizer:\n  weight_decay: 0.1\n",
    "c.yaml": "scheduler:\n  options:\n    gamma: 0.9\noptimizer:\n  learning_rate: 1e-3\n",
}
TWENTY_SETTINGS = (
    "--set training.gradient_clip_val=1 --set data.group_size=32 --set physics.alpha=1"
    " --set execution.precision=64-true --set execution.num_workers=2 --set physics.probe_warmup=3"
    " --epochs 9 --batch-size 4 --seed 7"
    " --learning-rate 1e-3 --scheduler Exponential --scheduler-option gamma=0.8 --accumulate-grad-batches 2"
    " --loss amplitude --devices 1 --accelerator cpu --no-deterministic --logger none --checkpoint-save-top-k 3"
    " --n-groups 100"
)
HELLO = "import typer\n\n\ndef main(name: str = 'you') -> None:\n    print('hello', name)\n\n\ntyper.run(main)\n"
REPEATS = 15
THREADS = {  # environment
    "1 thread": {"OMP_NUM_THREADS": "1"},
    "2 threads that spin": {"OMP_NUM_THREADS": "2", "GOMP_SPINCOUNT": "300000"},  # what GNU's OpenMP does by default
    "2 threads that sleep": {"OMP_NUM_THREADS": "2"},  # what the program sets
}


def rates(folder: Path) -> None:
    """The learning rate of every optimizer step, against its closed form."""
    where = folder / "rates"
    options = ("--scheduler", "Exponential", "--accumulate-grad-batches", "4", "--epochs", "3")
    ptycho("train", STAR64, "-o", str(where), *options)
    effective = json.loads((where / "run.json").read_text())["effective"]
    base, per_epoch = effective["learning_rates"]["network"], effective["steps_per_epoch"]
    with (where / "metrics.csv").open() as file:
        found = [(int(line["step"]), float(line["learning_rate"])) for line in csv.DictReader(file)]
    largest = max(abs(rate / (base * 0.95 ** ((step - 1) // per_epoch)) - 1) for step, rate in found)
    head("optimizer steps", "steps per epoch", "largest relative difference from 0.95^epoch")
    row(len(found), per_epoch, f"{largest:.1e}")


def startup(folder: Path) -> None:
    """CPU time of commands that load no torch, against a typer program that prints hello."""
    for name, text in {**SETTINGS_FILES, "hello.py": HELLO}.items():
        (folder / name).write_text(text)
    files = [word for name in SETTINGS_FILES for word in ("-c", str(folder / name))]
    complete = ("_PTYCHO_COMPLETE=complete_bash", "COMP_WORDS=ptycho train --sch", "COMP_CWORD=2", PTYCHO)
    commands = {
        "typer hello": (sys.executable, str(folder / "hello.py")),
        "ptycho --help": (PTYCHO, "--help"),
        "ptycho inspect-config": (PTYCHO, "inspect-config"),
        "the same, three files and twenty settings": (PTYCHO, "inspect-config", *files, *TWENTY_SETTINGS.split()),
        "ptycho train --help": (PTYCHO, "train", "--help"),
        "completion of ptycho train --sch": ("env", *complete),
    }
    times: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(REPEATS):
        for name, words in commands.items():
            times[name].append(run(*words)[1])
    head("command", "CPU ms", "times a typer hello")
    for name, values in times.items():
        row(name, round(1000 * median(values)), round(median(values) / median(times["typer hello"]), 2))


def threads(folder: Path) -> None:
    """A short training with threads that spin or sleep while they wait: medians of three, start-up included."""
    scan = str(folder / "threads.h5")
    ptycho("simulate", "-o", scan, "--frames", "100", "--size", "32")
    words = (PTYCHO, "train", scan, "-o", str(folder / "threads"), "--epochs", "1", "--n-groups", "6", "--force")
    wall_s: dict[str, list[float]] = {name: [] for name in THREADS}
    cpu_s: dict[str, list[float]] = {name: [] for name in THREADS}
    for _ in range(3):
        for name, environment in THREADS.items():
            start = time.perf_counter()
            cpu_s[name].append(run(*words, environment=environment)[1])
            wall_s[name].append(time.perf_counter() - start)
    head("threads", "wall s", "CPU s")
    for name in THREADS:
        row(name, round(median(wall_s[name]), 1), round(median(cpu_s[name]), 1))
