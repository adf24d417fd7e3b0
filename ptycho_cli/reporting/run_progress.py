"""How far a run is, by its folder alone: ``run.json``, ``metrics.csv`` and the lock; also from another machine."""

from __future__ import annotations

import csv
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from filelock import FileLock, Timeout

from ptycho_cli.config.values import finite_number
from ptycho_cli.training.run_folder import METRICS, RECONSTRUCTION
from ptycho_cli.training.run_lock import LOCK
from ptycho_cli.training.run_record import RECORD, read_record

State = Literal["setting up", "training", "finishing", "trained", "stopped", "failed", "dead", "unknown"]
"""``finishing``: the reconstruction is made. ``dead``: the process ended without a word. ``unknown``: the lock cannot
be tried here, and the process is of another machine."""


@dataclass(frozen=True)
class RunProgress:
    """Progress of a run.

    Attributes:
        state: What it does, or how it ended.
        step: Optimizer steps done, with those before a resume.
        total_steps: Optimizer steps of the whole training; 0 before they are known.
        epoch: Epoch of the latest step, from 1; 0 before the first.
        epochs: Epochs of the whole training.
        steps_per_epoch: Optimizer steps of an epoch; 0 before they are known.
        first_step: Steps that were done before the run was resumed.
        learning_rate: Of the latest step.
        train_loss: Of the latest step.
        val_loss: Of the held-out frames, after the latest epoch.
        best_val_loss: The lowest of them.
        elapsed_s: Seconds from the start of the training to the latest step.
        seconds_left: Estimate for the training; None where nothing is known or left.
        silent_s: Seconds since the latest step.
        process: Host and number of the process.
        ended_by: Why a training ended well before its last step.
    """

    state: State
    step: int
    total_steps: int
    epoch: int
    epochs: int
    steps_per_epoch: int
    first_step: int
    learning_rate: float | None
    train_loss: float | None
    val_loss: float | None
    best_val_loss: float | None
    elapsed_s: float | None
    seconds_left: float | None
    silent_s: float | None
    process: Mapping[str, Any]
    ended_by: str | None

    @property
    def ended(self) -> bool:
        """True if nothing more is to come."""
        return self.state in ("trained", "stopped", "failed", "dead")

    @property
    def finished_epochs(self) -> int:
        """Epochs that are done."""
        return self.epoch if self.step >= self.epoch * self.steps_per_epoch else self.epoch - 1

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


class FollowedRun:
    """A run that is looked at again and again; only new rows of ``metrics.csv`` are read.

    Args:
        folder: Folder of the run.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._offset = 0
        self._forget()

    def look(self) -> RunProgress:
        """Its progress now.

        Raises:
            CheckpointError: If the folder holds no run.
        """
        record = read_record(self.folder)
        works = _works(self.folder, record.get("process", {}))
        if works is False:  # a run records its end before it gives up its lock, so this may be newer
            record = read_record(self.folder)
        self._read_rows()
        effective, now = record.get("effective", {}), time.time()
        state = self._state(record, works, started=bool(effective))
        total, first = _whole(effective.get("total_steps")), _whole(record.get("resumed_at_step"))
        if state == "trained":
            total = self._step or total
        written_s = _modified_s(self.folder / METRICS) if self._step else None
        # run.json is written last where the first step begins, and both times are of the same clock
        began_s = _modified_s(self.folder / RECORD) if state in ("training", "dead", "unknown") else None
        elapsed_s = None if written_s is None or began_s is None else max(written_s - began_s, 0.0)
        left_s = None
        if elapsed_s and self._step > first and state in ("training", "unknown"):
            left_s = elapsed_s / (self._step - first) * max(total - self._step, 0)
        epochs = record["config"].get("training", {}).get("epochs")
        return RunProgress(
            state=state, step=self._step, total_steps=total, epoch=self._epoch, epochs=_whole(epochs),
            steps_per_epoch=_whole(effective.get("steps_per_epoch")), first_step=first,
            learning_rate=self._rate, train_loss=self._loss, val_loss=self._held_out[-1] if self._held_out else None,
            best_val_loss=min(self._held_out, default=None), elapsed_s=elapsed_s, seconds_left=left_s,
            silent_s=None if written_s is None else max(now - written_s, 0.0),
            process=record.get("process", {}), ended_by=record.get("ended_by"),
        )  # fmt: skip

    def _state(self, record: Mapping[str, Any], works: bool | None, *, started: bool) -> State:
        status = record.get("status", "")
        if status == "trained":
            done = (self.folder / f"{RECONSTRUCTION}.h5").exists()
            return "finishing" if works or (works is None and not done) else "trained" if done else "dead"
        if status in ("stopped", "failed") and not works:
            return "stopped" if status == "stopped" else "failed"
        if works is None:
            return "unknown"
        return "dead" if not works else "training" if started and self._step else "setting up"

    def _forget(self) -> None:
        self._step, self._epoch, self._rest = 0, 0, ""
        self._rate: float | None = None
        self._loss: float | None = None
        self._held_out: list[float] = []
        self._columns: list[str] = []

    def _read_rows(self) -> None:
        """Take in the rows that were added; a file that is shorter now was cut back by a resume."""
        path = self.folder / METRICS
        try:
            if path.stat().st_size < self._offset:
                self._offset = 0
                self._forget()
            with path.open("rb") as file:
                file.seek(self._offset)
                added = file.read()
        except OSError:
            return
        self._offset += len(added)
        *lines, self._rest = (self._rest + added.decode(errors="replace")).split("\n")
        for cells in csv.reader(lines):
            if not self._columns:
                self._columns = cells
            elif len(cells) == len(self._columns):
                self._take(dict(zip(self._columns, cells, strict=True)))

    def _take(self, row: Mapping[str, str]) -> None:
        if not row.get("step", "").isdigit() or not row.get("epoch", "").isdigit():
            return
        self._step, self._epoch = int(row["step"]), int(row["epoch"]) + 1
        self._rate, self._loss = finite_number(row.get("learning_rate")), finite_number(row.get("train_loss"))
        if (held_out := finite_number(row.get("val_loss"))) is not None:
            self._held_out.append(held_out)


def _works(folder: Path, process: Mapping[str, Any]) -> bool | None:
    """True if a process works in the folder: it holds the lock. None if that cannot be known here."""
    if not (folder / LOCK).exists():
        return False
    lock = FileLock(folder / LOCK)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    except OSError:  # no right to write there
        return _is_alive(process)
    lock.release()
    return False


def _is_alive(process: Mapping[str, Any]) -> bool | None:
    number = process.get("pid")
    if process.get("host") != socket.gethostname() or not isinstance(number, int):
        return None
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is somebody else's
        return True
    return True


def _modified_s(path: Path) -> float | None:
    try:
        return path.stat().st_mtime
    except OSError:
        return None


def _whole(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
