"""Export a reconstruction: to a file, or to files in a folder."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ptycho_cli.data.exports.export_formats import export_format
from ptycho_cli.data.exports.exported import Exported
from ptycho_cli.data.new_files import new_folder, new_path
from ptycho_cli.data.reconstruction import Reconstruction


def export(
    result: Reconstruction, format: str, path: str | PathLike[str], *, name: str | None = None, unwrap: bool = False,
    force: bool = False,
) -> list[Path]:  # fmt: skip
    """Export a reconstruction.

    Args:
        result: The reconstruction.
        format: Name of a format.
        path: File, or folder for formats of several files.
        name: Name of the reconstruction in metadata; by default that of the path.
        unwrap: Unwrap the phase of the object, in formats that store it.
        force: Overwrite what is there.

    Returns:
        The files.

    Raises:
        DataError: If the reconstruction lacks what the format needs.
        OutputError: If there is a file already and ``force`` is False, or the place cannot be written.
    """
    target, chosen = Path(path), export_format(format)
    exported = Exported(result, name or target.stem, target, unwrap)
    if chosen.suffixes:
        with new_path(target, force=force) as temporary:
            chosen.write(exported, temporary)
        return [target]
    with new_folder(target, force=force) as temporary:
        chosen.write(exported, temporary)
        names = sorted(file.name for file in temporary.iterdir())
    return [target / file for file in names]
