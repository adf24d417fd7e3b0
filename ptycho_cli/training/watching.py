"""What the settings ask for beside the record of a training: loggers, the live page, and pictures of the object."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.loggers import Logger

from ptycho_cli.training.live_page_file import LivePageFile
from ptycho_cli.training.logged_training import LoggedTraining
from ptycho_cli.training.metrics_log import MetricsLog
from ptycho_cli.training.run_outcome import Run
from ptycho_cli.training.training_events import Events, SharedEvents

Reconstruction = Callable[[], tuple[Any, Any]]
"""Returns object and coverage, ``(y, x)``, with the current weights."""


def watch_training(
    run: Run,
    log: MetricsLog,
    logged: LoggedTraining,
    events: SharedEvents,
    reconstruct: Reconstruction,
    *,
    resumed: bool,
) -> tuple[list[Logger], list[Callback]]:
    """Start what the settings ask for; return all loggers, the record first, and the callbacks that this needs.

    Args:
        run: The training; the ids of its loggers' runs are kept in its record.
        log: The record ``metrics.csv``.
        logged: Receives what the loggers get, and starts them.
        events: Gets more receivers.
        reconstruct: Reconstructs the object for pictures.
        resumed: The run is resumed.
    """
    assert run.folder is not None
    settings = run.resolved.config.execution
    others = logged.start(settings.logger, run.folder, log, run.record, resumed=resumed)
    callbacks: list[Callback] = []
    if others:
        run.store()
    if settings.logger != ("none",):
        events.receivers.append(logged)
        callbacks.append(logged)
    if "html" in settings.live:
        events.receivers.append(LivePageFile(run.folder, report=run.resolved.config.training.report))
    if any(receiver.shows_pictures for receiver in events.receivers):
        callbacks.append(Pictures(reconstruct, events, settings.picture_every))
    return [log, *others], callbacks


class Pictures(Callback):
    """Reconstructs the first training scan every few epochs and after the last, and reports it as an event.

    Args:
        reconstruct: Returns object and coverage with the current weights.
        events: Receives both.
        every: Epochs between two pictures.
    """

    def __init__(self, reconstruct: Reconstruction, events: Events, every: int) -> None:
        self._reconstruct, self._events, self._every = reconstruct, events, every

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Reconstruct; random numbers are as before, so that pictures do not change a training."""
        epoch = trainer.current_epoch
        if (epoch + 1) % self._every and epoch + 1 != trainer.max_epochs:
            return
        with torch.random.fork_rng(devices=[]):
            field, coverage = self._reconstruct()
        self._events.picture(epoch, field, coverage)
