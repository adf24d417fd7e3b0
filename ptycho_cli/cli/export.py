"""``ptycho export``: reconstructions in the formats of other programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ptycho_cli.cli.common_options import AsJson, Force, Quiet
from ptycho_cli.cli.completion import choices
from ptycho_cli.data.exports.export_formats import format_names
from ptycho_cli.errors import ConfigError, OutputError
from ptycho_cli.render.console import print_text

if TYPE_CHECKING:
    from ptycho_cli.data.exports.export_formats import ExportFormat


_FILE_SUFFIXES = (".tif", ".tiff", ".png", ".npz", ".cxi", ".h5", ".hdf5")  # of files, not of folders


def command(
    result: Annotated[Path, typer.Argument(metavar="RESULT", help="reconstruction.h5, or the folder of a run.")],
    to: Annotated[
        str | None,
        typer.Option(
            "--to",
            metavar="FORMAT",
            help=f"{', '.join(format_names())}; by default that of the output's suffix.",
            autocompletion=choices(format_names()),
        ),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="PATH", help="File, or folder for tiff and png; beside RESULT by default."
        ),
    ] = None,
    unwrap: Annotated[bool, typer.Option("--unwrap", help="Unwrap the phase of the object.")] = False,
    force: Force = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Write object, probe, positions and coverage of a reconstruction in the format of another program.

    tiff and png fill a folder with images and a table of positions. npz, cxi and ptychodus are one file with the
    complex arrays. Metadata hold the pixel size.
    """
    from ptycho_cli.data.exports.export_formats import export_format
    from ptycho_cli.data.write import read_reconstruction

    name = _format_of(to, output)
    chosen = export_format(name)
    if unwrap and not chosen.has_phase:
        raise ConfigError(f"--unwrap has no effect on {name}, which stores a complex object.", hint="Leave it out.")
    path = result / "reconstruction.h5" if result.is_dir() else result
    target = output or path.with_name(f"{path.stem}{_ending(name, chosen)}")
    _refuse(target, name, chosen, force=force)
    found = read_reconstruction(path)

    from ptycho_cli.data.exports.export_result import export

    files = export(found, name, target, name=path.stem, unwrap=unwrap, force=force)
    if as_json:
        from ptycho_cli.cli.output import print_json

        print_json({"format": name, "files": [str(file) for file in files], "object_pixel_m": found.object_pixel_m})
    elif not quiet:
        print_text(f"wrote {target}" + ("" if chosen.suffixes else f": {', '.join(file.name for file in files)}"))


def _format_of(to: str | None, output: Path | None) -> str:
    """The format that was asked for, or that of the output's suffix."""
    from ptycho_cli.config.nearest import did_you_mean
    from ptycho_cli.data.exports.export_formats import export_format

    names = format_names()
    if to is not None:
        if to.casefold() not in names:
            near = did_you_mean(to, names)
            raise ConfigError(f"--to is {to}, expected one of {', '.join(names)}.", hint=near or "Choose one of them.")
        return to.casefold()
    suffix = "" if output is None else output.suffix
    by_suffix = [name for name in names if suffix in export_format(name).suffixes[:1]]
    if not by_suffix:
        raise ConfigError(f"--to: no format, expected one of {', '.join(names)}.", hint="Type --to tiff, for example.")
    return by_suffix[0]


def _ending(name: str, chosen: ExportFormat) -> str:
    """End of the default name: that of the format's suffix, if no other file of the run has it."""
    if not chosen.suffixes:
        return f"_{name}"
    return f"_{name}{chosen.suffixes[0]}" if chosen.suffixes[0] == ".h5" else chosen.suffixes[0]


def _refuse(target: Path, name: str, chosen: ExportFormat, *, force: bool) -> None:
    """Refuse an output that cannot be written, or has another suffix than its format."""
    from ptycho_cli.cli.output import refuse_unwritable
    from ptycho_cli.config.paths import unwritable_folder

    if not chosen.suffixes:
        if target.suffix.casefold() in _FILE_SUFFIXES:
            raise OutputError(
                f"{target}: {name} writes several files, expected the name of a folder.",
                hint=f"Try -o {target.with_suffix('')}",
            )
        if (reason := unwritable_folder(str(target), force=force)) is not None:
            raise OutputError(f"{target}: {reason[0]}.", hint=reason[1])
        return
    if target.suffix not in chosen.suffixes:
        wrong = f"{target}: expected a name that ends in {' or '.join(chosen.suffixes)} for {name}."
        raise OutputError(wrong, hint=f"Try -o {target.with_suffix(chosen.suffixes[0])}")
    refuse_unwritable(target, force=force)
