"""The progress of a training: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TextIO

from ptycho_cli.render.effective_table import print_effective

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

REFRESH_S = 0.2  # drawing costs milliseconds, so not at every step


class Outline(Protocol):
    """The size of a training."""

    @property
    def epochs(self) -> int:
        """Epochs of the whole training."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""

    @property
    def done_steps(self) -> int:
        """Steps that were done before."""

    @property
    def frames_per_step(self) -> float:
        """Frames that a step goes through."""


class TrainingProgress:
    """Shows epoch, loss, learning rate, frames per second and time left.

    Args:
        quiet: Show nothing but what Ctrl-C does.
        table: Print the table of effective values.
        file: Where progress goes; standard error by default.
    """

    def __init__(self, *, quiet: bool = False, table: bool = True, file: TextIO | None = None) -> None:
        from rich.console import Console

        self._console = Console(file=file or sys.stderr, highlight=False, emoji=False, markup=False)
        self._quiet, self._table = quiet, table
        self._bar: Progress | None = None
        self._task: TaskID | None = None
        self._outline: Outline | None = None
        self._began_s = self._drawn_s = 0.0
        self._step, self._rate = 0, 0.0

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """On a terminal, show that something takes its time."""
        if self._quiet or not self._console.is_terminal:
            yield
            return
        with self._console.status(what):
            yield

    def note(self, text: str) -> None:
        """Say something once."""
        if not self._quiet:
            self._console.print(f"note: {text}", soft_wrap=True)

    def effective(self, requested: Mapping[str, Any], effective: Mapping[str, Any], why: Mapping[str, str]) -> None:
        """Print what was built."""
        if self._table:
            print_effective(requested, effective, why)

    def started(self, outline: Outline) -> None:
        """Show the bar, on a terminal."""
        self._outline, self._step = outline, outline.done_steps
        self._began_s = self._drawn_s = time.monotonic()
        if self._quiet or not self._console.is_terminal:
            return
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=None),
            TextColumn("loss {task.fields[loss]}  rate {task.fields[rate]}  {task.fields[speed]} frames/s"),
            TimeRemainingColumn(),
            console=self._console,
            auto_refresh=False,
            transient=True,
        )
        total = outline.epochs * outline.steps_per_epoch
        fields = {"epoch": f"1/{outline.epochs}", "loss": "-", "rate": "-", "speed": "-"}
        self._task = self._bar.add_task(
            "", total=total, completed=outline.done_steps, start=True, visible=True, **fields
        )
        self._bar.start()

    def step(self, step: int, epoch: int, learning_rate: float, loss: float) -> None:
        """Move the bar, if it is time to draw."""
        self._step, self._rate = step, learning_rate
        now = time.monotonic()
        if self._bar is None or self._task is None or self._outline is None or now - self._drawn_s < REFRESH_S:
            return
        self._drawn_s = now
        self._bar.update(
            self._task,
            completed=step,
            epoch=f"{epoch + 1}/{self._outline.epochs}",
            loss=f"{loss:.4g}",
            rate=f"{learning_rate:.3g}",
            speed=f"{self._speed(now):.0f}",
            refresh=True,
        )

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Print a line where there is no bar."""
        if self._quiet or self._bar is not None or self._outline is None:
            return
        losses = "  ".join(f"{name} {value:.5g}" for name, value in figures.items())
        now = time.monotonic()
        steps = max(self._step - self._outline.done_steps, 1)
        left_s = (now - self._began_s) / steps * (self._outline.epochs * self._outline.steps_per_epoch - self._step)
        self._console.print(
            f"epoch {epoch + 1}/{self._outline.epochs}  {losses}  learning_rate {self._rate:.3g}"
            f"  {self._speed(now):.0f} frames/s  {left_s:.0f} s left",
            soft_wrap=True,
        )

    def stopping(self) -> None:
        """Say what the first Ctrl-C does."""
        self._console.print("Stopping after this step; press Ctrl-C again to quit at once.")

    def ended(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _speed(self, now: float) -> float:
        assert self._outline is not None
        frames = (self._step - self._outline.done_steps) * self._outline.frames_per_step
        return frames / max(now - self._began_s, 1e-9)
