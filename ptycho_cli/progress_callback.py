"""Types of the callbacks that long computations call to report their progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all), both in the unit of the computation."""

StageProgress = Callable[[str, int, int], None]
"""Called with (name of the stage, steps done, steps in all)."""


def pass_progress(progress: StageProgress | None, stage: str) -> Progress | None:
    """Return a callback for a stage that goes several times through the same steps; each time is a stage of its own."""
    if progress is None:
        return None
    passes, last = 1, 0

    def report(done: int, total: int) -> None:
        nonlocal passes, last
        passes, last = passes + (done < last), done
        progress(stage if passes == 1 else f"{stage}, pass {passes}", done, total)

    return report


def stage_progress(progress: StageProgress | None, stage: str) -> Progress | None:
    """Return a callback for one named stage; None if there is nobody to report to."""
    return None if progress is None else lambda done, total: progress(stage, done, total)
