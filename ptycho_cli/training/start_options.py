"""How a training starts: anew, from the weights of a run, or where a run stopped."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

ScheduleChoice = Literal["checkpoint", "config"]
"""Value of ``--resume-schedule``."""


@dataclass(frozen=True)
class StartOptions:
    """Start of a training, besides its settings.

    Attributes:
        resume: Folder of a run to resume.
        resume_schedule: Use the learning rates of the checkpoint or of the settings, if these differ.
        init_from: Folder of a run whose weights and probe to start from.
        force: Replace an earlier run in the output folder.
        dry_run: Stop before the first step and write nothing.
    """

    resume: Path | None = None
    resume_schedule: ScheduleChoice | None = None
    init_from: Path | None = None
    force: bool = False
    dry_run: bool = False

    def origin_of_weights(self, resumed: Mapping[str, Any] | None) -> str | None:
        """The run whose weights the training started from, also before it was resumed.

        Args:
            resumed: The record of the resumed run; None for a new one.
        """
        if resumed is not None:
            return resumed.get("init_from")
        return None if self.init_from is None else str(self.init_from)
