"""The folder of a run: created, never overwritten without ``force``, and cleared only of files that a run writes."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptycho_cli.errors import ConfigError, OutputError, PtychoError
from ptycho_cli.training.run_lock import LOCK, RunLock
from ptycho_cli.training.run_record import WEIGHTS

CHECKPOINTS, METRICS = "checkpoints", "metrics.csv"
TENSORBOARD = "tensorboard"  # folder of its event files
CALLBACK_METRICS = "callback_metrics.csv"
RECONSTRUCTION, CURVES, REPORT = "reconstruction", "curves", "report.html"
_PICTURES = (RECONSTRUCTION, f"{RECONSTRUCTION}-positions", f"{RECONSTRUCTION}-uncertainty", CURVES)
_UNFINISHED = (".*.part", f"{CHECKPOINTS}/.*.part")  # of a process that was killed while it wrote
_RUN_FILES = (
    *("run.json", WEIGHTS, METRICS, CALLBACK_METRICS, f"{RECONSTRUCTION}.h5", REPORT),
    *(f"{name}.{format}" for name in _PICTURES for format in ("png", "svg", "pdf")),
    *(f"{CHECKPOINTS}/last.ckpt", f"{CHECKPOINTS}/epoch-*.ckpt"),
    *("live.html", f"{TENSORBOARD}/events.out.tfevents.*", f"{TENSORBOARD}/hparams.yaml"),
    *_UNFINISHED,
)


@contextmanager
def run_folder(path: str | Path | None, *, force: bool, dry_run: bool, exists: bool, lock: RunLock) -> Iterator[Path]:
    """Give the folder to write to; a new one is removed again if the settings prove wrong before training.

    Args:
        path: The folder.
        force: Replace an earlier run in it.
        dry_run: Give a temporary folder in its place.
        exists: The folder exists already and stays as it is.
        lock: Takes a new folder.

    Raises:
        ConfigError: If ``path`` is None.
        OutputError: If the folder is not empty and ``force`` is not given, or if it cannot be created.
    """
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="ptycho-dry-run-") as temporary:
            (Path(temporary) / CHECKPOINTS).mkdir()
            yield Path(temporary)
        return
    if path is None:
        raise ConfigError("training.output_dir: the folder of the run is missing.", hint="Set training.output_dir.")
    if exists:
        yield Path(path)
        return
    folder = _create(Path(path), force=force, lock=lock)
    try:
        yield folder
    except PtychoError as error:
        if error.exit_code == ConfigError.exit_code and not any((folder / CHECKPOINTS).iterdir()):
            _discard(folder)
        raise


def _create(path: Path, *, force: bool, lock: RunLock) -> Path:
    """Create the folder of a run, with one for its checkpoints; files that no run writes stay."""
    if path.is_dir() and any(path.iterdir()) and not force:
        raise OutputError(f"{path}: the folder is not empty.", hint="Choose another folder.")
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock.take(path)
        (path / CHECKPOINTS).mkdir(exist_ok=True)
        _remove_run_files(path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be used as the folder of a run ({error.strerror}).", hint="Choose another folder."
        ) from None
    return path


def _discard(path: Path) -> None:
    """Remove a folder in which nothing was trained; files that no run writes stay."""
    _remove_run_files(path)
    (path / LOCK).unlink(missing_ok=True)
    for folder in (path / CHECKPOINTS, path / TENSORBOARD, path):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def remove_unfinished(path: Path) -> None:
    """Remove what a process left that was killed while it wrote a file of this run."""
    _remove(path, _UNFINISHED)


def _remove_run_files(path: Path) -> None:
    _remove(path, _RUN_FILES)


def _remove(path: Path, patterns: tuple[str, ...]) -> None:
    for pattern in patterns:
        for file in path.glob(pattern):
            file.unlink(missing_ok=True)
