"""Whose code an error comes from: a plugin is blamed by its distribution, version and line."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterable

from ptycho_cli.extend.load import PluginRecord


def plugin_of(module: str, plugins: Iterable[PluginRecord]) -> PluginRecord | None:
    """The plugin that a module belongs to by its outermost package; None for the built-ins and for all else."""
    package = module.partition(".")[0]
    for record in plugins:
        if record.status == "loaded" and record.value.partition(":")[0].strip().partition(".")[0] == package:
            return None if package == __name__.partition(".")[0] else record
    return None


def plugin_behind(error: BaseException, plugins: Iterable[PluginRecord]) -> tuple[PluginRecord, str] | None:
    """The plugin whose code was running when an error was raised, and the place such as ``mine.py:12``.

    The innermost plugin counts: what it calls in torch or numpy fails on its behalf.
    """
    known = tuple(plugins)
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        record = plugin_of(str(frame.f_globals.get("__name__", "")), known)
        if record is not None:
            return record, f"{os.path.basename(frame.f_code.co_filename)}:{line}"
    return None
