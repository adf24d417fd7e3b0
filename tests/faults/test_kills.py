"""Runs that are killed at random moments, again and again, end as the run that was never killed: bit for bit.

``PTYCHO_KILLS=20`` kills each kind of run so often. A kill comes after a random time, or at a random operation on a
file of the run: it is opened to write, synchronised, renamed or removed. The run is resumed after each kill.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pytest

from ptycho_cli.cli import local_ranks
from ptycho_cli.cli.app import main

KILLS = int(os.environ.get("PTYCHO_KILLS", "1"))  # of each kind
FIRST = int(os.environ.get("PTYCHO_KILLS_FROM", "0"))  # seed
ACCUMULATE = ("--accumulate-grad-batches", "2")
TWO_RANKS = ("--devices", "2")
PLUGINS = Path(__file__).parents[2] / "plugins"
OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir"}  # audit events

# Kinds of runs; the tests of every change kill those of QUICK.
RUNS: dict[str, tuple[str, ...]] = {
    "Default": (),
    "Exponential": ("--scheduler-option", "every=1", *ACCUMULATE),
    "MultiStage": (),
    "Adaptive": ACCUMULATE,
    "WarmupCosine": ("--scheduler-option", "warmup=4"),
    "ReduceLROnPlateau": ("--scheduler-option", "patience=0", *ACCUMULATE),
    "OneCycle": ACCUMULATE,  # of plugins/ptycho-onecycle
    "WSD": (),  # of plugins/ptycho-wsd
    "Default, two ranks": (*ACCUMULATE, *TWO_RANKS),
    "OneCycle, two ranks": TWO_RANKS,
}
QUICK = ("OneCycle", "Default, two ranks")
KINDS = [pytest.param(name, marks=() if name in QUICK else pytest.mark.long) for name in RUNS]
LONGEST_S = 3.0  # about a run's time from its start to its end
FEWEST_OPERATIONS = {"open", "os.rename", "os.remove", "os.mkdir"}  # audit events


@pytest.fixture(scope="module", autouse=True)
def plugins(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Two plugins of this repository, installed as far as the program looks."""
    site = tmp_path_factory.mktemp("site")
    for module in ("ptycho_onecycle", "ptycho_wsd"):
        distribution = module.replace("_", "-")
        shutil.copy(PLUGINS / distribution / f"{module}.py", site)
        about = site / f"{module}-0.1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 0.1.0\n")
        (about / "entry_points.txt").write_text(f"[ptycho_cli]\n{module} = {module}\n")
    sys.path.insert(0, str(site))
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (str(site), before)))  # for ranks above 0
    yield
    sys.path.remove(str(site))
    os.environ.pop("PYTHONPATH") if before is None else os.environ.update(PYTHONPATH=before)


def at_operation(folder: Path, act: Callable[[int], None]) -> Callable[[], None]:
    """Let a process do something at each operation on files below a folder, with the number of the operation."""

    def before() -> None:
        done = [0]

        def watch(event: str, arguments: tuple[Any, ...]) -> None:
            if event not in OPERATIONS or not str(arguments[0]).startswith(str(folder)):
                return
            if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
                return
            done[0] += 1
            act(done[0])

        sys.addaudithook(watch)

    return before


def after_operations(number: int, folder: Path) -> Callable[[], None]:
    """Kill the process at its n-th operation on files below a folder."""
    return at_operation(folder, lambda done: os.killpg(os.getpid(), signal.SIGKILL) if done == number else None)


def after_time(seconds: float) -> Callable[[], None]:
    """Kill the process, and what it has started, after a time."""

    def before() -> None:
        timer = threading.Timer(seconds, os.killpg, (os.getpid(), signal.SIGKILL))
        timer.daemon = True
        timer.start()

    return before


def results(run: Path) -> dict[str, Any]:
    """What must not depend on kills."""
    with h5py.File(run / "reconstruction.h5") as file:
        found = np.asarray(file["object"]).tobytes()
    return {name: (run / name).read_bytes() for name in ("weights.safetensors", "metrics.csv")} | {"object": found}


class Length(NamedTuple):
    """How long a run takes from start to end, in seconds and in operations on its files."""

    seconds: float
    operations: int

    def random_kill(self, rng: random.Random, folder: Path) -> Callable[[], None]:
        """A kill at a random moment of it."""
        if rng.random() < 0.5:
            return after_time(rng.uniform(0, self.seconds))
        return after_operations(rng.randint(1, self.operations), folder)


def measured_run(start: Any, words: tuple[str, ...], folder: Path) -> Length:
    """Make a run in ``folder / "run"`` that is not killed."""
    count = os.open(folder.with_suffix(".count"), os.O_RDWR | os.O_CREAT)
    began = time.monotonic()
    before = at_operation(folder, lambda done: os.pwrite(count, f"{done}".encode(), 0) and None)
    ended = start("train", *words, "-o", folder / "run", before=before).wait()
    assert ended.code == 0, ended.err
    return Length(time.monotonic() - began, int(os.pread(count, 9, 0)))


def kill_and_resume(start: Any, words: tuple[str, ...], folder: Path, kills: list[Callable[[], None]]) -> list[str]:
    """Make a run in ``folder / "run"`` with these kills; return where each hit it."""
    run, hits = folder / "run", []
    for before in (*kills, None):
        resumes = (run / "run.json").exists()
        if not resumes:
            shutil.rmtree(run, ignore_errors=True)
        command = ("train", "--resume", run, "--quiet") if resumes else ("train", *words, "-o", run)
        ended = start(*command, before=before).wait()
        assert ended.code in (0, -signal.SIGKILL), ended
        assert "Traceback" not in ended.err
        if ended.code:
            trained, saved = (run / "weights.safetensors").exists(), list(run.glob("checkpoints/*.ckpt"))
            hits.append("after the training" if trained else "in it" if saved else "before its first checkpoint")
    return hits


class ForkedRank:
    """A rank above 0 as a fork in place of a new Python, which would take ten seconds to import torch."""

    def __init__(self, words: list[str], *, env: dict[str, str], stderr: Any, **_: Any) -> None:
        reads, writes = os.pipe()
        self.returncode: int | None = None
        self.pid = os.fork()
        if self.pid == 0:
            code = 1
            try:
                os.setsid()
                os.close(writes)
                os.environ.update(env)
                for number, descriptor in enumerate((reads, os.open(os.devnull, os.O_WRONLY), stderr.fileno())):
                    os.dup2(descriptor, number)
                threading.Thread(target=local_ranks._end_with_rank_0, daemon=True).start()
                code = main(words[3:])
            finally:
                os._exit(code)
        os.close(reads)
        self.stdin = os.fdopen(writes, "wb")

    def poll(self) -> int | None:
        if self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode

    def wait(self, timeout: float = 60.0) -> int | None:
        end = time.monotonic() + timeout
        while self.poll() is None and time.monotonic() < end:
            time.sleep(0.01)
        return self.returncode

    def kill(self) -> None:
        if self.poll() is None:
            os.kill(self.pid, signal.SIGKILL)


@pytest.mark.parametrize("name", KINDS)
def test_a_run_that_is_killed_ends_as_if_it_was_not(
    start: Any, tiny_scan: Path, small_training: tuple[str, ...], tmp_path: Path, monkeypatch: Any, name: str
) -> None:
    monkeypatch.setattr(local_ranks.subprocess, "Popen", ForkedRank)
    options = ("--scheduler", name.partition(",")[0], *RUNS[name], "--set", "checkpoint.save_top_k=2")
    words = (str(tiny_scan), *small_training, *options)
    (tmp_path / "whole").mkdir()
    length = measured_run(start, words, tmp_path / "whole")
    expected, hits = results(tmp_path / "whole" / "run"), []

    for number in range(FIRST, FIRST + KILLS, 2):  # after more kills a run has mostly got to its end
        folder, rng = tmp_path / str(number), random.Random(f"{name} {number}")
        folder.mkdir()
        kills = [length.random_kill(rng, folder) for _ in range(min(2, FIRST + KILLS - number))]
        hits += kill_and_resume(start, words, folder, kills)
        assert results(folder / "run") == expected
        assert [path.name for path in folder.rglob("*") if path.suffix in (".part", ".lock")] == []
        shutil.rmtree(folder)
    print(f"{name}: of {KILLS} kills {len(hits)} hit:", ", ".join(f"{hits.count(kind)} {kind}" for kind in set(hits)))
