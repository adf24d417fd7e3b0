"""Formats that the program does not read itself, and the distribution whose plugin does."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, NamedTuple

from ptycho_cli.data.readers.source import Source
from ptycho_cli.errors import DataError


class PluginFormat(NamedTuple):
    """Marks of a format.

    Attributes:
        name: The format, for messages.
        distribution: Distribution that reads it.
        marks: Places in a file and the bytes there, one of which it has.
        suffixes: Ends of its names, for files without a mark.
    """

    name: str
    distribution: str
    marks: tuple[tuple[int, bytes], ...]
    suffixes: tuple[str, ...]


FORMATS = (
    PluginFormat("a Merlin detector", "ptycho-em", ((0, b"MQ1,"),), (".mib",)),
    PluginFormat("Gatan's DigitalMicrograph", "ptycho-em", ((0, b"\0\0\0\3"), (0, b"\0\0\0\4")), (".dm3", ".dm4")),
    PluginFormat("ASTAR (blockfile)", "ptycho-em", ((0, b"IMGBLO"),), (".blo",)),
    PluginFormat("a TVIPS camera", "ptycho-em", ((52, b"TVIPS"),), (".tvips",)),
    PluginFormat("the MRC format", "ptycho-em", ((208, b"MAP "),), (".mrc", ".mrcs")),
    PluginFormat("an EMPAD detector (frames of 130 x 128 pixels)", "ptycho-em", (), (".raw", ".xml")),
)
VELOX = PluginFormat("Thermo Fisher's Velox", "ptycho-em", (), (".emd",))
_LONGEST = 256  # bytes from the start in which marks are looked for


def refuse_without_plugin(source: Source, installed: Collection[str]) -> None:
    """Refuse a file that a plugin reads which is not installed.

    Args:
        source: The file.
        installed: Distributions of installed readers.

    Raises:
        DataError: If there is such a plugin.
    """
    marked = _by_content(source)
    form = marked or _by_name(source)
    if form is not None and form.distribution not in installed:
        kind = f"a file of {form.name}" if marked else f"by its name, a file of {form.name}"
        raise DataError(
            f"{source.name}: {kind}, which the plugin {form.distribution} reads; it is not installed.",
            hint=f"pip install {form.distribution}",
        )


def _by_content(source: Source) -> PluginFormat | None:
    if source.hdf5 is not None:
        return VELOX if _is_velox(source.hdf5) else None
    with source.path.open("rb") as file:
        start = file.read(_LONGEST)
    return next((form for form in FORMATS if any(start[at:].startswith(mark) for at, mark in form.marks)), None)


def _by_name(source: Source) -> PluginFormat | None:
    suffix = source.path.suffix.casefold()
    return next((form for form in FORMATS if suffix in form.suffixes and source.hdf5 is None), None)


def _is_velox(file: Any) -> bool:
    """True for HDF5 files whose version says so; images and diffraction patterns are in ``Data/Image``."""
    version = file.get("Version")
    return "Data/Image" in file and getattr(version, "shape", None) == (1,) and b"Velox" in bytes(version[0])
