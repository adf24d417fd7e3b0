"""The file of a reconstruction and its summary, for the commands that reconstruct one scan."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.output import print_json, refuse_unwritable, report_verdict
from ptycho_cli.config.schema import Config
from ptycho_cli.errors import ConfigError
from ptycho_cli.render.diagnostics import print_warnings

if TYPE_CHECKING:
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.inference.inference_run import Inferred

OutputFile = Annotated[
    Path | None,
    typer.Option("-o", "--output", metavar="FILE", help="HDF5 file to write, and beside it the picture as .png."),
]


def check_output(output: Path | None, config: Config, *, force: bool) -> Path:
    """Return the file of the reconstruction, and refuse it where it or its pictures cannot be written.

    Raises:
        ConfigError: If no file is named.
        OutputError: If one cannot be written.
    """
    if output is None:
        raise ConfigError("-o: no file for the reconstruction.", hint="Name one, such as -o object.h5")
    refuse_unwritable(output, force=force, hdf5=True)
    refuse_unwritable(output.with_suffix(f".{config.pictures.format}"), force=force)
    if config.inference.uncertainty:
        from ptycho_cli.render.uncertainty_figure import uncertainty_figure_path

        refuse_unwritable(uncertainty_figure_path(output, config.pictures.format), force=force)
    if config.physics.refine_positions:
        from ptycho_cli.render.position_shift_figure import position_figure_path

        refuse_unwritable(position_figure_path(output, config.pictures.format), force=force)
    return output


def write_inferred(
    found: Inferred, scan: Scan, output: Path, record: Mapping[str, Any], config: Config, *, force: bool
) -> dict[str, Any]:
    """Write a reconstruction with its pictures, and return the summary of the command.

    Args:
        found: The reconstruction.
        scan: The scan, calibrated.
        output: The HDF5 file.
        record: What the file says of how it was made; the verdict is added to it.
        config: The settings.
        force: Replace an earlier file.
    """
    from ptycho_cli.assembly.picture_style import picture_style
    from ptycho_cli.inference.results import scores, write_result

    verdict = None if found.verdict is None else found.verdict.as_json()
    fit = scores(found.result, scan)
    own = {"reconstruction": {**record["reconstruction"], "scores": fit}} if "reconstruction" in record else {}
    made = {**record, **(own or {"scores": fit}), "verdict": verdict}
    name, style = Path(scan.source).name, picture_style(config.pictures)
    pictures = write_result(found.result, output, made, title=name, force=force, style=style)
    return {
        "object": str(output),
        "picture": str(pictures[0]),
        **({"uncertainty_picture": str(pictures[-1])} if found.uncertainty_cpu_s is not None else {}),
        "reconstruction_cpu_s": found.cpu_s,
        "reconstruction_s": found.wall_s,
        **({} if found.uncertainty_cpu_s is None else {"uncertainty_cpu_s": found.uncertainty_cpu_s}),
        "verdict_cpu_s": found.verdict_cpu_s,
        "polish": found.polish.iterations,
        **fit,
        "notes": list(found.notes),
        "warnings": list(found.warnings),
        "verdict": verdict,
    }


def report_reconstruction(summary: Mapping[str, Any], *, quiet: bool, as_json: bool, strict: bool) -> None:
    """Print the summary of a reconstruction, and end with exit code 3 if ``strict`` and it is not explained."""
    print_warnings(summary["warnings"])
    if as_json:
        print_json(summary)
    elif not quiet:
        from ptycho_cli.render.result_summary import print_inferred

        print_inferred(summary)
    report_verdict(summary["verdict"], as_json=as_json, quiet=quiet, strict=strict)
