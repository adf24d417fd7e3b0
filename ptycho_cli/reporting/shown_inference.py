"""The result of a reconstruction as programs and notebooks get it: with a card, and a report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli.data.labelled_arrays import labelled_arrays
from ptycho_cli.inference.inference_run import Inferred
from ptycho_cli.reporting.notebook_view import card, sentence, show_page
from ptycho_cli.reporting.report_source import ReportSource
from ptycho_cli.reporting.run_page import run_page

if TYPE_CHECKING:
    import xarray


@dataclass(frozen=True, eq=False, repr=False)
class ShownInference(Inferred):
    """A reconstruction that a notebook shows as a card.

    Attributes:
        record: What a file of it says of how it was made; ``write_reconstruction`` needs it for a report later.
        name: Name of the scan.
    """

    record: Mapping[str, Any] | None = None
    name: str = "scan"

    @property
    def reconstruction(self) -> Any:
        """Object, probe, positions and coverage as arrays: that of ``result``."""
        return self.result.reconstruction

    def to_xarray(self) -> xarray.Dataset:
        """Give object, probe and positions as an ``xarray.Dataset`` with coordinates and units.

        Raises:
            MissingPackageError: If xarray is not installed.
        """
        return labelled_arrays(self.reconstruction)

    def show(self) -> None:
        """Show the report: in a notebook below the cell, elsewhere in a browser."""
        show_page(run_page(self._source()))

    def __repr__(self) -> str:
        rows, columns = self.reconstruction.object.shape
        return f"<reconstruction of {self.name}, {rows} x {columns} px: {sentence(self._source())}>"

    def _repr_html_(self) -> str:
        return card(self._source())

    def _source(self) -> ReportSource:
        verdict = None if self.verdict is None else self.verdict.as_json()
        scores = {"r_factor": self.result.r_factor, "deviance": self.result.deviance}
        record = {**(self.record or {}), "verdict": verdict}
        if "reconstruction" in record:
            record["reconstruction"] = {**record["reconstruction"], "scores": scores}
        else:
            record["scores"] = scores
        return ReportSource(Path(self.name), record, self.reconstruction)


def shown(found: Inferred, record: Mapping[str, Any], name: str) -> ShownInference:
    """The same reconstruction with its record and the name of its scan."""
    values = {field.name: getattr(found, field.name) for field in fields(Inferred)}
    return ShownInference(**values, record=record, name=name)
