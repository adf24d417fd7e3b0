"""Checkpoints at the ends of accumulation windows, reading them, and early stopping.

Lightning's ModelCheckpoint is not used. It writes ``last.ckpt`` only when the best checkpoint changes, and
stores absolute paths, so that a run folder that was moved loses its best checkpoint.
"""

from __future__ import annotations

import io
import math
import re
import time
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.callbacks import Checkpoint, EarlyStopping

from ptycho_cli.calibration.held_out_frames import exceeds_error
from ptycho_cli.config.values import printable
from ptycho_cli.errors import CheckpointError, TrainingError
from ptycho_cli.extend.load import PluginRecord
from ptycho_cli.plugin_code import one_line
from ptycho_cli.training.distributed import of_all_ranks, sum_over_ranks
from ptycho_cli.training.metrics_log import MetricsLog
from ptycho_cli.training.plain_state import UnsavableStateError, plain_state, written
from ptycho_cli.training.plugin_errors import PLAIN_STATES, owner_and_keys, unsavable
from ptycho_cli.training.record_parts import problem_of_checkpoint
from ptycho_cli.training.stop_request import StoppedError, StopRequest
from ptycho_cli.training.training_module import STATE_KEY, TrainingModule
from ptycho_cli.whole_file import replacing

LAST = "last.ckpt"
EPOCH_FILE = re.compile(r"epoch-\d{4,9}\.ckpt")
SCHEDULE_KEY = "ptycho_schedule"  # the part of a checkpoint that identifies its schedule
SAVE_EVERY_S = 300.0  # inside long epochs, so that a killed run loses minutes
REPAIR = "Copy another checkpoint of its folder, epoch-*.ckpt, over it, or train the run again."


class Checkpoints(Checkpoint):
    """Write ``last.ckpt`` after every epoch, keep the best checkpoints, and stop the run on request.

    The best epoch gives a run its weights, unless the last epoch cannot be told from it by the validation loss of its
    frames: then it is noise that ranks them, and the last epoch has the lowest learning rates of most schedules.

    Lightning runs a ``Checkpoint`` after all other callbacks, so it saves their states as of the end of the epoch.

    Args:
        folder: Folder to write to; None writes nothing, and keeps the best weights in memory.
        top_k: Number of best checkpoints to keep in addition to the last one; -1 keeps all.
        monitor: Loss that ranks them, ``train_loss`` or ``val_loss``.
        mode: ``min`` or ``max``.
        stop: Request to stop, checked between optimizer steps.
        extra: Plain values to store in each checkpoint.
        plugins: All installed plugins, one of which an error may name.
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
        plugins: Sequence[PluginRecord] = (),
    ) -> None:
        self.folder = folder
        self.top_k, self.monitor = top_k, monitor
        self.stop = stop
        self.best: list[tuple[float, str]] = []  # (score, file name), best first
        self.restored = False  # from the checkpoint of a resumed run
        self._sign = 1.0 if mode == "min" else -1.0
        self._extra = extra if extra is not None else {}
        self._plugins = plugins
        self._saved_at_s = time.monotonic()
        self._best_weights: dict[str, Any] = {}
        self._frames_of_best: tuple[str, list[float]] = "", []  # file name and validation losses of its frames
        self._last_is_as_good = False

    def restore_error(self, path: Path | None, error: Exception) -> Exception:
        """The same error, or that of a checkpoint whose parts could not be restored, so that no step was made."""
        if path is None or self.restored:
            return error
        return CheckpointError(f"{path}: damaged, it cannot be restored ({one_line(error)}).", hint=REPAIR)

    def best_weights(self) -> tuple[str, dict[str, Any]] | None:
        """Name and weights of the best epoch; None if none was kept, or if the last epoch is as good."""
        if not self.best or self._last_is_as_good:
            return None
        name = self.best[0][1]
        weights = self._best_weights if self.folder is None else load_checkpoint(self.folder / name)["state_dict"]
        return Path(name).stem, weights

    def state_dict(self) -> dict[str, Any]:
        """Scores and file names, relative to the folder, and what the comparison with the last epoch needs."""
        return {
            "best": [[score, name] for score, name in self.best],
            "frames_of_best": list(self._frames_of_best), "last_is_as_good": self._last_is_as_good,
        }  # fmt: skip

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the ranking of those files that still exist; a name of another kind is not taken for one."""
        known = [(float(score), str(name)) for score, name in state_dict["best"]]
        self.best = [(score, name) for score, name in known if self.folder and _is_epoch_file(self.folder, name)]
        name, losses = state_dict["frames_of_best"]
        self._frames_of_best = str(name), [float(loss) for loss in losses]
        self._last_is_as_good = bool(state_dict["last_is_as_good"])

    def on_save_checkpoint(self, trainer: Trainer, pl_module: LightningModule, checkpoint: dict[str, Any]) -> None:
        """Add the extra values."""
        checkpoint.update(self._extra)

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Note that everything is restored."""
        self.restored = True

    def on_train_epoch_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Let a training that is to end make one window more; Lightning would count an empty epoch as done."""
        self._note_end(trainer)

    def on_train_batch_end(
        self, trainer: Trainer, pl_module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Inside an epoch, save after a window if time is up, or if the training is to stop or to end."""
        module = cast(TrainingModule, pl_module)
        self._note_end(trainer)
        last_of_epoch = batch_idx + 1 == module.windows.batches  # saved at the end of the epoch, with its losses
        if last_of_epoch or not module.windows.closes(batch_idx):
            return
        stop, end, due = self._agree(trainer, time.monotonic() - self._saved_at_s > SAVE_EVERY_S)
        if stop or end or due:
            self._save(trainer, LAST)
        if stop:
            raise StoppedError
        if end:
            trainer.should_stop = self.stop.inside_epoch = True
            self._last_is_as_good = False  # the weights of this step were not validated

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Save the last checkpoint, and this epoch's if it is among the best."""
        if self.stop.inside_epoch:  # saved already, and this is not the end of an epoch for a resumed run
            return
        dropped: list[str] = []
        module = cast(TrainingModule, pl_module)
        score = module.losses.get(self.monitor)
        name = f"epoch-{trainer.current_epoch:04d}.ckpt"
        if self.top_k != 0 and score is not None:
            ranked = sorted([*self.best, (score, name)], key=self._badness)
            self.best = ranked if self.top_k < 0 else ranked[: self.top_k]
            dropped = [file for _, file in ranked[len(self.best) :]]
        kept = any(file == name for _, file in self.best)
        if self.folder is None and self.best and self.best[0][1] == name:
            self._best_weights = {key: value.detach().clone() for key, value in pl_module.state_dict().items()}
        self._compare_frames(trainer, module, name)
        self._save(trainer, *([name] if kept else []), LAST)
        for file in dropped:
            if self.folder is not None and trainer.is_global_zero:
                (self.folder / file).unlink(missing_ok=True)
        stop, end, _ = self._agree(trainer, False)
        trainer.should_stop = trainer.should_stop or end
        if self.stop.reason is not None or (stop and trainer.current_epoch + 1 < (trainer.max_epochs or 0)):
            raise StoppedError

    def _compare_frames(self, trainer: Trainer, module: TrainingModule, name: str) -> None:
        """Note whether this epoch explains validation frames as well as the best, up to the standard error."""
        losses = of_all_ranks(trainer, [float(loss) for part in module.frame_losses for loss in part])
        if self.best and self.best[0][1] == name:
            self._frames_of_best = name, losses
        best, known = self._frames_of_best
        compared = bool(self.best) and best == self.best[0][1] != name and len(losses) == len(known) > 1
        ranked_by_frames = self.monitor == "val_loss" and self._sign > 0
        self._last_is_as_good = ranked_by_frames and compared and not exceeds_error(np.subtract(losses, known))

    def _note_end(self, trainer: Trainer) -> None:
        """Take over ``should_stop``; Lightning would leave the window open and count the rest of the epoch as done."""
        if trainer.should_stop:
            trainer.should_stop = False
            self.stop.end("Trainer.should_stop was set")

    def _agree(self, trainer: Trainer, due: bool) -> tuple[bool, bool, bool]:
        """Decide on all ranks alike whether to stop, to end well, and to save: yes if any rank asks for it."""
        stop, end, save = sum_over_ranks(
            trainer, float(self.stop.requested), float(self.stop.ended_by is not None), float(due)
        )
        if stop and trainer.world_size > 1:
            reasons: list[TrainingError | None] = [None] * trainer.world_size
            torch.distributed.all_gather_object(reasons, self.stop.reason)
            self.stop.request(next((reason for reason in reasons if reason is not None), None))
        return stop > 0, end > 0, save > 0

    def _badness(self, entry: tuple[float, str]) -> float:
        """Sort key, lower is better; NaN is worst."""
        return float("inf") if math.isnan(entry[0]) else self._sign * entry[0]

    def _save(self, trainer: Trainer, *names: str) -> None:
        """Write one checkpoint under several names, each atomically."""
        if self.folder is None:
            return
        if isinstance(trainer.logger, MetricsLog):
            trainer.logger.flush()
        first, *others = names
        try:
            trainer.save_checkpoint(self.folder / first, weights_only=False)  # all ranks take part, rank 0 writes
            self._saved_at_s = time.monotonic()
            for other in others if trainer.is_global_zero else ():
                write_whole(self.folder / other, (self.folder / first).read_bytes())
        except UnsavableStateError as found:
            owner, keys = owner_and_keys(found.keys, trainer, self._plugins)
            raise TrainingError(unsavable(owner, keys, found.kind), hint=PLAIN_STATES) from None


class VerifiedCheckpointIO(TorchCheckpointIO):
    """Lightning's file format, of plain values only, read back and compared before the file is written."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any | None = None) -> None:
        """Write a checkpoint; the file appears whole or not at all.

        Raises:
            UnsavableStateError: If a part of it could not be read again without executing code.
        """
        write_whole(Path(path), written(plain_state(checkpoint)))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file, which appears whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def _is_epoch_file(folder: Path, name: str) -> bool:
    """True for an existing checkpoint of an epoch; a name in a file is never followed to another place."""
    return EPOCH_FILE.fullmatch(name) is not None and (folder / name).is_file()


class EarlyStop(EarlyStopping):
    """Lightning's early stopping, checked after validation, with the patience of the settings when resumed.

    Lightning takes the patience from the checkpoint, and trains one epoch more when a run that had stopped early
    is resumed.
    """

    def __init__(self, *, monitor: str, mode: str, patience: int, stop: StopRequest) -> None:
        super().__init__(monitor, patience=patience, mode=mode, check_finite=False, check_on_train_epoch_end=True)
        self._stop = stop

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the count of epochs without improvement, but not the patience."""
        super().load_state_dict({**state_dict, "patience": self.patience})

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop at once if the patience had run out before."""
        trainer.should_stop = trainer.should_stop or self.wait_count >= self.patience
        self._tell()

    def on_train_epoch_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Stop if the patience has run out."""
        super().on_train_epoch_end(trainer, pl_module)
        self._tell()

    def _tell(self) -> None:
        if self.wait_count >= self.patience:
            self._stop.end(f"no better {self.monitor} in {self.patience} epochs")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint without executing anything in it.

    Raises:
        CheckpointError: If it is missing, damaged, or not a checkpoint of this program.
    """
    try:
        content = path.read_bytes()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:  # torch does not compare the checksums of its archive
            damaged = archive.testzip()
        if damaged is not None:
            raise ValueError(f"{damaged} is damaged")
        checkpoint: dict[str, Any] = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"{path}: no such file.", hint="The run ended before its first checkpoint, or had checkpoints disabled."
        ) from None
    except Exception:  # a damaged file can raise anything
        # torch's message suggests a flag of its own that would execute what is in the file
        raise CheckpointError(f"{path}: damaged, or not a checkpoint of this program.", hint=REPAIR) from None
    if not isinstance(checkpoint, dict) or not {STATE_KEY, SCHEDULE_KEY} <= checkpoint.keys():
        raise CheckpointError(f"{path}: not a checkpoint of this program.", hint=REPAIR)
    if (problem := problem_of_checkpoint(checkpoint)) is not None:
        raise CheckpointError(f"{path}: damaged ({printable(problem)}).", hint=REPAIR)
    return checkpoint


def checkpoint_to_resume(folder: Path) -> Path | None:
    """The last checkpoint in a folder, else that of the latest epoch; None if there is none yet."""
    if (folder / LAST).exists():
        return folder / LAST
    epochs = [path for path in folder.glob("epoch-*.ckpt") if _is_epoch_file(folder, path.name)]
    return max(epochs, key=lambda path: path.name, default=None)
