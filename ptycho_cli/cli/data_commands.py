"""``ptycho data check``, and the group of commands that it belongs to."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Force
from ptycho_cli.cli.options import settings_options
from ptycho_cli.cli.scan_report import findings_as_json, problem_as_json
from ptycho_cli.cli.typer_command import CommandGroup
from ptycho_cli.cli.write_scans import convert, merge, print_lines
from ptycho_cli.errors import DataError
from ptycho_cli.render.console import print_text
from ptycho_cli.render.finding_lines import columns, folded

if TYPE_CHECKING:
    from ptycho_cli.config.provenance import Decision, Resolved
    from ptycho_cli.data.readers.raw_scan import RawScan
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.data.scan_summary import Summary

app = CommandGroup()
app.command("convert")(convert)
app.command("merge")(merge)
TWIN = (
    "Positions with both axes reversed make the same frames with an object that is turned by 180 degrees and "
    "conjugated. {}"
)
ONLY_PROBE = "Only a good probe in the file tells the two apart."
NO_PROBE = "Without a probe in the file, data cannot tell the two apart."


@app.command("check")
@settings_options("data")
def check(
    ctx: typer.Context,
    quick: Annotated[bool, typer.Option("--quick", help="Skip the trials of other positions; much faster.")] = False,
    config_file: Annotated[
        Path | None,
        typer.Option("--save-config", metavar="FILE", help="Write how the file was read to a settings file, for -c."),
    ] = None,
    force: Force = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Print the contents of a scan file, its problems, and what is assumed about it.

    Other axes, rotations, scales and delays of the positions are tried on some frames, unless `--quick` is given. Exit
    code 2 if the file cannot be trained on.
    """
    from ptycho_cli.assembly.scans import READING, read_options
    from ptycho_cli.cli.output import refuse_unwritable
    from ptycho_cli.cli.save_config import save_config
    from ptycho_cli.cli.settings import one_scan, read_settings
    from ptycho_cli.data.findings.finding import refuse_errors
    from ptycho_cli.data.interpret import interpret
    from ptycho_cli.data.readers.registry import read_raw
    from ptycho_cli.data.scan_checks import refuse_few_frames, refuse_near_field
    from ptycho_cli.data.scan_summary import summarize
    from ptycho_cli.progress_callback import pass_progress
    from ptycho_cli.render.live_display import LiveDisplay

    resolved, host = read_settings(ctx, command="data").accepted()
    path, options = one_scan(resolved, "ptycho data check scan.h5"), read_options(resolved.config)
    if config_file is not None:
        refuse_unwritable(config_file, force=force)
    contents, decided = {}, _decided(resolved)
    scan: Scan | None = None
    problem: DataError | None = None
    axes: list[dict[str, Any]] = []
    try:
        raw = read_raw(Path(path), options, host.readers)
        contents = _contents(raw)
        if not as_json:
            _print_pairs(contents)
            _print_decided(decided)
        with LiveDisplay(quiet=as_json) as display:
            scan = interpret(raw, options, pass_progress(display.progress, READING))
        refuse_near_field(scan)
        refuse_few_frames(scan)
        if config_file is not None:
            save_config(config_file, resolved, decided, raw, force=force)
        if not quick:
            scan, axes = _with_geometry_tried(scan)
            refuse_errors(scan.source, scan.findings)
    except DataError as error:
        problem = error
    if as_json:
        _print_json(contents, decided, scan, axes, problem)
        if problem is not None:
            raise typer.Exit(problem.exit_code)
        return
    if scan is not None:
        _print_pairs(_summary_lines(summarize(scan)))
        _print_axes(axes, has_probe=scan.probe is not None)
        print_lines(scan.assumptions, scan.findings)
    if problem is not None:
        if scan is None:
            print_lines((), [finding for finding in problem.findings if finding.severity != "error"])
        raise problem
    doubtful = scan is not None and any(finding.severity == "warning" for finding in scan.findings)
    print_text("Look at the warnings before training on this scan." if doubtful else "This scan can be trained on.")
    if config_file is not None:
        print_text(f"wrote     {config_file}: ptycho train {path} -c {config_file}")


def _with_geometry_tried(scan: Scan) -> tuple[Scan, list[dict[str, Any]]]:
    """The scan without frames that fit nowhere, with a finding more if another geometry explains its frames far better.

    Also how its axes compare.
    """
    from dataclasses import replace

    from ptycho_cli.calibration.geometry_trials import try_geometry
    from ptycho_cli.calibration.misfit_frames import without_misfits

    scan = without_misfits(scan)
    trials = try_geometry(scan)
    if trials is None:
        return scan, []
    return replace(scan, findings=(*scan.findings, *trials.findings)), trials.axes_as_json()


def _print_axes(axes: list[dict[str, Any]], *, has_probe: bool) -> None:
    """Print how well each orientation of the positions explains left-out frames, after few iterations."""
    from ptycho_cli.render.geometry_table import axes_lines

    if not axes:
        return
    for line in axes_lines(axes, _typed):
        print_text(line)
    for line in folded("twin", TWIN.format(ONLY_PROBE if has_probe else NO_PROBE), columns(sys.stdout)):
        print_text(line)


def _typed(settings: str) -> str:
    """Settings as the words that set them: a flag where there is one."""
    from ptycho_cli.config.keys import find_key

    words = []
    for setting in settings.split():
        name, _, value = setting.partition("=")
        key = find_key(name)
        words.append(f"{key.flags[-1]} {value}" if key is not None and key.flags else f"--set {setting}")
    return " ".join(words)


def _decided(resolved: Resolved) -> list[Decision]:
    """Decisions that change how a file is read, other than defaults."""
    from ptycho_cli.config.earlier_run import USES

    unused = ("data.paths", *USES["data"].ignored)
    return [item for item in resolved.decisions if item.is_decided and not item.key.startswith(unused)]


def _print_decided(decided: list[Decision]) -> None:
    from ptycho_cli.config.keys import find_key
    from ptycho_cli.config.values import show, unit_after

    for decision in decided:
        value, key = decision.winner.value, find_key(decision.key)
        unit = "" if key is None else unit_after(value, key.unit)
        print_text(f"setting   {decision.key} = {show(value)}{unit}, from {decision.winner.origin}")


def _contents(raw: RawScan) -> dict[str, str]:
    """Contents of the file, as stored."""
    found = {
        "file": f"{raw.source} ({raw.layout})",
        "frames": f"'{raw.counts_name}' {_shape(raw.counts)} {raw.counts.dtype}",
        "positions": _positions(raw),
        "probe": "none" if raw.probe is None else _shape(raw.probe),
    }
    optional = {"mask": raw.mask, "truth": raw.truth}
    return found | {name: _shape(array) for name, array in optional.items() if array is not None}


def _positions(raw: RawScan) -> str:
    if raw.positions is not None:
        return f"'{raw.positions_name}' {_shape(raw.positions)}"
    return "none" if raw.scan_shape is None else f"none, a raster of {raw.scan_shape[0]} x {raw.scan_shape[1]}"


def _shape(array: Any) -> str:
    return " x ".join(str(side) for side in array.shape) or "scalar"


def _summary_lines(summary: Summary) -> dict[str, str]:
    """Properties of the scan, in words."""
    from ptycho_cli.data.physical_units import length_text

    height, width = summary.field_of_view_px
    view = f"{height:.0f} x {width:.0f} px"
    if summary.field_of_view_m is not None:
        view += f" ({length_text(summary.field_of_view_m[0])} x {length_text(summary.field_of_view_m[1])})"
    lines = {
        "photons": f"{summary.photons_per_frame:.3g} per frame, brightest pixel {summary.brightest_pixel:.0f}",
        "view": view,
        "pixel": "unknown" if summary.object_pixel_m is None else length_text(summary.object_pixel_m),
    }
    if summary.radiation == "electron" and summary.wavelength_m is not None:
        from ptycho_cli.data.electron_optics import electron_voltage_kv

        voltage = f"{electron_voltage_kv(summary.wavelength_m):.4g} kV"
        lines["beam"] = f"electrons of {voltage}, wavelength {1e12 * summary.wavelength_m:.5g} pm"
    if summary.step_px is not None:
        lines["step"] = f"{summary.step_px:.1f} px between neighbours"
    if summary.overlap is not None and summary.probe_diameter_px is not None:
        lines["overlap"] = f"{summary.overlap:.0%} of the probe's {summary.probe_diameter_px:.0f} px"
    if summary.masked_pixels:
        lines["masked"] = f"{summary.masked_pixels} detector pixels"
    return lines


def _print_pairs(pairs: dict[str, str]) -> None:
    for name, value in pairs.items():
        print_text(f"{name:<9} {value}")


def _print_json(
    contents: dict[str, str],
    decided: list[Decision],
    scan: Scan | None,
    axes: list[dict[str, Any]],
    problem: DataError | None,
) -> None:
    from dataclasses import asdict

    from ptycho_cli.cli.output import print_json
    from ptycho_cli.config.serialize import decision_to_json
    from ptycho_cli.data.scan_summary import summarize

    findings = problem.findings if problem is not None else () if scan is None else scan.findings
    report = {
        "contents": contents,
        "settings": [decision_to_json(decision) for decision in decided],
        "summary": None if scan is None else asdict(summarize(scan)),
        "assumptions": [] if scan is None else list(scan.assumptions),
        "positions": axes,
        "findings": findings_as_json(findings),
        "problem": problem_as_json(problem),
    }
    print_json(report)
