"""``ptycho data``: look into scan files before training on them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ptycho_cli.cli.plugin_commands import NoPlugin, plugin_readers
from ptycho_cli.cli.typer_command import CommandGroup
from ptycho_cli.config.schema import DataSettings
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.errors import DataError

if TYPE_CHECKING:
    from ptycho_cli.data.readers.raw_scan import RawScan
    from ptycho_cli.data.scan import Scan
    from ptycho_cli.data.scan_checks import Summary

app = CommandGroup()

File = Annotated[Path, typer.Argument(metavar="FILE", help="Scan file: .h5, .cxi, .ptyd, .npz.", show_default=False)]
_NEGATIVE = {"mask_bad_pixels": "--keep-bad-pixels"}

Function = TypeVar("Function", bound=Callable[..., None])


def _read_flags(function: Function) -> Function:
    """Replace ``**options`` of a command by a flag for each field of ``ReadOptions``, with the help of its setting."""
    signature = inspect.signature(function, eval_str=True)
    own = [item for item in signature.parameters.values() if item.kind is not item.VAR_KEYWORD]
    flags = [_read_flag(field.name, field.default) for field in fields(ReadOptions)]
    function.__signature__ = signature.replace(parameters=[*own, *flags])  # type: ignore[attr-defined]
    return function


def _read_flag(name: str, default: Any) -> inspect.Parameter:
    setting = DataSettings.model_fields[name]
    flag = f"--{name.replace('_', '-')}"
    least = next((bound.ge for bound in setting.metadata if hasattr(bound, "ge")), None)
    option = typer.Option(
        f"{flag}/{_NEGATIVE[name]}" if name in _NEGATIVE else flag,
        help=setting.description,
        min=least,
        show_default=default is not None,
    )
    kind = Annotated[setting.annotation, option]  # type: ignore[name-defined]
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=kind)


@app.command("check")
@_read_flags
def check(
    file: File,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    no_plugin: NoPlugin = None,
    **options: Any,
) -> None:
    """Say what is in a scan file, what is wrong with it, and what is assumed.

    The options are the `data.*` settings of the same names. Exit code 2 if the file cannot be trained on.
    """
    from ptycho_cli.data.interpret import interpret
    from ptycho_cli.data.readers.registry import read_raw
    from ptycho_cli.data.scan_checks import refuse_few_frames, refuse_near_field, summarize

    how = ReadOptions(**options)
    raw = read_raw(file, how, plugin_readers(no_plugin))
    contents = _contents(raw)
    if not as_json:
        _print_pairs(contents)
    scan: Scan | None = None
    try:
        scan = interpret(raw, how)
        refuse_near_field(scan)
        refuse_few_frames(scan)
        problem = None
    except DataError as error:
        problem = error
    if as_json:
        _print_json(contents, scan, problem)
        if problem is not None:
            raise typer.Exit(problem.exit_code)
        return
    if scan is not None:
        summary = summarize(scan)
        _print_pairs(_figures(summary))
        for line in scan.assumptions:
            typer.echo(f"assumed   {line}")
        for line in summary.warnings:
            typer.echo(f"warning   {line}")
    if problem is not None:
        raise problem
    typer.echo("This scan can be trained on.")


@app.command("convert")
@_read_flags
def convert(
    file: File,
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="File to write.", show_default=False)],
    force: Annotated[bool, typer.Option("--force", help="Overwrite the file.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", help="Print nothing.")] = False,
    no_plugin: NoPlugin = None,
    **options: Any,
) -> None:
    """Write a scan in this program's own layout, with every assumption made final."""
    from ptycho_cli.cli.output import refuse_unwritable

    refuse_unwritable(output, force=force, hdf5=True)
    from ptycho_cli.data.read import read_scan
    from ptycho_cli.data.write import write_scan

    scan = read_scan(file, ReadOptions(**options), plugin_readers(no_plugin))
    write_scan(output, scan, force=force)
    if not quiet:
        for line in scan.assumptions:
            typer.echo(f"assumed   {line}")
        typer.echo(f"wrote     {output}: {scan.n_frames} frames of {scan.n_pixels} x {scan.n_pixels}")


def _contents(raw: RawScan) -> dict[str, str]:
    """What the file holds, as stored."""
    found = {
        "file": f"{raw.source} ({raw.layout})",
        "frames": f"'{raw.counts_name}' {_shape(raw.counts)} {raw.counts.dtype}",
        "positions": "none" if raw.positions is None else f"'{raw.positions_name}' {_shape(raw.positions)}",
        "probe": "none" if raw.probe is None else _shape(raw.probe),
    }
    optional = {"mask": raw.mask, "truth": raw.truth}
    return found | {name: _shape(array) for name, array in optional.items() if array is not None}


def _shape(array: Any) -> str:
    return " x ".join(str(side) for side in array.shape) or "scalar"


def _figures(summary: Summary) -> dict[str, str]:
    """What the scan amounts to, for people."""
    height, width = summary.field_of_view_px
    view = f"{height:.0f} x {width:.0f} px"
    if summary.field_of_view_m is not None:
        view += f" ({_length(summary.field_of_view_m[0])} x {_length(summary.field_of_view_m[1])})"
    figures = {
        "photons": f"{summary.photons_per_frame:.3g} a frame, brightest pixel {summary.brightest_pixel:.0f}",
        "view": view,
        "pixel": "unknown" if summary.object_pixel_m is None else _length(summary.object_pixel_m),
    }
    if summary.step_px is not None:
        figures["step"] = f"{summary.step_px:.1f} px between neighbours"
    if summary.overlap is not None and summary.probe_diameter_px is not None:
        figures["overlap"] = f"{summary.overlap:.0%} of the probe's {summary.probe_diameter_px:.0f} px"
    if summary.masked_pixels:
        figures["masked"] = f"{summary.masked_pixels} detector pixels"
    return figures


def _length(metres: float) -> str:
    for unit, factor in (("mm", 1e3), ("µm", 1e6), ("nm", 1e9)):
        if metres * factor >= 1:
            return f"{metres * factor:.3g} {unit}"
    return f"{metres * 1e9:.3g} nm"


def _print_pairs(pairs: dict[str, str]) -> None:
    for name, value in pairs.items():
        typer.echo(f"{name:<9} {value}")


def _print_json(contents: dict[str, str], scan: Scan | None, problem: DataError | None) -> None:
    from dataclasses import asdict

    from ptycho_cli.cli.output import print_json
    from ptycho_cli.data.scan_checks import summarize

    report = {
        "contents": contents,
        "summary": None if scan is None else asdict(summarize(scan)),
        "assumptions": [] if scan is None else list(scan.assumptions),
        "problem": None if problem is None else {"message": problem.message, "hint": problem.hint},
    }
    print_json(report)
