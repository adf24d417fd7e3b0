"""``metrics.csv``: the learning rate that every optimizer step used, and the losses; beside it other figures."""

from __future__ import annotations

import csv
import time
from collections.abc import Callable, Mapping
from io import TextIOWrapper
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger

from ptycho_cli.training.run_folder import CALLBACK_METRICS
from ptycho_cli.whole_file import replacing

COLUMNS = ("step", "epoch", "learning_rate", "train_loss", "val_loss")
CALLBACK_COLUMNS = ("step", "epoch", "name", "value")
_FLUSH_S = 1.0
LOSS_WEIGHT = "loss_weight"  # an additional column if the schedule sets the weights of the losses


class MetricsLog(Logger):
    """A Lightning logger with fixed columns, one row for each applied optimizer step.

    Row ``step = k``, k from 1, holds the rate used by optimizer step k, its epoch, from 0, and the mean
    loss over the groups of that step; ``val_loss`` is in the last row of an epoch. The norm of the gradient and what
    callbacks log go to ``callback_metrics.csv`` beside it, one row for each value.

    Args:
        path: File to write.
        keep_steps: On resume, the optimizer steps of the checkpoint; later rows are removed. None starts a new file.
        staged: Write the loss weight of each step as a column.
        reached: Returns optimizer steps and epoch that the training has reached, and the name of the callback whose
            hook is running, if there is one; for the rows of callbacks.
        keep_callbacks: Write ``callback_metrics.csv``.
    """

    def __init__(
        self,
        path: Path,
        *,
        keep_steps: int | None = None,
        staged: bool = False,
        reached: Callable[[], tuple[int, int, str | None]] = lambda: (0, 0, None),
        keep_callbacks: bool = True,
    ) -> None:
        super().__init__()
        self.path, self.callback_path = path, path.with_name(CALLBACK_METRICS)
        self.logged_by: dict[str, str] = {}  # names of callbacks, by the names of the values that they log
        self._reached, self._keep_callbacks, self._kept_steps = reached, keep_callbacks, keep_steps or 0
        self._columns: tuple[str, ...] = (*COLUMNS, LOSS_WEIGHT) if staged else COLUMNS
        self._row: dict[str, Any] = {}
        self._flushed_s = 0.0
        self._file: TextIOWrapper | None = None
        self._callback_rows: list[dict[str, Any]] = []
        self._start(keep_steps)

    @property
    def name(self) -> str:
        """Name that Lightning shows."""
        return "metrics"

    @property
    def version(self) -> int:
        """Always 0, since a run has one file."""
        return 0

    @property
    def steps_done(self) -> int:
        """Optimizer steps that the training has reached, with those before a resume."""
        return max(self._reached()[0], self._kept_steps)

    def owner_of(self, name: str) -> str | None:
        """Name of the callback that logs a value; None if nobody knows."""
        return self.logged_by.get(name, self._reached()[2])

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Write nothing; the settings are in ``run.json``."""

    def log_step(self, step: int, values: Mapping[str, float]) -> None:
        """Add values to the row of an optimizer step; the row is written once a later one begins."""
        if self._row and self._row["step"] != step:
            self._write_row()
        self._row.update({name: value for name, value in values.items() if name in self._columns}, step=step)

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Keep what callbacks log, with the optimizer step that the training has reached; Lightning counts batches."""
        done, epoch, _ = self._reached()
        for name, value in metrics.items():
            if name != "epoch":  # Lightning adds it to everything
                owner = self.owner_of(name)
                title = name if owner is None else f"{owner}:{name}"
                self.log_beside(done, epoch, title, float(value))

    def log_beside(self, step: int, epoch: int, name: str, value: float) -> None:
        """Keep a figure that has no column in ``metrics.csv``."""
        if self._keep_callbacks:
            self._callback_rows.append(dict(zip(CALLBACK_COLUMNS, (step, epoch, name, value), strict=True)))

    def flush(self) -> None:
        """Write the last row too; afterwards nothing may be added to it."""
        self._write_row()
        if self._file is not None:
            self._file.flush()
        if self._callback_rows:
            _append(self.callback_path, self._callback_rows)
            self._callback_rows = []

    def finalize(self, status: str) -> None:
        """Write everything and close the file; called by Lightning at the end, also after an error."""
        self.flush()
        if self._file is not None:
            self._file.close()
            self._file = None

    def _start(self, keep_steps: int | None) -> None:
        rows = [] if keep_steps is None else _rows_up_to(self.path, keep_steps)
        if any(row.get(LOSS_WEIGHT) for row in rows):
            self._columns = (*COLUMNS, LOSS_WEIGHT)
        _write(self.path, self._columns, rows)
        if self.callback_path.exists():
            kept = [] if keep_steps is None else _rows_up_to(self.callback_path, keep_steps)
            _write(self.callback_path, CALLBACK_COLUMNS, kept)

    def _write_row(self) -> None:
        if not self._row:
            return
        if self._file is None:
            self._file = self.path.open("a", newline="", encoding="utf-8")
        # repr of a float is the shortest text that reads back as the same number
        csv.DictWriter(self._file, self._columns).writerow(self._row)
        if time.monotonic() - self._flushed_s > _FLUSH_S:  # others follow the run by this file
            self._file.flush()
            self._flushed_s = time.monotonic()
        self._row = {}


def _write(path: Path, columns: tuple[str, ...], rows: list[dict[str, str]]) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)


def _append(path: Path, rows: list[dict[str, Any]]) -> None:
    is_new = not path.exists()
    with path.open("a", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, CALLBACK_COLUMNS)
        if is_new:
            writer.writeheader()
        writer.writerows(rows)


def _rows_up_to(path: Path, steps: int) -> list[dict[str, str]]:
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        # A row that a kill cut short has no valid step. The steps after the checkpoint are repeated.
        return [row for row in csv.DictReader(file) if (row["step"] or "").isdigit() and int(row["step"]) <= steps]
