"""What a training leaves beside its results: the figure of its curves, and its report."""

from __future__ import annotations

from pathlib import Path

from ptycho_cli.assembly.picture_style import picture_style
from ptycho_cli.config.schema import Config
from ptycho_cli.render.training_curves import save_curves
from ptycho_cli.reporting.report_pictures import curves_of_source
from ptycho_cli.reporting.report_source import read_source
from ptycho_cli.reporting.run_page import write_report
from ptycho_cli.training.run_folder import CURVES, REPORT


def write_training_outputs(folder: Path, config: Config) -> Path | None:
    """Write the curves as a figure, unless no metrics were logged, and the report, unless it was switched off.

    Returns:
        Path of the report; None where there is none.

    Raises:
        OutputError: If they cannot be written.
    """
    style = picture_style(config.pictures)
    if (curves := curves_of_source(read_source(folder))) is not None:
        save_curves(style.path(folder / CURVES), curves, folder.resolve().name, style)
    if not config.training.report:
        return None
    write_report(folder, folder / REPORT)
    return folder / REPORT
