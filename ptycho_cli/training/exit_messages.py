"""How a training that did not come to its end is told: where it stood, what is saved, and how to go on."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptycho_cli.errors import InterruptedRunError, TrainingError
from ptycho_cli.training.checkpoint import LAST
from ptycho_cli.training.module import STATE_KEY
from ptycho_cli.training.resume import load_checkpoint
from ptycho_cli.training.run_folder import CHECKPOINTS
from ptycho_cli.training.stop import StoppedError

_NO_WRITING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EROFS, errno.EACCES, errno.EPERM}


def interrupted(folder: Path | None, where: str, reason: BaseException) -> InterruptedRunError:
    """The user stopped it.

    Args:
        folder: Of the run; None where nothing is saved.
        where: The step that was reached.
        reason: ``StoppedError`` after the first Ctrl-C, ``QuitNow`` after the second.
    """
    if folder is None:
        return InterruptedRunError(f"stopped after {where}; nothing is saved, since checkpoints are disabled.")
    step = _saved_step(folder)
    if step is None:
        return InterruptedRunError(f"stopped after {where}, before the first checkpoint; nothing is saved.")
    saved = "saved" if isinstance(reason, StoppedError) else f"quit at once; step {step} is saved"
    return InterruptedRunError(
        f"stopped after {where}; {saved} in {folder / CHECKPOINTS}.",
        hint=f"Go on with: ptycho train --resume {folder}",
    )


def failed(folder: Path, error: TrainingError) -> TrainingError:
    """An error, with the step that is saved."""
    step = _saved_step(folder)
    if step is None:
        return error
    saved = f"Saved after optimizer step {step}; ptycho train --resume {folder} goes on."
    return type(error)(error.message, hint=f"{saved} {error.hint or ''}".rstrip())


@contextmanager
def told_of_full_disks(folder: str | Path | None) -> Iterator[None]:
    """Turn a file that cannot be written any more into an error of the training in ``folder``.

    Raises:
        TrainingError: If the disk is full, a quota is used up, or writing is not allowed any more.
    """
    try:
        yield
    except OSError as error:
        if folder is None or error.errno not in _NO_WRITING:
            raise
        full = TrainingError(f"{folder}: cannot be written ({error.strerror}).", hint="Make room first.")
        raise failed(Path(folder), full) from error


def _saved_step(folder: Path) -> int | None:
    last = folder / CHECKPOINTS / LAST
    return int(load_checkpoint(last)[STATE_KEY]["applied_steps"]) if last.exists() else None
