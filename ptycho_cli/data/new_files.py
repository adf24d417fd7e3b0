"""Files that are written completely or not at all."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike
from pathlib import Path

import h5py

from ptycho_cli.errors import OutputError


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
    temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        yield temporary
        os.replace(temporary, target)
    except OSError as problem:
        # h5py gives the number of the system's error in its text alone
        number = problem.errno or int((re.search(r"errno = (\d+)", str(problem)) or [0, 0])[1])
        reason = os.strerror(number) if number else str(problem)
        raise OutputError(f"{target}: cannot be written ({reason}).", hint="Check the folder and free space.") from None
    finally:
        if temporary.exists():
            temporary.unlink()


@contextmanager
def new_hdf5(path: str | PathLike[str], *, force: bool = False) -> Iterator[h5py.File]:
    """Open a new HDF5 file that ``new_path`` renames.

    Raises:
        OutputError: If the file exists and ``force`` is False, or the place cannot be written.
    """
    with new_path(path, force=force) as temporary, h5py.File(temporary, "w") as file:
        yield file
