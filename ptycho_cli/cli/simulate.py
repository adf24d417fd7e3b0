"""``ptycho simulate``: make a scan of a known object."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import typer

from ptycho_cli.cli.common_options import AsJson, Force, NoPlugin, Quiet, load_plugins_without
from ptycho_cli.errors import DataError
from ptycho_cli.render.console import print_text

_PANEL = "Electron microscope"


Photons = Annotated[
    float | None,
    typer.Option("--photons", help="Mean photons of a frame without the object; by default 1e6, 1e5 with --preset."),
]
ProbeSource = Annotated[
    str | None,
    typer.Option("--probe-from", metavar="FILE", help="Scan, reconstruction or run to take the probe from."),
]


def _microscope(flag: str, meaning: str) -> Any:
    """An option of the electron microscope, in a panel of its own."""
    return typer.Option(flag, help=meaning, rich_help_panel=_PANEL)


Voltage = Annotated[float | None, _microscope("--voltage-kv", "Voltage in kV; by default 80.")]
SemiAngle = Annotated[float | None, _microscope("--semi-angle-mrad", "Half angle of the beam; by default 30.")]
Defocus = Annotated[float | None, _microscope("--defocus-m", "Distance to the crossover; by default 1e-8.")]
Aberration = Annotated[float | None, _microscope("--cs-m", "Spherical aberration; by default 0.")]
PixelAngle = Annotated[float | None, _microscope("--angle-per-pixel-mrad", "Angle of a pixel; by default 3.25.")]


def command(
    output: Annotated[Path, typer.Option("-o", "--output", metavar="FILE", help="File to write.")],
    preset: Annotated[
        Literal["electron"] | None,
        typer.Option("--preset", help="Atoms in an electron microscope, scanned on a regular raster."),
    ] = None,
    frames: Annotated[
        int | None, typer.Option("--frames", min=1, help="Number of frames; by default 256, or 576 with --preset.")
    ] = None,
    size: Annotated[
        int | None,
        typer.Option("--size", min=16, help="Width of a frame in pixels, even; by default 64, or that of the probe."),
    ] = None,
    probe: ProbeSource = None,
    photons: Photons = None,
    object_kind: Annotated[
        Literal["siemens", "texture", "weak", "atoms", "discs", "circuits", "grains", "cells", "stars"] | None,
        typer.Option(
            "--object",
            metavar="NAME",
            help="siemens (default), texture, weak, discs, circuits, grains, cells, stars, "
            "or atoms (default with --preset).",
        ),
    ] = None,
    pattern: Annotated[
        Literal["raster", "grid", "fermat", "random"] | None,
        typer.Option(
            "--scan", metavar="NAME", help="raster, jittered (default), grid (default with --preset), fermat or random."
        ),
    ] = None,
    step_px: Annotated[
        float | None,
        typer.Option(
            "--step", help="Pixels between neighbouring frames; by default size/10, or a quarter of the probe."
        ),
    ] = None,
    layout: Annotated[
        Literal["native", "electron"],
        typer.Option("--layout", help="Native, or a 4-D raster with calibrations in kV, mrad and angstrom."),
    ] = "native",
    voltage_kv: Voltage = None,
    semi_angle_mrad: SemiAngle = None,
    defocus_m: Defocus = None,
    cs_m: Aberration = None,
    angle_mrad: PixelAngle = None,
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
    With --preset electron, the probe is that of voltage, semi-angle, defocus and spherical aberration.
    Jitter, background, hot and dead pixels make the scan as imperfect as a measured one.
    The file also holds the true object: training never uses it, `ptycho evaluate --truth` compares with it.
    """
    from ptycho_cli.cli.output import print_json, refuse_unwritable

    microscope_flags = {
        "voltage_kv": voltage_kv, "semi_angle_mrad": semi_angle_mrad, "defocus_m": defocus_m, "cs_m": cs_m,
        "angle_per_pixel_mrad": angle_mrad,
    }  # fmt: skip
    given = {name: value for name, value in microscope_flags.items() if value is not None}
    _check_flags(preset, [f"--{name.replace('_', '-')}" for name in given], probe, layout, pattern)
    refuse_unwritable(output, force=force, hdf5=True)
    from ptycho_cli.data.electron_microscope import Microscope, write_electron_scan
    from ptycho_cli.data.frame_statistics import photons_of
    from ptycho_cli.data.simulated_imperfections import Imperfections
    from ptycho_cli.data.simulation import read_probe, simulate
    from ptycho_cli.data.write import write_scan

    microscope = None if preset is None else Microscope(**given)
    measured = None if probe is None else read_probe(probe, load_plugins_without(no_plugin).readers)
    size = _frame_width(size, None if measured is None else int(measured.probe.shape[-1]), probe)
    if microscope is not None:
        measured = microscope.measured_probe(size)
        step_px = step_px or microscope.step_px(size)
        microscope = microscope.with_step(step_px, size)
    frames = frames or (256 if microscope is None else 576)
    scan = simulate(
        n_frames=frames,
        n_pixels=size,
        photons=(1e6 if microscope is None else 1e5) if photons is None else photons,
        object_kind=object_kind or ("siemens" if microscope is None else "atoms"),
        pattern=pattern or ("raster" if microscope is None else "grid"),
        step_px=step_px,
        seed=seed,
        measured_probe=measured,
        imperfections=Imperfections(jitter, background, hot, dead),
    )
    if layout == "electron" and microscope is not None:
        write_electron_scan(output, scan, microscope, force=force)
    else:
        write_scan(output, scan, force=force)
    mean = float(photons_of(scan.counts).mean())
    if as_json:
        print_json({"file": str(output), "frames": frames, "size": size, "photons_per_frame": mean})
    elif not quiet:
        print_text(f"wrote {output}: {frames} frames of {size} x {size}, {mean:.3g} photons per frame, known object")


def _frame_width(asked: int | None, of_probe: int | None, probe: str | None) -> int:
    """Width of a frame: that of a given probe, or what is asked for."""
    if of_probe is not None and asked not in (None, of_probe):
        raise DataError(
            f"--size {asked}: the probe in {probe} is {of_probe} pixels wide, and the frames have its width.",
            hint="Leave out --size.",
        )
    return asked or of_probe or 64


def _check_flags(preset: str | None, given: list[str], probe: str | None, layout: str, pattern: str | None) -> None:
    """Refuse flags of the microscope without one, and what cannot be stored as a raster."""
    if preset is None and (given or layout == "electron"):
        what = given[0] if given else "--layout electron"
        raise DataError(f"{what}: no electron microscope is simulated.", hint="Add --preset electron.")
    if preset is not None and probe is not None:
        raise DataError("--probe-from: --preset electron computes the probe.", hint="Leave out one of the two.")
    if layout == "electron" and pattern not in (None, "grid"):
        raise DataError(f"--layout electron stores a regular grid, not --scan {pattern}.", hint="Leave out --scan.")
