"""Runs and reconstructions in notebooks: a short text, a card with pictures, and the whole report."""

from __future__ import annotations

import importlib
import sys
import tempfile
import webbrowser
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli.data.labelled_arrays import labelled_arrays
from ptycho_cli.data.reconstruction import Reconstruction
from ptycho_cli.errors import DataError
from ptycho_cli.render import report_figures
from ptycho_cli.render.inline_svg import Picture
from ptycho_cli.render.training_curves import Curves
from ptycho_cli.render.verdict_lines import verdict_parts
from ptycho_cli.reporting.page_template import render_page
from ptycho_cli.reporting.report_pictures import curves_of_source
from ptycho_cli.reporting.report_scores import scores_of
from ptycho_cli.reporting.report_source import ReportSource, read_source
from ptycho_cli.reporting.run_page import run_page

if TYPE_CHECKING:
    import xarray


class View:
    """A run or a reconstruction to look at; a notebook shows it as a card.

    Attributes:
        path: Folder of the run, or file of the reconstruction.
        record: Content of ``run.json``, or the run record in the file.
        reconstruction: Object, probe and positions as arrays; None if there are none yet.
        scores: Score -> value.
        verdict: The verdict as in ``run.json``; None if there is none.
        curves: Learning rate and losses by optimizer step; None without logged metrics.
    """

    def __init__(self, source: ReportSource) -> None:
        self._source = source
        self.path: Path = source.path
        self.record: Mapping[str, Any] = source.record
        self.reconstruction: Reconstruction | None = source.result
        self.scores: dict[str, float] = scores_of(source)
        self.verdict: Mapping[str, Any] | None = source.verdict
        self.curves: Curves | None = curves_of_source(source)

    def to_xarray(self) -> xarray.Dataset:
        """Give object, probe and positions as an ``xarray.Dataset`` with coordinates and units.

        Raises:
            MissingPackageError: If xarray is not installed.
            DataError: If the run has no reconstruction.
        """
        if self.reconstruction is None:
            raise DataError(f"{self.path}: there is no reconstruction.", hint="`ptycho infer` makes one from a run.")
        return labelled_arrays(self.reconstruction)

    def show(self) -> None:
        """Show the report: in a notebook below the cell, elsewhere in a browser."""
        show_page(run_page(self._source))

    def __repr__(self) -> str:
        kind = "run" if self._source.command == "train" else "reconstruction"
        return f"<{kind} {self.path}: {sentence(self._source)}>"

    def _repr_html_(self) -> str:
        return card(self._source)


def load(path: str | Path) -> View:
    """Load a finished run, or a reconstruction, without torch.

    Args:
        path: Folder of a run, or a file that ``ptycho infer`` or ``ptycho reconstruct`` wrote.

    Raises:
        CheckpointError: If the folder is not that of a run.
        DataError: If the file is not a reconstruction of this program.

    Examples:
        >>> run = ptycho_cli.load("runs/star")
        >>> run.scores["R-factor"]
        >>> phase_rad = numpy.angle(run.reconstruction.object)
        >>> run.show()
    """
    return View(read_source(Path(path)))


def sentence(source: ReportSource) -> str:
    """The verdict in a sentence, or that there is none."""
    if source.verdict is None:
        return f"no verdict, status {source.record.get('status', 'unknown')}"
    return str(verdict_parts(source.verdict)["sentence"])


def card(source: ReportSource) -> str:
    """An HTML fragment with verdict, scores, amplitude and phase."""
    pictures: list[Picture] = []
    if (result := source.result) is not None:
        found = report_figures.object_pictures(result.object, result.probe, result.coverage, result.object_pixel_m)
        pictures = found[:2]
    explained = None if source.verdict is None else bool(source.verdict["explained"])
    scores = [(name, f"{value:.3g}") for name, value in scores_of(source).items()]
    values = {"name": source.name, "sentence": sentence(source), "explained": explained, "scores": scores}
    return render_page("card.html", {**values, "pictures": pictures})


def show_page(html: str) -> None:
    """Show a page below a notebook's cell, in a frame of its own, or else in a browser."""
    ipython = sys.modules.get("IPython")  # loaded already where a notebook runs
    shell = None if ipython is None else ipython.get_ipython()
    if shell is not None and "IPKernelApp" in shell.config:
        shown = importlib.import_module("IPython.display")
        shown.display(shown.HTML(render_page("frame.html", {"page": html})))
        return
    with tempfile.NamedTemporaryFile("w", suffix=".html", prefix="ptycho-", delete=False, encoding="utf-8") as file:
        file.write(html)
    if not webbrowser.open(Path(file.name).as_uri()):
        print(f"report: {file.name}")
