"""``ptycho watch``: follow a run of another process or machine by its folder."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptycho_cli.cli.report_stream import print_report
from ptycho_cli.errors import InterruptedRunError, TrainingError
from ptycho_cli.render.console import print_text

if TYPE_CHECKING:
    from ptycho_cli.reporting.run_progress import FollowedRun, RunProgress

_EVERY_S = 1.0
_EXIT_CODES = {"stopped": InterruptedRunError.exit_code, "failed": TrainingError.exit_code, "dead": 3}


def command(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="Folder of a run, also on a shared disk.")],
    once: Annotated[bool, typer.Option("--once", help="Print the progress now and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print JSON: one line whenever a step is done, at most one a second.")
    ] = False,
) -> None:
    """Follow a run of another process or machine: progress, loss, learning rate and time left.

    Reads only the folder of the run, and ends with it: exit code 0 if it is trained, 130 if it was stopped, and 3 if it
    failed or its process is gone. Ctrl-C ends the watching, not the run.
    """
    from ptycho_cli.reporting.run_progress import FollowedRun

    followed = FollowedRun(run)
    progress = followed.look()
    try:
        if not (once or progress.ended):
            progress = _json_lines(followed, progress) if as_json else _display(followed, progress)
    except KeyboardInterrupt:
        raise typer.Exit(InterruptedRunError.exit_code) from None
    if as_json:
        _print_json_line(progress)
    else:
        from ptycho_cli.render.progress_lines import progress_lines

        print_text(*progress_lines(str(run), progress.as_json()))
    if progress.ended and progress.state in _EXIT_CODES:
        raise typer.Exit(_EXIT_CODES[progress.state])


def _json_lines(followed: FollowedRun, progress: RunProgress) -> RunProgress:
    """Print a line at every change until the run ends; the last one is left to the caller."""
    shown = None
    while not progress.ended:
        if (progress.state, progress.step) != shown:
            _print_json_line(progress)
            shown = (progress.state, progress.step)
        time.sleep(_EVERY_S)
        progress = followed.look()
    return progress


def _print_json_line(progress: RunProgress) -> None:
    import json

    print_report(json.dumps(progress.as_json()))


def _display(followed: FollowedRun, progress: RunProgress) -> RunProgress:
    """Show the row that ``train`` shows, or a line for each epoch, until the run ends."""
    from ptycho_cli.render.live_display import LiveDisplay
    from ptycho_cli.render.progress_lines import state_line

    state, started, epoch = "", False, progress.finished_epochs
    with LiveDisplay() as display:
        while not progress.ended:
            if progress.state == "training" or (progress.state == "unknown" and progress.step):
                if not started:
                    display.started(_Size(progress), elapsed_s=progress.elapsed_s or 0.0)
                    started = True
                display.step(
                    progress.step, progress.epoch - 1, progress.learning_rate or 0.0, progress.train_loss or 0.0
                )
                if progress.finished_epochs > epoch:
                    losses = {"val_loss": progress.val_loss, "train_loss": progress.train_loss}
                    known = {name: loss for name, loss in losses.items() if loss is not None}
                    display.epoch(progress.finished_epochs - 1, known)
                epoch = progress.finished_epochs
            elif progress.state != state:
                started = False
                display.progress(state_line(str(followed.folder), progress.as_json()), 0, 0)
            state = progress.state
            time.sleep(_EVERY_S)
            progress = followed.look()
    return progress


class _Size:
    """The size of a training as the display wants it."""

    frames_per_step = 0.0  # unknown

    def __init__(self, progress: RunProgress) -> None:
        self.epochs, self.done_steps = progress.epochs, progress.first_step
        self.steps_per_epoch = progress.steps_per_epoch
