"""Progress of work that goes through named stages, on a terminal; nothing where output is piped."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ptycho_cli.progress_callback import StageProgress


@contextmanager
def steps(*, quiet: bool = False) -> Iterator[StageProgress]:
    """Give a function to call with (what is being done, how many are done, of how many); 0 of 0 where unknown."""
    if quiet or not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (
        *(TextColumn("{task.description}"), BarColumn()),
        *(TextColumn("{task.fields[count]}"), TimeRemainingColumn(elapsed_when_finished=False)),
    )
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=None, visible=False, count="")

        def tell(what: str, done: int, total: int) -> None:
            # nothing named, nothing shown: the training has a bar of its own
            count = f"{done}/{total}" if total else ""
            new = bar.tasks[0].description != what
            bar.update(task, description=what, completed=done, total=total or None, visible=bool(what), count=count)
            if new:
                bar.refresh()

        yield tell
