"""One run folder, one process: a second one is refused, and a dead one leaves no lock behind."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.errors import CheckpointError, OutputError
from ptycho_cli.training.run_lock import LOCK, RunLock, require_trained, trains
from ptycho_cli.training.run_record import read_record
from ptycho_cli.training.training_events import NoEvents

HOLD = """
import sys, time
from pathlib import Path
from ptycho_cli.training.run_lock import RunLock, this_process
from ptycho_cli.training.run_record import write_record

with RunLock() as lock:
    lock.take(Path(sys.argv[1]))
    write_record(Path(sys.argv[1]), {"process": this_process()})
    print("held", flush=True)
    time.sleep(60)
"""


def test_another_process_is_named_and_its_death_frees_the_folder(tmp_path: Path) -> None:
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with RunLock() as lock, pytest.raises(OutputError, match=rf"another process trains .*process {holder.pid} on"):
            lock.take(tmp_path)
    finally:
        os.kill(holder.pid, signal.SIGKILL)
        holder.communicate()
    with RunLock() as lock:
        lock.take(tmp_path)
        lock.take(tmp_path)
    assert not (tmp_path / LOCK).exists()


def test_a_run_is_locked_while_it_trains_and_free_afterwards(small_run: Any, tmp_path: Path) -> None:
    refused: list[str] = []

    class Second(NoEvents):
        def step(self, step: int, epoch: int, learning_rate: float, loss: float) -> None:
            if step == 3:
                with pytest.raises(OutputError, match="another process trains in this folder") as caught:
                    small_run(tmp_path / "run", force=True)
                refused.append(caught.value.message)

    run = small_run(tmp_path / "run", events=Second())

    assert refused == [
        f"{tmp_path / 'run'}: another process trains in this folder "
        f"(process {os.getpid()} on {run.record['process']['host']!r})."
    ]
    assert (tmp_path / "run" / "weights.safetensors").exists()
    assert not (tmp_path / "run" / LOCK).exists()
    small_run(tmp_path / "run", force=True)


def test_the_record_of_a_dead_process_does_not_say_that_it_trains(small_run: Any, tmp_path: Path) -> None:
    """The lock tells who trains; ``infer`` says which of the two it is."""
    folder = tmp_path / "run"

    class Asks(NoEvents):
        def step(self, step: int, epoch: int, learning_rate: float, loss: float) -> None:
            assert (trains(folder), read_record(folder)["status"]) == (True, "unfinished")
            with pytest.raises(CheckpointError, match="is being trained"):
                require_trained(folder)
            if step == 2:
                os._exit(0)

    child = os.fork()
    if child == 0:
        with contextlib.suppress(BaseException):
            small_run(folder, events=Asks())
        os._exit(1)
    assert os.waitpid(child, 0)[1] == 0

    assert (trains(folder), read_record(folder)["status"]) == (False, "unfinished")
    with pytest.raises(CheckpointError, match="its training was stopped before its end") as caught:
        require_trained(folder)
    assert caught.value.hint == f"Finish it with: ptycho train --resume {folder}"
