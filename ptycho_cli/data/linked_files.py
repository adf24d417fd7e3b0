"""Files that links and virtual datasets of an HDF5 file name: where HDF5 finds them, and whether they lie beside it.

HDF5 tries an absolute name as it is, then its last part; a relative name with its folders. It looks in the folders of
an environment variable, beside the file that holds the name, in the working directory, and beside the file to which a
symbolic link leads.

Source: HDF5 reference manual, H5Lcreate_external and H5Pset_virtual_prefix.
"""

from __future__ import annotations

import itertools
import os
from pathlib import Path

LINKS, VIRTUAL = "HDF5_EXT_PREFIX", "HDF5_VDS_PREFIX"  # environment variables of HDF5


def linked_file(name: str, holder: str | Path, variable: str) -> Path | None:
    """The file that HDF5 opens; None if there is none.

    Args:
        name: The name in the link or virtual dataset.
        holder: The file that holds it.
        variable: The environment variable in which HDF5 looks for folders: ``LINKS`` or ``VIRTUAL``.
    """
    path, folder = Path(name), Path(holder).parent
    places = [path] if path.is_absolute() else []
    if path.is_absolute():
        path = Path(path.name)
    for prefix in filter(None, os.environ.get(variable, "").split(os.pathsep)):
        places.append(Path(prefix.replace("${ORIGIN}", str(folder))) / path)
    places += [folder / path, path, Path(holder).resolve().parent / path]
    return next((place for place in places if _is_file(place)), None)


def part_files(name: str, holder: str | Path) -> list[Path]:
    """Files that HDF5 opens for one name in a virtual dataset, in which ``%b`` stands for numbers from 0.

    Args:
        name: The name in the virtual dataset.
        holder: The file that holds it.
    """
    if name == ".":
        return [Path(holder)]
    numbers = itertools.count() if "%b" in name else (0,)
    found = (linked_file(name.replace("%b", str(number)), holder, VIRTUAL) for number in numbers)
    return [file for file in itertools.takewhile(lambda file: file is not None, found) if file is not None]


def is_beside(path: str | Path, scan: str | Path) -> bool:
    """True if a file is in the folder of a scan file or below it, after symbolic links of both are followed."""
    folders = (Path(scan).parent.resolve(), Path(scan).resolve().parent)
    return any(Path(path).resolve().is_relative_to(folder) for folder in folders)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False
