"""Signals save a run in any of its phases, and the message says what is saved; the run resumes as if never stopped."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import termios
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from ptycho_cli.render.live_display import LiveDisplay

RESUMES = "ptycho train --resume"


def at_stage(wanted: str, *signals: int) -> Callable[[], None]:
    """Let the process send itself signals once a stage of its work begins."""

    def before() -> None:
        original, left = LiveDisplay.progress, list(signals)

        def progress(self: LiveDisplay, stage: str, done: int, total: int) -> None:
            original(self, stage, done, total)
            while stage == wanted and left:
                os.kill(os.getpid(), left.pop(0))

        LiveDisplay.progress = progress  # type: ignore[method-assign]

    return before


def at_step(wanted: int, *signals: int) -> Callable[[], None]:
    """Likewise at an optimizer step."""

    def before() -> None:
        original = LiveDisplay.step

        def step(self: LiveDisplay, step: int, *rest: Any) -> None:
            original(self, step, *rest)
            for number in signals if step == wanted else ():
                os.kill(os.getpid(), number)

        LiveDisplay.step = step  # type: ignore[method-assign]

    return before


@pytest.mark.parametrize(
    ("stage", "number"),
    [("loading torch", signal.SIGHUP), ("reading", signal.SIGTERM), ("setting up the training", signal.SIGUSR1)],
)
def test_before_the_training_a_signal_ends_it_and_leaves_nothing(
    start: Any, tiny_scan: Path, small_training: tuple[str, ...], tmp_path: Path, stage: str, number: int
) -> None:
    ended = start("train", tiny_scan, "-o", tmp_path / "run", *small_training, before=at_stage(stage, number)).wait()

    assert ended == (130, "", "stopped before the first optimizer step; there is nothing to save.\n")
    assert list(tmp_path.iterdir()) == []


def same_result(one: Path, other: Path) -> bool:
    with h5py.File(one / "reconstruction.h5") as first, h5py.File(other / "reconstruction.h5") as second:
        objects = np.array_equal(first["object"], second["object"])
    names = ("weights.safetensors", "metrics.csv")
    return objects and all((one / name).read_bytes() == (other / name).read_bytes() for name in names)


@pytest.mark.parametrize(
    ("before", "message"),
    [
        (at_step(7, signal.SIGUSR1), "after optimizer step 7 of 15; saved in"),
        (at_step(7, signal.SIGINT, signal.SIGINT), "after optimizer step 7 of 15; quit at once; step 5 is saved in"),
        (at_step(15, signal.SIGTERM, signal.SIGTERM), "before the reconstruction was written; the trained weights"),
        (at_stage("choosing the polish", signal.SIGINT, signal.SIGINT), "before the reconstruction was written"),
    ],
)
def test_in_any_phase_a_signal_says_what_is_saved_and_the_run_resumes_as_if_never_stopped(
    start: Any, tiny_scan: Path, small_training: tuple[str, ...], tmp_path: Path, whole: Path, before: Any, message: str
) -> None:
    """SIGTERM twice does not quit at once, as a second Ctrl-C does."""
    run = tmp_path / "run"

    ended = start("train", tiny_scan, "-o", run, *small_training, before=before).wait()

    assert ended.code == 130
    assert message in ended.err
    assert f"{RESUMES} {run}" in ended.err
    assert "Traceback" not in ended.err
    assert start("train", "--resume", run, "--quiet").wait().code == 0
    assert same_result(run, whole)


@pytest.mark.parametrize(("code", "outcome"), [(0, "is queued again."), (1, "could not be queued again (no).")])
def test_at_sigusr1_a_job_of_slurm_is_saved_and_queued_again(
    start: Any, tiny_scan: Path, small_training: tuple[str, ...], tmp_path: Path, code: int, outcome: str
) -> None:
    program = tmp_path / "bin" / "scontrol"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\necho "$@" > {tmp_path}/asked\necho no >&2\nexit {code}\n')
    program.chmod(0o755)
    job = {"SLURM_JOB_ID": "9", "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2", "SLURM_JOB_NAME": "star"}

    def before() -> None:
        os.environ |= {**job, "PATH": f"{program.parent}:{os.environ['PATH']}"}
        at_step(7, signal.SIGUSR1)()

    ended = start("train", tiny_scan, "-o", tmp_path / "run", *small_training, before=before).wait()

    assert (tmp_path / "asked").read_text() == "requeue 7_2\n"
    assert (
        f"stopped after optimizer step 7 of 15; saved in {tmp_path}/run/checkpoints. SLURM job 7_2 {outcome}"
        in ended.err
    )
    assert ended.code == 130


def test_a_closed_terminal_saves_the_run(
    start: Any, tiny_scan: Path, small_training: tuple[str, ...], tmp_path: Path
) -> None:
    """Its messages go nowhere: writing to the terminal would fail."""
    ours, theirs = pty.openpty()

    def before() -> None:
        for descriptor in (1, 2):
            os.dup2(theirs, descriptor)
        fcntl.ioctl(theirs, termios.TIOCSCTTY)
        os.close(ours)
        os.close(theirs)
        slow = LiveDisplay.step
        LiveDisplay.step = lambda self, *rest: (time.sleep(0.1), slow(self, *rest))  # type: ignore[assignment,method-assign,misc]

    loud = [word for word in small_training if word != "--quiet"]
    command = start("train", tiny_scan, "-o", tmp_path / "run", *loud, before=before)
    os.close(theirs)
    printed = b""
    while b"epoch 1/3" not in printed:
        printed += os.read(ours, 4096)
    os.close(ours)

    assert command.wait().code == 130
    assert json.loads((tmp_path / "run" / "run.json").read_text())["status"] == "stopped"
    assert (tmp_path / "run" / "checkpoints" / "last.ckpt").exists()
