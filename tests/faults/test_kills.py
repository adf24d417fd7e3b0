"""Runs that are killed at random moments, again and again, end as the run that was never killed: bit for bit.

``PTYCHO_KILLS=20`` kills each kind of run so often; kills that come too late do not count. A kill comes after a random
CPU time, by a timer of the system that ends the process in the midst of whatever it does, or is SIGKILL at a random
operation on a file of the run: it is opened to write, renamed or removed. The run is resumed after each kill.
"""

from __future__ import annotations

import itertools
import mmap
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
EPOCHS, EACH = 8, 3  # of a run; kills of one run, at most
AFTER_S = 0.6  # CPU seconds at the end of a run in which it is killed
KILLED = (-signal.SIGKILL, -signal.SIGPROF)
SET_UP, TRAINING, CHECKPOINT, END = PHASES = ("in set-up", "in training", "at a checkpoint", "at the end")


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


def phase_at(event: str, path: str, phase: str) -> str:
    """The phase of a run that does this with one of its files."""
    name = Path(path).name
    if event == "open" and name == "metrics.csv":
        return TRAINING
    if ".ckpt" in name:
        return CHECKPOINT
    return END if event == "open" and name.startswith(".weights") else phase


class Length(NamedTuple):
    """CPU seconds until a run trains, and until it has trained; operations on its files until then."""

    begins: float
    ends: float
    operations: int


class Watch:
    """What a run in another process has done so far: its phase, and operations on files below a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = str(folder)
        self._shared = np.frombuffer(mmap.mmap(-1, mmap.PAGESIZE), np.float64)  # also with forked processes

    def before(self, kill: Kill) -> Callable[[], None]:
        """What the process does first: it starts to watch itself, and may set a timer for its end."""

        def begin() -> None:
            self._shared[:] = 0
            if kill.seconds:
                signal.setitimer(signal.ITIMER_PROF, kill.seconds)
            sys.addaudithook(lambda event, arguments: self._see(event, arguments, kill.operations))

        return begin

    def _see(self, event: str, arguments: tuple[Any, ...], last: int) -> None:
        if event not in OPERATIONS or not str(arguments[0]).startswith(self.folder):
            return
        if event == "open" and not (isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")):
            return
        phase, number = phase_at(event, str(arguments[0]), self.phase), self._shared[1] + 1
        if not self._shared[2 + PHASES.index(phase)]:
            self._shared[2 + PHASES.index(phase)] = time.process_time()
        if phase == END != self.phase:
            self._shared[6] = number
        self._shared[:2] = PHASES.index(phase), number
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)
        if phase == CHECKPOINT and event == "os.remove":  # which follows each renaming
            self._shared[0] = PHASES.index(TRAINING)

    @property
    def phase(self) -> str:
        """The phase it is in."""
        return PHASES[int(self._shared[0])]

    def length(self) -> Length:
        """How long a run that has ended has trained."""
        return Length(
            *(float(self._shared[2 + PHASES.index(phase)]) for phase in (TRAINING, END)), int(self._shared[6])
        )


class Kill(NamedTuple):
    """A moment to kill a run: CPU seconds after its start, or its n-th operation on a file; 0 for never."""

    seconds: float = 0.0
    operations: int = 0


def random_kill(rng: random.Random, length: Length, earlier: int) -> Kill:
    """A kill at a random moment, mostly while the run trains; it has less to train if it was killed before."""
    kind, left = rng.random(), 1 / (1 + earlier)
    if kind < 0.15:
        return Kill(seconds=rng.uniform(1e-3, length.begins))
    if kind < 0.55:
        return Kill(seconds=length.begins + rng.uniform(0, left * (length.ends - length.begins)))
    if kind < 0.9:
        return Kill(operations=rng.randint(1, int(left * length.operations)))
    return Kill(seconds=length.ends + rng.uniform(0, AFTER_S))


def results(run: Path) -> dict[str, Any]:
    """What must not depend on kills."""
    with h5py.File(run / "reconstruction.h5") as file:
        found = np.asarray(file["object"]).tobytes()
    return {name: (run / name).read_bytes() for name in ("weights.safetensors", "metrics.csv")} | {"object": found}


def go_on(start: Any, words: tuple[str, ...], run: Path, watch: Watch, kill: Kill) -> int:
    """Start a run, or resume it where it has begun; return its exit code, which is negative if it was killed."""
    resumes = (run / "run.json").exists()
    if not resumes:
        shutil.rmtree(run, ignore_errors=True)
    command = ("--resume", run, "--quiet") if resumes else (*words, "-o", run)
    ended = start("train", *command, "--no-report", before=watch.before(kill)).wait()
    assert ended.code in (0, *KILLED), ended
    assert "Traceback" not in ended.err
    return int(ended.code)


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
    words = (str(tiny_scan), *small_training, "--set", f"training.epochs={EPOCHS}", *options)
    watch = Watch(tmp_path / "whole")
    assert go_on(start, words, tmp_path / "whole", watch, Kill()) == 0
    expected, length, hits = results(tmp_path / "whole"), watch.length(), list[str]()

    for number in itertools.count(FIRST):
        run, rng = tmp_path / str(number), random.Random(f"{name} {number}")
        watch = Watch(run)
        for earlier in range(min(EACH, KILLS - len(hits))):
            if go_on(start, words, run, watch, random_kill(rng, length, earlier)) == 0:
                break
            hits.append(watch.phase)
        assert go_on(start, words, run, watch, Kill()) == 0
        assert results(run) == expected
        assert [path.name for path in run.rglob("*") if path.suffix in (".part", ".lock")] == []
        shutil.rmtree(run)
        if len(hits) >= KILLS:
            break
    print(f"{name}: {len(hits)} kills,", ", ".join(f"{hits.count(phase)} {phase}" for phase in PHASES))
