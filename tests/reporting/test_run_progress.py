"""``ptycho watch`` tells from the folder alone how far a run is, and how it ended."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ptycho_cli.cli.app import main
from ptycho_cli.reporting import run_progress
from ptycho_cli.reporting.run_progress import FollowedRun
from ptycho_cli.training.run_lock import LOCK, RunLock

HEADER = "step,epoch,learning_rate,train_loss,val_loss\n"
THIS = {"host": socket.gethostname(), "pid": os.getpid()}


def write(folder: Path, status: str = "unfinished", rows: int = 0, **record: Any) -> Path:
    """A run of 5 epochs with 4 steps each, of which some are done; it began 20 s before its latest step."""
    folder.mkdir(exist_ok=True)
    record = {"config": {"training": {"epochs": 5}}, "status": status, "process": THIS, **record}
    (folder / "run.json").write_text(json.dumps({"effective": {"total_steps": 20, "steps_per_epoch": 4}, **record}))
    add_rows(folder / "metrics.csv", range(1, rows + 1))
    now = time.time()
    os.utime(folder / "run.json", (now - 20, now - 20))
    return folder


def add_rows(path: Path, steps: range) -> None:
    with path.open("a") as file:
        file.write(HEADER if path.stat().st_size == 0 else "")
        for step in steps:
            file.write(f"{step},{(step - 1) // 4},0.002,{1 / step},{2 / step if step % 4 == 0 else ''}\n")


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[Path]:
    (tmp_path / "run").mkdir()
    with RunLock() as lock:
        lock.take(tmp_path / "run")
        yield tmp_path / "run"


def test_a_run_that_trains_shows_its_figures_and_the_time_left(locked: Path) -> None:
    progress = FollowedRun(write(locked, rows=10)).look()

    assert (progress.state, progress.step, progress.total_steps) == ("training", 10, 20)
    assert (progress.epoch, progress.epochs) == (3, 5)
    assert (progress.learning_rate, progress.train_loss, progress.val_loss) == (0.002, 0.1, 0.25)
    assert progress.seconds_left == pytest.approx(20.0, abs=1.0)  # 10 of 20 steps took 20 s
    assert not progress.ended


def test_time_left_does_not_count_the_steps_before_a_resume(locked: Path) -> None:
    progress = FollowedRun(write(locked, rows=10, resumed_at_step=8)).look()

    assert progress.seconds_left == pytest.approx(100.0, abs=5.0)


@pytest.mark.parametrize(
    ("status", "files", "state"),
    [
        ("unfinished", ("metrics.csv", LOCK), "dead"),
        ("unfinished", ("metrics.csv",), "dead"),
        ("stopped", (), "stopped"),
        ("failed", (), "failed"),
        ("trained", ("reconstruction.h5",), "trained"),
        ("trained", (), "dead"),  # killed while it reconstructed
    ],
)
def test_a_run_without_a_process_is_named_for_what_it_is(
    tmp_path: Path, status: str, files: tuple[str, ...], state: str
) -> None:
    folder = write(tmp_path / "run", status, rows=3)
    for name in files:
        (folder / name).touch()

    progress = FollowedRun(folder).look()

    assert progress.state == state
    assert progress.ended
    assert progress.seconds_left is None


@pytest.mark.parametrize(
    ("status", "rows", "record", "state"),
    [
        ("unfinished", 0, {"effective": {}}, "setting up"),
        ("unfinished", 0, {}, "setting up"),
        ("trained", 20, {}, "finishing"),
        ("stopped", 5, {}, "training"),  # between a stop and the next start, a resumed run has the status of before
    ],
)
def test_a_run_with_a_process_is_not_over(
    locked: Path, status: str, rows: int, record: dict[str, Any], state: str
) -> None:
    progress = FollowedRun(write(locked, status, rows, **record)).look()

    assert progress.state == state
    assert not progress.ended


def test_where_the_lock_cannot_be_tried_the_process_of_this_machine_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class NoRight:
        def __init__(self, path: Path) -> None: ...

        def acquire(self, timeout: float) -> None:
            raise PermissionError

    monkeypatch.setattr(run_progress, "FileLock", NoRight)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    found = {}
    for name, process in {"mine": THIS, "gone": {**THIS, "pid": ended.pid}, "far": {"host": "far", "pid": 1}}.items():
        folder = write(tmp_path / name, rows=4, process=process)
        (folder / LOCK).touch()
        found[name] = FollowedRun(folder).look().state

    assert found == {"mine": "training", "gone": "dead", "far": "unknown"}


def test_a_run_that_ends_while_it_is_looked_at_is_not_dead(locked: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def ends(folder: Path, process: object) -> bool:
        write(folder, "stopped")
        return False

    write(locked, rows=4)
    monkeypatch.setattr("ptycho_cli.reporting.run_progress._works", ends)

    assert FollowedRun(locked).look().state == "stopped"


def test_only_new_rows_are_read_and_a_resume_starts_over(locked: Path) -> None:
    followed = FollowedRun(write(locked, rows=4))
    assert followed.look().step == 4

    with (locked / "metrics.csv").open("a") as file:
        file.write("5,1,0.002,0.2")  # the rest of the row is not written yet
    assert followed.look().step == 4
    with (locked / "metrics.csv").open("a") as file:
        file.write(",\n")
    assert followed.look().step == 5

    (locked / "metrics.csv").unlink()
    add_rows(locked / "metrics.csv", range(1, 4))
    progress = followed.look()
    assert (progress.step, progress.val_loss) == (3, None)


def test_watching_ends_with_the_run(locked: Path, monkeypatch: pytest.MonkeyPatch, capfd: Any) -> None:
    """Lines for epochs where there is no terminal, then the last figures; the exit code says how the run ended."""
    monkeypatch.setattr("ptycho_cli.cli.watch._EVERY_S", 0.02)
    write(locked, rows=3)

    def train() -> None:
        time.sleep(0.15)
        add_rows(locked / "metrics.csv", range(4, 9))
        time.sleep(0.15)
        write(locked, "stopped")  # as a run does, before it gives up its lock
        (locked / LOCK).unlink()

    thread = threading.Thread(target=train)
    thread.start()
    code = main(["watch", str(locked)])
    thread.join()

    printed = capfd.readouterr()
    assert code == 130
    assert "epoch 2/5  val_loss 0.25  train_loss 0.125  learning_rate 0.002" in printed.err
    assert f"stopped after optimizer step 8; resume it with: ptycho train --resume {locked}" in printed.out


def test_once_prints_the_figures_and_ends(locked: Path, capfd: Any) -> None:
    write(locked, rows=10)

    assert main(["watch", str(locked), "--once"]) == 0
    text = capfd.readouterr().out
    assert f"state: training (process {os.getpid()} on {socket.gethostname()})" in text
    assert "epoch 3 of 5, optimizer step 10 of 20 (50%)" in text
    assert main(["watch", str(locked), "--once", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["step"] == 10


def test_a_dead_run_is_named_with_the_way_out(tmp_path: Path, capfd: Any) -> None:
    folder = write(tmp_path / "run", rows=3)

    assert main(["watch", str(folder)]) == 3
    assert f"its process is gone (process {os.getpid()} on {socket.gethostname()})" in capfd.readouterr().out
    assert main(["watch", str(tmp_path / "other")]) == 2


def test_rows_reach_the_file_while_an_epoch_goes_on(small_scan: Path, tmp_path: Path) -> None:
    """Another process sees steps about a second after they are made, not only at the end of an epoch."""
    from ptycho_cli.training.metrics_log import MetricsLog

    log = MetricsLog(tmp_path / "metrics.csv")
    for step in (1, 2):
        log.log_step(step, {"epoch": 0, "learning_rate": 0.1, "train_loss": 0.5})

    assert (tmp_path / "metrics.csv").read_text().splitlines()[1:] == ["1,0,0.1,0.5,"]
    log.finalize("success")
