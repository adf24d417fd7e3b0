"""Which reader takes a file: every module of this package with a ``READER``, and those of plugins."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from functools import cache
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules
from typing import NamedTuple

import numpy as np

from ptycho_cli.data import readers
from ptycho_cli.data.archives import MATLAB_START, NPZ_START
from ptycho_cli.data.containers import HDF5_START, neither_hdf5_nor_npz
from ptycho_cli.data.findings.finding import with_refusal
from ptycho_cli.data.frame_stack import FrameStack, stack_of
from ptycho_cli.data.memory import memory_budget
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers import hdf5, npz
from ptycho_cli.data.readers.candidates import no_frames, no_positions_hint
from ptycho_cli.data.readers.named_arrays import replace_named
from ptycho_cli.data.readers.plugin_formats import refuse_without_plugin
from ptycho_cli.data.readers.raw_scan import Array, RawScan
from ptycho_cli.data.readers.source import Source, opened_source, refuse_broken_links
from ptycho_cli.errors import DataError, PluginError, PtychoError
from ptycho_cli.extend import ReaderEntry
from ptycho_cli.extend.load import RegisteredEntry
from ptycho_cli.plugin_code import one_line, plugin_code

PluginReaders = Sequence[RegisteredEntry[ReaderEntry]]


class Reader(NamedTuple):
    """A reader and its origin.

    Attributes:
        entry: The reader.
        origin: Distribution and version of the plugin that offers it; None for a built-in reader.
    """

    entry: ReaderEntry
    origin: str | None = None

    @property
    def title(self) -> str:
        """Name, and the plugin where it is one."""
        return self.entry.name if self.origin is None else f"{self.entry.name} of {self.origin}"


@cache
def built_in_readers() -> tuple[ReaderEntry, ...]:
    """The entry of every module of this package that has one, by name of the module."""
    modules = (import_module(f"{readers.__name__}.{info.name}") for info in iter_modules(readers.__path__))
    return tuple(module.READER for module in modules if hasattr(module, "READER"))


def in_order(plugin_readers: PluginReaders = ()) -> list[Reader]:
    """All readers in the order in which they are asked.

    Generic readers come last, since they take any file with familiar names; of the others, plugins come first.
    """
    theirs = [Reader(item.entry, item.info.origin) for item in plugin_readers]
    return sorted([*theirs, *map(Reader, built_in_readers())], key=lambda reader: reader.entry.generic)


def read_raw(path: Path, options: ReadOptions, plugin_readers: PluginReaders = ()) -> RawScan:
    """Read a file as stored with the first reader that takes it.

    Raises:
        DataError: If the file or a part of it is missing or damaged, or no reader takes it.
        PluginError: If two plugins take it, or the one that does fails.
    """
    try:
        return _read_raw(path, options, plugin_readers)
    except DataError as error:
        with_refusal(error, (), str(path))
        raise


def _read_raw(path: Path, options: ReadOptions, plugin_readers: PluginReaders) -> RawScan:
    with opened_source(path, options) as source:
        asked = in_order(plugin_readers)
        notes: list[str] = []
        reader = _generic(source) if options.frames else _reader_for(source, asked, notes)
        if reader is None or (reader.entry.generic and not options.frames):
            refuse_without_plugin(source, {str(item.origin).partition(" ")[0] for item in asked})
        if reader is None:
            raise _unknown(source, asked, notes)
        raw = _read(reader, source)
        if not raw.is_native:
            raw.single_values = source.single_values() | raw.single_values
        replace_named(raw, source)
        raw.counts = _in_budget(raw, memory_budget(options.memory_budget_gib))
        if isinstance(raw.counts, FrameStack) and (reason := raw.counts.lacks_scratch) is not None:
            raw.notes.append(
                f"frames beyond data.memory_budget_gib are decompressed each time they are needed: {reason} ($TMPDIR)."
            )
        if raw.positions is None:
            refuse_broken_links(source)
            raw.positions_hint = no_positions_hint(source, tuple(raw.counts.shape) or (0,))
        if not reader.entry.generic:
            raw.found = {}
    raw.layout = reader.title
    raw.notes[:0] = notes
    return raw


def _in_budget(raw: RawScan, budget_bytes: float) -> Array | FrameStack:
    """The frames in memory, or to be read in blocks where they do not fit there."""
    if isinstance(raw.counts, FrameStack) or raw.counts.ndim == 3:
        found = stack_of(raw.counts).in_budget(budget_bytes)
        return found if found.in_blocks or found.corrections or found.rows is not None else np.asarray(found.base)
    return raw.counts


def _reader_for(source: Source, asked: Sequence[Reader], notes: list[str]) -> Reader | None:
    """The reader that takes a file; one that fails is passed over with a note, and two plugins are an error."""
    for generic in (False, True):
        rank = [reader for reader in asked if reader.entry.generic == generic]
        theirs = [reader for reader in rank if reader.origin is not None and _can_read(reader, source, notes)]
        if len(theirs) > 1:
            raise PluginError(
                f"{source.name}: {' and '.join(reader.title for reader in theirs)} both read this layout.",
                hint=f"Leave one of them out: {' or '.join(_without(reader) for reader in theirs)}; or uninstall it.",
            )
        ours = (reader for reader in rank if reader.origin is None and _can_read(reader, source, notes))
        found = next(iter(theirs), None) or next(ours, None)
        if found is not None:
            return found
    return None


def _generic(source: Source) -> Reader:
    """The reader for a file whose frames the user names."""
    return Reader(hdf5.READER if source.hdf5 is not None else npz.READER)


def _can_read(reader: Reader, source: Source, notes: list[str]) -> bool:
    try:
        with redirect_stdout(sys.stderr), plugin_code():  # standard output may be JSON
            return bool(reader.entry.can_read(source))
    except Exception as error:
        notes.append(f"the reader {reader.title} failed on this file and was passed over ({one_line(error)}).")
        return False


def _read(reader: Reader, source: Source) -> RawScan:
    if reader.origin is None:
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # of absurd numbers; what comes of them is refused
                return reader.entry.read(source)
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise DataError(
                f"{source.name}: something in it is of another kind than in files of the layout {reader.title} "
                f"({one_line(error)}).",
                hint="Name what it holds with --frames PATH and --positions PATH.",
            ) from error
    try:
        with redirect_stdout(sys.stderr), plugin_code():
            raw = reader.entry.read(source)
        if not isinstance(raw, RawScan):
            raise TypeError(f"it returned {type(raw).__name__}, expected a RawScan")
    except PtychoError:
        raise
    except Exception as error:
        if isinstance(error, OSError) and source.hdf5 is not None:
            raise  # the file is damaged
        raise PluginError(
            f"{source.name}: the reader {reader.title} failed: {one_line(error)}.",
            hint=f"Report it to its author, or leave it out: {_without(reader)}.",
        ) from error
    return raw


def _without(reader: Reader) -> str:
    return f"--no-plugin {str(reader.origin).partition(' ')[0]}"


def _unknown(source: Source, asked: Sequence[Reader], notes: Sequence[str]) -> DataError:
    """The error for a file that no reader takes; it names what is in the file and who was asked."""
    more = f"; readers asked: {', '.join(reader.title for reader in asked)}"
    more += "".join(f"; {note.removesuffix('.')}" for note in notes)
    if not source.arrays and source.start.startswith(MATLAB_START):
        return DataError(
            f"{source.name}: no arrays of numbers in it; structures and cells are read only of MATLAB files of version "
            "7.3.",
            hint="Save it with -v7.3, then name the arrays: --frames /p/images; or save the arrays by themselves.",
        )
    if not source.arrays and not source.start.startswith((HDF5_START, *NPZ_START)):
        return neither_hdf5_nor_npz(source.path, source.start, more)
    return no_frames(source, more)
