"""``ptycho data convert`` and ``merge``: scans as files of this program, CXI or NPZ."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.common_options import Force, Quiet
from ptycho_cli.cli.options import settings_options
from ptycho_cli.errors import ConfigError, OutputError
from ptycho_cli.render.console import print_text
from ptycho_cli.render.finding_lines import scan_lines

if TYPE_CHECKING:
    from ptycho_cli.data.findings.finding import Finding
    from ptycho_cli.data.scan import Scan

Output = Annotated[
    Path,
    typer.Option("-o", "--output", metavar="FILE", help="File to write; .h5, .cxi or .npz decides the format."),
]


@settings_options("data")
def convert(
    ctx: typer.Context,
    output: Output,
    select: Annotated[
        str | None,
        typer.Option("--select", metavar="NUMBERS", help="Write only these frames, such as 0-99,200."),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option("--region", metavar="Y0:Y1,X0:X1", help="Write only frames at these positions, in object pixels."),
    ] = None,
    force: Force = False,
    quiet: Quiet = False,
    **settings: Any,
) -> None:
    """Write a scan, or a part of it, in a layout in which nothing is assumed.

    Cropping, binning and what is left out are settings: `data.crop_px`, `data.bin`, `data.center`,
    `data.exclude_frames`, `data.max_frames`.
    """
    from ptycho_cli.assembly.scans import READING, read_options
    from ptycho_cli.cli.settings import one_scan, read_settings

    resolved, host = read_settings(ctx, command="data").accepted()
    path = one_scan(resolved, "ptycho data convert scan.cxi -o scan.h5")
    _refuse(output, force=force)
    from ptycho_cli.data.read import read_scan
    from ptycho_cli.data.select_frames import select_frames
    from ptycho_cli.progress_callback import pass_progress
    from ptycho_cli.render.live_display import LiveDisplay

    with LiveDisplay(quiet=quiet) as display:
        progress = pass_progress(display.progress, READING)
        scan = read_scan(path, read_options(resolved.config), host.readers, progress)
    scan = select_frames(scan, numbers=select, region=region)
    _write(output, scan, force=force)
    if not quiet:
        _report(output, scan)


@settings_options("data", several=True)
def merge(ctx: typer.Context, output: Output, force: Force = False, quiet: Quiet = False, **settings: Any) -> None:
    """Join scans of one instrument and sample in one file.

    Object pixel, wavelength, distance, radiation, size of frames and probe must be equal, and positions in the
    coordinates of one stage.
    """
    from ptycho_cli.assembly.scans import read_options
    from ptycho_cli.cli.settings import read_settings

    resolved, host = read_settings(ctx, command="data").accepted()
    paths = resolved.config.data.paths
    if len(paths) < 2:
        raise ConfigError(
            f"DATA: expected two scans or more, found {len(paths) or 'none'}.",
            hint="Type `ptycho data merge a.h5 b.h5 -o both.h5`.",
        )
    _refuse(output, force=force)
    from ptycho_cli.data.merge_scans import merge_scans
    from ptycho_cli.data.read import read_scan

    options = read_options(resolved.config)
    scans = [read_scan(path, options, host.readers) for path in paths]
    scan = merge_scans(scans)
    _write(output, scan, force=force)
    if not quiet:
        for each in scans:
            print_text(f"file      {each.source}: {each.n_frames} frames")
            print_lines(each.assumptions, each.findings)
        _report(output, scan)


def _refuse(output: Path, *, force: bool) -> None:
    """Refuse an output that cannot be written, or whose suffix names no format."""
    from ptycho_cli.cli.output import refuse_unwritable
    from ptycho_cli.data.scan_formats import SCAN_WRITERS

    if output.suffix not in SCAN_WRITERS:
        name = output.with_suffix(".h5") if output.name else "scan.h5"
        raise OutputError(f"{output}: expected a name that ends in {', '.join(SCAN_WRITERS)}.", hint=f"Try -o {name}")
    refuse_unwritable(output, force=force)


def _write(output: Path, scan: Scan, *, force: bool) -> None:
    from ptycho_cli.data.scan_formats import SCAN_WRITERS

    SCAN_WRITERS[output.suffix](output, scan, force=force)


def print_lines(assumptions: Iterable[str], findings: Iterable[Finding]) -> None:
    """Print a line for each assumption and finding."""
    if lines := scan_lines(assumptions, findings):
        print_text(*lines)


def _report(output: Path, scan: Scan) -> None:
    print_lines(scan.assumptions, scan.findings)
    print_text(f"wrote     {output}: {scan.n_frames} frames of {scan.n_pixels} x {scan.n_pixels}")
