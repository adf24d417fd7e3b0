"""Input of a report: the record of a run or a reconstruction, with its arrays and its curves."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.data.write import read_reconstruction
from ptycho_cli.errors import CheckpointError, DataError
from ptycho_cli.training.run_folder import METRICS, RECONSTRUCTION
from ptycho_cli.training.run_record import read_record


@dataclass(frozen=True, eq=False)
class ReportSource:
    """A run or a reconstruction to report on.

    Attributes:
        path: Folder of the run, or file of the reconstruction.
        record: Content of ``run.json``, or the run record in the file.
        result: The reconstruction; None if a run has none yet.
        metrics: Rows of ``metrics.csv``; empty for a file.
    """

    path: Path
    record: Mapping[str, Any]
    result: Reconstruction | None = None
    metrics: tuple[dict[str, str], ...] = field(default=())

    @property
    def command(self) -> str:
        """The command that made it: ``train``, ``infer``, or ``reconstruct``, without a training."""
        if "reconstruction" in self.record:
            return "infer"
        return "train" if self.path.is_dir() or "status" in self.record else "reconstruct"

    @property
    def own_record(self) -> Mapping[str, Any]:
        """The part of the record with the settings of this command; for ``infer`` beside those of its run."""
        found = self.record["reconstruction"] if self.command == "infer" else self.record
        return found if isinstance(found, Mapping) else {}

    @property
    def name(self) -> str:
        """Name of folder or file."""
        return self.path.resolve().name

    @property
    def verdict(self) -> Mapping[str, Any] | None:
        """The verdict; None if there is none."""
        found = self.record.get("verdict")
        return found if isinstance(found, Mapping) else None


def read_source(path: Path) -> ReportSource:
    """Read a run folder or a reconstruction.

    Raises:
        CheckpointError: If the folder is not that of a run.
        DataError: If the file is not a reconstruction of this program.
    """
    if not path.is_dir():
        if not path.exists():
            raise DataError(
                f"{path}: no such file or folder, expected a run or a reconstruction.",
                hint="Name the folder of a training, or a file that `ptycho infer` wrote.",
            )
        result = read_reconstruction(path)
        return ReportSource(path, dict(result.run_record or {}), result)
    record = read_record(path)
    file = path / f"{RECONSTRUCTION}.h5"
    return ReportSource(path, record, read_reconstruction(file) if file.exists() else None, _metrics(path / METRICS))


def _metrics(path: Path) -> tuple[dict[str, str], ...]:
    """Rows of ``metrics.csv``; none if there is no such file."""
    try:
        with path.open(newline="", encoding="utf-8", errors="replace") as file:
            return tuple(csv.DictReader(file))
    except FileNotFoundError:
        return ()
    except (OSError, csv.Error) as error:
        raise CheckpointError(f"{path}: cannot be read ({error}).", hint="Restore the file, or remove it.") from None
