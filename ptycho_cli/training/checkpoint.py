"""Checkpoints at accumulation boundaries, early stopping, and stopping at the user's wish.

Lightning's ModelCheckpoint is not used: it writes ``last.ckpt`` only when the best changed, and
remembers absolute paths, so that a run folder that was moved loses its best checkpoint.
"""

from __future__ import annotations

import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from ptycho_cli.errors import TrainingError
from ptycho_cli.training.distributed import sum_over_ranks
from ptycho_cli.training.metrics_log import MetricsLog
from ptycho_cli.training.module import TrainingModule
from ptycho_cli.training.stop import StoppedError, StopRequest

LAST = "last.ckpt"
SAVE_EVERY_S = 300.0  # inside long epochs, so that a killed run loses minutes


class Checkpoints(Checkpoint):
    """Write ``last.ckpt`` after every epoch, keep the best ones, and stop when asked to.

    Being a Lightning ``Checkpoint`` it runs after all other callbacks, whose state it so saves as of
    the end of the epoch.

    Args:
        folder: Where to write; None writes nothing and only stops.
        top_k: Best checkpoints to keep beside the last one; -1 keeps all.
        monitor: Figure that ranks them, ``train_loss`` or ``val_loss``.
        mode: ``min`` or ``max``.
        stop: The user's wish, looked at between optimizer steps.
        extra: Plain values to store with each checkpoint.
    """

    def __init__(
        self,
        folder: Path | None,
        *,
        top_k: int,
        monitor: str,
        mode: str,
        stop: StopRequest,
        extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = folder
        self.top_k, self.monitor = top_k, monitor
        self.stop = stop
        self.best: list[tuple[float, str]] = []  # (score, file name), best first
        self._sign = 1.0 if mode == "min" else -1.0
        self._extra = extra if extra is not None else {}
        self._saved_at_s = time.monotonic()

    @property
    def best_path(self) -> Path | None:
        """The best checkpoint, if one was kept."""
        return self.folder / self.best[0][1] if self.folder is not None and self.best else None

    def state_dict(self) -> dict[str, Any]:
        """Scores and file names, relative to the folder."""
        return {"best": [[score, name] for score, name in self.best]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the ranking of the files that are still there."""
        known = [(float(score), str(name)) for score, name in state_dict["best"]]
        self.best = [(score, name) for score, name in known if self.folder and (self.folder / name).exists()]

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add what the run wants to find again."""
        checkpoint.update(self._extra)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """The handlers of signals are Lightning's by now."""
        self.stop.heed_sigterm()

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Inside an epoch, save after a window if it is time, or if the user wants to stop."""
        module = cast(TrainingModule, pl_module)
        last_of_epoch = batch_idx + 1 == module.windows.batches  # then the end of the epoch saves, complete
        if last_of_epoch or not module.windows.closes(batch_idx):
            return
        stop, due = self._agree(trainer, time.monotonic() - self._saved_at_s > SAVE_EVERY_S)
        if stop or due:
            self._save(trainer, LAST)
        if stop:
            raise StoppedError

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last checkpoint, and this epoch's if it is among the best."""
        dropped: list[str] = []
        score = cast(TrainingModule, pl_module).figures.get(self.monitor)
        name = f"epoch-{trainer.current_epoch:04d}.ckpt"
        if self.folder is not None and self.top_k != 0 and score is not None:
            ranked = sorted([*self.best, (score, name)], key=self._badness)
            self.best = ranked if self.top_k < 0 else ranked[: self.top_k]
            dropped = [file for _, file in ranked[len(self.best) :]]
        kept = any(file == name for _, file in self.best)
        self._save(trainer, *([name] if kept else []), LAST)
        for file in dropped:
            if self.folder is not None and trainer.is_global_zero:
                (self.folder / file).unlink(missing_ok=True)
        stop, _ = self._agree(trainer, False)
        if self.stop.reason is not None or (stop and trainer.current_epoch + 1 < (trainer.max_epochs or 0)):
            raise StoppedError

    def _agree(self, trainer: Trainer, due: bool) -> tuple[bool, bool]:
        """Whether to stop and whether to save, the same on all ranks: what one wants, all do, for its reason."""
        stop, save = sum_over_ranks(trainer, float(self.stop.requested), float(due))
        if stop and trainer.world_size > 1:
            reasons: list[TrainingError | None] = [None] * trainer.world_size
            torch.distributed.all_gather_object(reasons, self.stop.reason)
            self.stop.request(next((reason for reason in reasons if reason is not None), None))
        return stop > 0, save > 0

    def _badness(self, entry: tuple[float, str]) -> float:
        """Lower is better; a figure that is not a number is worst."""
        return float("inf") if math.isnan(entry[0]) else self._sign * entry[0]

    def _save(self, trainer: Trainer, *names: str) -> None:
        """Write one checkpoint under several names, each whole or not at all."""
        if self.folder is None:
            return
        if isinstance(trainer.logger, MetricsLog):
            trainer.logger.flush()
        first, *others = names
        temporary = self.folder / "writing.tmp"
        trainer.save_checkpoint(temporary, weights_only=False)  # all ranks take part, rank 0 writes
        self._saved_at_s = time.monotonic()
        if not trainer.is_global_zero:
            return
        os.replace(temporary, self.folder / first)
        for other in others:
            shutil.copyfile(self.folder / first, temporary)
            os.replace(temporary, self.folder / other)


class EarlyStop(EarlyStopping):
    """Lightning's early stopping, looked at after the figures of the epoch are known, and fit for resuming.

    Lightning's own takes its patience from the checkpoint, whatever the user asks for now, and trains an
    epoch more when it is resumed after having stopped.
    """

    def __init__(self, *, monitor: str, mode: str, patience: int) -> None:
        super().__init__(monitor, patience=patience, mode=mode, check_finite=False, check_on_train_epoch_end=True)

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up the count; the patience is that of the settings."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """A run that had run out of patience has still run out of it."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience
