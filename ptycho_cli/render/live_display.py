"""The live display on standard error: one row that shows the stage of the work, or the training."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from types import TracebackType
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, Self

from ptycho_cli.config.values import printable
from ptycho_cli.render.console import messages_console, print_folded, print_text
from ptycho_cli.render.effective_table import print_effective

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions
    from rich.progress import TaskID
    from rich.segment import Segment

_REFRESHES_PER_S = 5.0  # each costs about a millisecond
_FREE_COLUMNS = 3  # for the ^C that a terminal prints: it would wrap, and leave a row behind
_PICTURE_ROWS, _FEWEST_ROWS, _OTHER_ROWS = 24, 6, 4  # of a picture at most and at least, and of what stands below it


class TrainingSize(Protocol):
    """The size of a training."""

    @property
    def epochs(self) -> int:
        """Epochs of the whole training."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in an epoch."""

    @property
    def done_steps(self) -> int:
        """Steps that an earlier run has done, where this one resumes it."""

    @property
    def frames_per_step(self) -> float:
        """Frames in a step, on average; 0 if unknown."""


class _Narrower:
    """Leaves columns free; rich's own classes would fill them with spaces.

    Args:
        content: What rich prints.
    """

    def __init__(self, content: Any) -> None:
        self._content = content

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[Segment]:
        yield from console.render(self._content, options.update(width=max(options.max_width - _FREE_COLUMNS, 1)))


@cache
def _row_class() -> Any:
    """The class of the row, defined on first use because rich is slow to load."""
    from rich.progress import Progress

    class RowWithPicture(Progress):
        picture: Any = None

        def get_renderables(self) -> Iterable[Any]:
            if self.picture is not None:
                yield self.picture
            yield _Narrower(self.make_tasks_table(self.tasks))

    return RowWithPicture


class LiveDisplay:
    """The only live display of the program: a row on a terminal that shows a stage, or the training.

    It is a context manager. Its methods are the events of a training, and ``progress`` is the callback of all other
    long computations. While it is there, whatever is printed on the terminal stands above the row. Where standard
    error is no terminal, stages show nothing and each epoch of a training prints a line.

    Args:
        quiet: Show nothing but the answer to Ctrl-C, not even the table of effective values.
        picture: Show the phase of the object above the row, as far as the terminal is large enough.
    """

    _shown: ClassVar[LiveDisplay | None] = None

    def __init__(self, *, quiet: bool = False, picture: bool = False) -> None:
        self._console = messages_console()
        self._quiet, self._with_picture = quiet, picture
        self._row: Any = None  # a rich Progress
        self._task: TaskID | None = None
        self._stage = ""
        self._training: TrainingSize | None = None
        self._began_s, self._began_at = 0.0, 0
        self._step, self._learning_rate = 0, 0.0

    def __enter__(self) -> Self:
        on_terminal = sys.stderr.isatty() and self._console.is_interactive
        if self._quiet or not on_terminal or LiveDisplay._shown is not None:
            return self
        from rich.progress import BarColumn, TextColumn, TimeRemainingColumn

        self._row = _row_class()(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[details]}", markup=False),
            TimeRemainingColumn(),
            console=self._console,
            refresh_per_second=_REFRESHES_PER_S,
            transient=True,
            expand=True,
            redirect_stdout=sys.stdout.isatty(),  # results that go to a file must not end on the terminal
        )
        self._row.start()
        LiveDisplay._shown = self
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._row is not None:
            self._row.stop()
            self._row = LiveDisplay._shown = None

    @property
    def shows_pictures(self) -> bool:
        """True if it was asked for pictures, and there is a terminal."""
        return self._with_picture and self._row is not None

    def progress(self, stage: str, done: int, total: int) -> None:
        """Show how many parts of a stage are done, of how many; 0 of 0 where that is unknown."""
        if stage != self._stage:
            self._begin(stage, done, total)
        if self._row is None or self._task is None or not total:
            return
        speed = (done - self._began_at) / max(time.monotonic() - self._began_s, 1e-9)
        details = f"{done}/{total}" + (f"  {speed:.3g}/s" if speed else "")
        self._row.update(self._task, completed=done, total=total, details=details)

    def note(self, text: str) -> None:
        """Print a note."""
        if not self._quiet:
            print_folded(self._console, f"note: {text}")

    def result(self, *lines: str) -> None:
        """Print lines to standard output; above the row if both are on the terminal."""
        if self._quiet:
            return
        if self._row is not None and sys.stdout.isatty():
            print_folded(self._console, *lines)
        else:
            print_text(*lines)

    def effective(self, requested: Mapping[str, Any], effective: Mapping[str, Any], why: Mapping[str, str]) -> None:
        """Print what was built."""
        if self._quiet:
            return
        above_the_row = self._row is not None and sys.stdout.isatty()
        print_effective(requested, effective, why, console=self._console if above_the_row else None)

    def started(self, size: TrainingSize, *, elapsed_s: float = 0.0) -> None:
        """Show the training in the row; it began some seconds ago."""
        self._training, self._step = size, size.done_steps
        self._begin(f"epoch 1/{size.epochs}", size.done_steps, size.epochs * size.steps_per_epoch)
        self._began_s -= elapsed_s

    def step(self, step: int, epoch: int, learning_rate: float, loss: float) -> None:
        """Move the row by an optimizer step."""
        self._step, self._learning_rate = step, learning_rate
        if self._row is None or self._task is None or self._training is None:
            return
        details = f"loss {loss:.4g}  lr {learning_rate:.3g}  {self._speed()}"
        name = f"epoch {epoch + 1}/{self._training.epochs}"
        self._row.update(self._task, completed=step, description=name, details=details)

    def epoch(self, epoch: int, figures: Mapping[str, float]) -> None:
        """Print a line where there is no row."""
        if self._quiet or self._row is not None or self._training is None:
            return
        size = self._training
        losses = "  ".join(f"{name} {value:.5g}" for name, value in figures.items())
        steps = max(self._step - size.done_steps, 1)
        left_s = (time.monotonic() - self._began_s) / steps * (size.epochs * size.steps_per_epoch - self._step)
        print_folded(
            self._console,
            f"epoch {epoch + 1}/{size.epochs}  {losses}  learning_rate {self._learning_rate:.3g}"
            f"  {self._speed()}  {left_s:.0f} s left",
        )

    def picture(self, epoch: int, field: Any, coverage: Any) -> None:
        """Show the phase above the row."""
        columns, rows = self._console.width - 1, min(_PICTURE_ROWS, self._console.height - _OTHER_ROWS)
        if self._row is None or not self.shows_pictures or rows < _FEWEST_ROWS:
            return
        from ptycho_cli.render.terminal_picture import TerminalPicture, small_phase

        grey = small_phase(field, coverage, columns, rows)
        self._row.picture = TerminalPicture(grey, f"phase after epoch {epoch + 1}")

    def stopping(self) -> None:
        """Answer the first Ctrl-C."""
        print_folded(self._console, "Stopping after this step; press Ctrl-C again to quit at once.")

    def ended(self) -> None:
        """No more steps come; the row stays until the next stage."""
        self._training = None

    def _begin(self, stage: str, done: int, total: int) -> None:
        """Put a new stage in the row; its speed does not depend on the last one's."""
        self._stage, self._began_s, self._began_at = stage, time.monotonic(), done
        stage = printable(stage)
        if self._row is None:
            return
        if self._task is not None:
            self._row.remove_task(self._task)
        self._task = self._row.add_task(stage, total=total or None, completed=done, details="")

    def _speed(self) -> str:
        """Frames per second, or steps where their size is unknown."""
        assert self._training is not None
        steps = (self._step - self._training.done_steps) / max(time.monotonic() - self._began_s, 1e-9)
        per_step = self._training.frames_per_step
        return f"{steps * per_step:.0f} frames/s" if per_step else f"{steps:.3g} steps/s"
