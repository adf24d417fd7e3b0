"""The results of a training, or the error that states what is saved and how to resume."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptycho_cli.assembly.build import Assembled
from ptycho_cli.config.provenance import Resolved
from ptycho_cli.errors import InterruptedRunError, TrainingError
from ptycho_cli.training.checkpoint import LAST, load_checkpoint
from ptycho_cli.training.run_folder import CHECKPOINTS
from ptycho_cli.training.run_record import RECORD, WEIGHTS, write_record
from ptycho_cli.training.stop_request import NOTHING_TO_SAVE, StoppedError
from ptycho_cli.training.training_module import STATE_KEY
from ptycho_cli.whole_file import FULL

_NO_WRITING = FULL | {errno.EROFS, errno.EACCES, errno.EPERM}


@dataclass
class Run:
    """A training: its folder, settings and record, and its results so far.

    Attributes:
        folder: Folder of the run; None after a dry run, and on ranks above 0.
        resolved: Its settings.
        assembled: Objective and data; afterwards the objective has the weights to keep.
        record: Content of ``run.json``.
        weights_from: Where the weights are from: ``last``, the name of the best epoch, or a callback.
        set_by_callback: Whether a callback set the weights at the end of the training.
        applied_steps: Optimizer steps since the first start of the run, including those before a resume.
        losses: ``train_loss`` and ``val_loss`` of the last epoch.
        learning_rates: Used by the first and the last optimizer step of this process; empty if it made none.
        loss_weights: Of the same two steps; empty if the schedule has no loss weight.
        rank: Rank of this process; above 0 nothing is written.
    """

    folder: Path | None
    resolved: Resolved
    assembled: Assembled
    record: dict[str, Any]
    weights_from: str = "last"
    set_by_callback: bool = False
    applied_steps: int = 0
    losses: dict[str, float] = field(default_factory=dict)
    learning_rates: tuple[float, ...] = ()
    loss_weights: tuple[float, ...] = ()
    rank: int = 0

    def store(self, **fields: Any) -> None:
        """Add fields to the record, and write it to ``run.json``."""
        self.record.update(fields)
        if self.folder is not None and self.rank == 0:
            write_record(self.folder, self.record)

    def store_end(self, status: str, **fields: Any) -> None:
        """The same for a run that ends with an error; that nothing can be written may be this error."""
        with suppress(OSError):
            self.store(status=status, **fields)


def interrupted_error(folder: Path | None, step: str, reason: BaseException) -> InterruptedRunError:
    """Error for a run that the user stopped.

    Args:
        folder: Folder of the run; None if checkpoints are disabled.
        step: The step that was reached, such as ``optimizer step 5 of 20``.
        reason: ``StoppedError`` after the first Ctrl-C, ``QuitNow`` after the second.
    """
    if folder is None:
        return InterruptedRunError(f"stopped after {step}; nothing is saved, since checkpoints are disabled.")
    saved = _saved_step(folder)
    if saved is None:
        return InterruptedRunError(
            f"stopped after {step}, before the first checkpoint; nothing is saved.", hint=_again(folder)
        )
    what = "saved" if isinstance(reason, StoppedError) else f"quit at once; step {saved} is saved"
    return InterruptedRunError(
        f"stopped after {step}; {what} in {folder / CHECKPOINTS}.",
        hint=f"Resume it with: ptycho train --resume {folder}",
    )


def quit_error(folder: Path | None, *, trained: bool) -> InterruptedRunError:
    """Error for a run that a signal stopped before its training or after it, with what its folder holds.

    Args:
        folder: Folder of the run; None if nothing of it has been written.
        trained: The training is over, and its reconstruction is missing.
    """
    saved = None if folder is None else _saved_step(folder)
    if folder is not None and trained:
        again = f"ptycho infer {folder} DATA -o FILE" if saved is None else f"ptycho train --resume {folder}"
        return InterruptedRunError(
            f"stopped before the reconstruction was written; the trained weights are saved in {folder / WEIGHTS}.",
            hint=f"Reconstruct with: {again}",
        )
    if folder is None or saved is None:
        hint = None if folder is None or not (folder / RECORD).exists() else _again(folder)
        return InterruptedRunError(NOTHING_TO_SAVE, hint=hint)
    return InterruptedRunError(
        f"stopped; optimizer step {saved} is saved in {folder / CHECKPOINTS}.",
        hint=f"Resume it with: ptycho train --resume {folder}",
    )


def _again(folder: Path) -> str:
    return f"Start it again with: ptycho train --resume {folder}"


def with_saved_step(error: TrainingError, folder: Path) -> TrainingError:
    """The same error, with the step that is saved in its hint."""
    step = _saved_step(folder)
    if step is None:
        return error
    hint = f"Saved after optimizer step {step}; ptycho train --resume {folder} resumes the run. {error.hint or ''}"
    return type(error)(error.message, hint=hint.rstrip())


@contextmanager
def folder_errors(folder: str | Path | None) -> Iterator[None]:
    """Turn the failure to write a file into an error of the training in ``folder``.

    Raises:
        TrainingError: If the disk is full, a quota is used up, or writing is no longer permitted; or if the folder was
            renamed, removed or changed while the training ran.
    """
    try:
        yield
    except OSError as error:
        inside = folder is not None and str(error.filename or "").startswith(str(folder))
        if folder is None or not (inside or error.errno in _NO_WRITING):
            raise
        hint = "Check the folder and its permissions."
        if error.errno in FULL:
            hint = "Free some space first."
        elif not Path(folder).is_dir():
            hint = "Somebody renamed or removed the folder while the training ran."
        raise with_saved_step(
            TrainingError(f"{folder}: cannot be written ({error.strerror}).", hint=hint), Path(folder)
        ) from error


def _saved_step(folder: Path) -> int | None:
    last = folder / CHECKPOINTS / LAST
    if not os.path.isfile(last):  # also where the folder cannot be entered
        return None
    return int(load_checkpoint(last)[STATE_KEY]["applied_steps"])
