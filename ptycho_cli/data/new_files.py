"""Files and folders that are written completely or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path
from shutil import rmtree

import h5py

from ptycho_cli.data.disk_file import DiskFile, signals_between_writes
from ptycho_cli.errors import OutputError
from ptycho_cli.whole_file import new_output, output_error, temporary_name


@contextmanager
def new_path(path: str | PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Give a temporary name to write to; rename it to ``path`` if the block succeeds, else remove it.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target}: this is a folder, expected the name of a file.", hint="Name a file in it.")
    if target.exists() and not force:
        raise OutputError(
            f"{target}: exists already.", hint="Choose another name, or overwrite it: --force, in Python force=True."
        )
    with new_output(target) as temporary:
        yield temporary


@contextmanager
def new_hdf5(path: str | PathLike[str], *, force: bool = False) -> Iterator[h5py.File]:
    """Open a new HDF5 file that ``new_path`` renames.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    with new_path(path, force=force) as temporary, hdf5_to_write(temporary) as file:
        yield file


@contextmanager
def hdf5_to_write(path: Path) -> Iterator[h5py.File]:
    """Open an HDF5 file to write, so that a full disk is an error of the system and not the end of the process.

    Raises:
        OSError: If it cannot be written.
    """
    with signals_between_writes(), DiskFile(path) as disk:
        with h5py.File(disk, "w") as file:
            yield file
        disk.check()


@contextmanager
def new_folder(path: str | PathLike[str], *, force: bool = False) -> Iterator[Path]:
    """Give a temporary folder to fill; move its files to the folder ``path`` if the block succeeds, else remove it.

    With ``force`` they replace files of their names in ``path``; other files there stay.

    Raises:
        OutputError: If there are files in the folder and ``force`` is False, or the place cannot be written.
    """
    target = Path(path)
    if target.exists() and not target.is_dir():
        raise OutputError(f"{target}: this is a file, expected the name of a folder.", hint="Choose another name.")
    if target.is_dir() and not force and any(target.iterdir()):
        raise OutputError(
            f"{target}: the folder is not empty.", hint="Choose another, or replace files in it with --force."
        )
    temporary = temporary_name(target)
    try:
        temporary.mkdir(parents=True)
        yield temporary
        target.mkdir(exist_ok=True)
        for file in temporary.iterdir():
            os.replace(file, target / file.name)
    except OSError as problem:
        raise output_error(target, problem) from None
    finally:
        rmtree(temporary, ignore_errors=True)
