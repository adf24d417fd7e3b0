"""What a training leaves behind: its folder, its record, and how it ended."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptycho_cli.assembly.build import Assembled
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.training.run_record import write_record


@dataclass
class Run:
    """A training that ended well.

    Attributes:
        folder: Where it lies; None after a dry run, and on ranks above 0.
        resolved: Its settings.
        assembled: The objective, with the weights to keep, and its data.
        record: What ``run.json`` holds.
        weights_from: The checkpoint that the weights are from: ``last``, or the best one's name.
        applied_steps: Optimizer steps over all of its life.
        figures: ``train_loss`` and ``val_loss`` of the last epoch.
        rates: Learning rates that the first and the last optimizer step of this process used; empty if it made none.
        loss_weights: Loss weights of the same two steps; empty where the schedule has none.
        rank: Of this process; above 0 nothing is stored.
    """

    folder: Path | None
    resolved: Resolved
    assembled: Assembled
    record: dict[str, Any]
    weights_from: str = "last"
    applied_steps: int = 0
    figures: dict[str, float] = field(default_factory=dict)
    rates: tuple[float, ...] = ()
    loss_weights: tuple[float, ...] = ()
    rank: int = 0

    def store(self, **more: Any) -> None:
        """Add to the record, in ``run.json`` too."""
        self.record.update(more)
        if self.folder is not None and self.rank == 0:
            write_record(self.folder, self.record)
