"""The folder of a run: made new, never overwritten unasked, and cleared only of what we put there."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ptycho_cli.errors import ConfigError, OutputError, PtychoError

CHECKPOINTS, WEIGHTS, METRICS = "checkpoints", "weights.safetensors", "metrics.csv"
RECONSTRUCTION = "reconstruction"
_OURS = (
    *("run.json", WEIGHTS, METRICS, f"{RECONSTRUCTION}.h5", f"{RECONSTRUCTION}.png", "curves.png"),
    *(f"{CHECKPOINTS}/last.ckpt", f"{CHECKPOINTS}/epoch-*.ckpt"),
    *("run.json.tmp", f"{METRICS}.tmp", f"{WEIGHTS}.tmp", f"{CHECKPOINTS}/writing.tmp"),
)


@contextmanager
def run_folder(path: str | Path | None, *, force: bool, dry_run: bool, known: bool) -> Iterator[Path]:
    """The folder to write to; taken back where the settings turn out wrong before anything was trained.

    Args:
        path: Where.
        force: Replace the run that lies there.
        dry_run: A folder that is gone afterwards.
        known: It is there already and stays.

    Raises:
        ConfigError: If there is no path.
        OutputError: As ``make_run_folder`` does.
    """
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="ptycho-dry-run-") as temporary:
            (Path(temporary) / CHECKPOINTS).mkdir()
            yield Path(temporary)
        return
    if path is None:
        raise ConfigError("training.output_dir: no folder for the run.", hint="Set training.output_dir.")
    if known:
        yield Path(path)
        return
    folder = make_run_folder(Path(path), force=force)
    try:
        yield folder
    except PtychoError as error:
        if error.exit_code == ConfigError.exit_code and not any((folder / CHECKPOINTS).iterdir()):
            discard_run_folder(folder)
        raise


def make_run_folder(path: Path, *, force: bool) -> Path:
    """Make the folder of a run, with one for its checkpoints.

    Args:
        path: Where.
        force: Remove the files of an earlier run that lies there. Files that no run writes stay.

    Raises:
        OutputError: If the folder holds anything and ``force`` is not given, or cannot be made.
    """
    if path.is_dir() and any(path.iterdir()) and not force:
        raise OutputError(f"{path}: the folder is not empty.", hint="Choose another folder.")
    try:
        (path / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
        _remove_ours(path)
    except OSError as error:
        raise OutputError(
            f"{path}: cannot be made into the folder of a run ({error.strerror}).", hint="Choose another folder."
        ) from None
    return path


def discard_run_folder(path: Path) -> None:
    """Take back a folder in which nothing was trained; what is not ours stays."""
    _remove_ours(path)
    for folder in (path / CHECKPOINTS, path):
        if folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()


def _remove_ours(path: Path) -> None:
    for pattern in _OURS:
        for file in path.glob(pattern):
            file.unlink()
