"""Formats by name: every module of this package whose name ends in ``_export``; nothing is imported to list them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ptycho_cli.data.exports.exported import Exported

_ENDING = "_export"


@dataclass(frozen=True)
class ExportFormat:
    """A format.

    Attributes:
        suffixes: Suffixes of its file, the usual one first; empty for a format of several files in a folder.
        write: Writes a reconstruction to a file, or into an empty folder. It may raise ``DataError``.
        has_phase: Whether it stores phases as real numbers, which can be unwrapped.
    """

    suffixes: tuple[str, ...]
    write: Callable[[Exported, Path], None]
    has_phase: bool = False


def format_names() -> list[str]:
    """Names of all formats."""
    return [
        module.name.removesuffix(_ENDING)
        for module in iter_modules([str(Path(__file__).parent)])
        if module.name.endswith(_ENDING)
    ]


def export_format(name: str) -> ExportFormat:
    """The format of a name in ``format_names``."""
    found: ExportFormat = import_module(f"{__package__}.{name}{_ENDING}").FORMAT
    return found
