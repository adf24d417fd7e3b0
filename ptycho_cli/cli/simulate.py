"""``ptycho simulate``: make a scan of a known object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from ptycho_cli.cli.common_options import AsJson, Force, NoPlugin, Quiet, load_plugins_without
from ptycho_cli.errors import DataError
from ptycho_cli.render.console import print_text


def command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="File to write.")],
    frames: Annotated[int, typer.Option("--frames", min=1, help="Number of frames.")] = 256,
    size: Annotated[
        int | None,
        typer.Option("--size", min=16, help="Width of a frame in pixels, even; by default 64."),
    ] = None,
    probe: Annotated[
        str | None,
        typer.Option("--probe-from", metavar="FILE", help="Scan, reconstruction or run to take the probe from."),
    ] = None,
    photons: Annotated[float, typer.Option("--photons", help="Mean photons per frame without the object.")] = 1e6,
    object_kind: Annotated[
        Literal["siemens", "texture", "weak"],
        typer.Option("--object", help="Siemens star, strong random structure, or weak phase object."),
    ] = "siemens",
    pattern: Annotated[
        Literal["raster", "fermat", "random"], typer.Option("--scan", help="Jittered raster, Fermat spiral or random.")
    ] = "raster",
    step_px: Annotated[
        float | None,
        typer.Option(
            "--step", help="Pixels between neighbouring frames; by default size/10, or a quarter of the probe."
        ),
    ] = None,
    jitter: Annotated[
        float, typer.Option("--intensity-jitter", help="Relative spread (rms) of the frames' intensities.")
    ] = 0.0,
    background: Annotated[float, typer.Option("--background", help="Constant background in photons per pixel.")] = 0.0,
    hot: Annotated[int, typer.Option("--hot-pixels", min=0, help="Number of pixels that always count too much.")] = 0,
    dead: Annotated[int, typer.Option("--dead-pixels", min=0, help="Number of pixels that never count.")] = 0,
    seed: Annotated[int, typer.Option("--seed", min=0, help="The same seed gives the same scan.")] = 0,
    force: Force = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
    no_plugin: NoPlugin = None,
) -> None:
    """Make a scan of a known object: zone-plate probe, sub-pixel positions, Poisson noise.

    With --probe-from, the scan has the probe of an instrument, so that you can train a network for it beforehand.
    Jitter, background, hot and dead pixels make the scan as imperfect as a measured one.
    The file also holds the true object: training never uses it, `ptycho evaluate --truth` compares with it.
    """
    from ptycho_cli.cli.output import print_json, refuse_unwritable

    refuse_unwritable(output, force=force, hdf5=True)
    from ptycho_cli.data.simulated_imperfections import Imperfections
    from ptycho_cli.data.simulation import read_probe, simulate
    from ptycho_cli.data.write import write_scan

    measured = None if probe is None else read_probe(probe, load_plugins_without(no_plugin).readers)
    frame = 64 if measured is None else int(measured.probe.shape[-1])
    if measured is not None and size not in (None, frame):
        raise DataError(
            f"--size {size}: the probe in {probe} is {frame} pixels wide, and the frames have its width.",
            hint="Leave out --size.",
        )
    size = size or frame
    scan = simulate(
        n_frames=frames,
        n_pixels=size,
        photons=photons,
        object_kind=object_kind,
        pattern=pattern,
        step_px=step_px,
        seed=seed,
        measured_probe=measured,
        imperfections=Imperfections(jitter, background, hot, dead),
    )
    write_scan(output, scan, force=force)
    mean = float(scan.counts.sum(axis=(1, 2), dtype="f8").mean())
    if as_json:
        print_json({"file": str(output), "frames": frames, "size": size, "photons_per_frame": mean})
    elif not quiet:
        print_text(f"wrote {output}: {frames} frames of {size} x {size}, {mean:.3g} photons per frame, known object")
