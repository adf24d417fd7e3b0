"""Types of the callbacks that long computations call to report their progress."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[int, int], None]
"""Called with (steps done, steps in all), both in the unit of the computation."""

StageProgress = Callable[[str, int, int], None]
"""Called with (name of the stage, steps done, steps in all)."""


def stage_progress(progress: StageProgress | None, stage: str) -> Progress | None:
    """Return a callback for one named stage; None if there is nobody to report to."""
    return None if progress is None else lambda done, total: progress(stage, done, total)
