"""From a path to a checked scan."""

from __future__ import annotations

from os import PathLike
from pathlib import Path

from ptycho_cli.data.interpret import interpret
from ptycho_cli.data.read_options import ReadOptions
from ptycho_cli.data.readers.registry import PluginReaders, read_raw
from ptycho_cli.data.scan import Scan
from ptycho_cli.progress_callback import Progress


def read_scan(
    path: str | PathLike[str], options: ReadOptions | None = None, plugin_readers: PluginReaders = (),
    progress: Progress | None = None,
) -> Scan:  # fmt: skip
    """Read and check a scan; the content of the file decides which reader takes it.

    Args:
        path: A file of any layout on docs/data.md, or of one that a plugin reads.
        options: How to understand the file; by default as it says itself, and else as assumed.
        plugin_readers: Readers of installed plugins: ``ptycho_cli.extend.host.load_plugins().readers``.
        progress: As ``interpret`` calls it.

    Returns:
        The scan; its ``assumptions`` name every guess.

    Raises:
        DataError: If the file is missing or cannot be used as a scan.
        PluginError: If a plugin's reader fails on it.
    """
    options = options or ReadOptions()
    return interpret(read_raw(Path(path), options, plugin_readers), options, progress)
