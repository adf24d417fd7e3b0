"""Attribute errors to plugins: by distribution, version and line."""

from __future__ import annotations

import os
import traceback
from collections.abc import Callable, Iterable
from typing import TypeVar

from ptycho_cli.errors import PluginError, PtychoError
from ptycho_cli.extend.load import PluginRecord
from ptycho_cli.installed_plugins import find_installed
from ptycho_cli.plugin_code import one_line, plugin_code

_Result = TypeVar("_Result")


def call_factory(factory: Callable[[], _Result], title: str, remedy: str) -> _Result:
    """Call a plugin's ``build`` and attribute whatever it raises to the entry.

    Args:
        factory: Calls ``build`` with its arguments.
        title: Kind, name and origin of the entry.
        remedy: What the user can do, such as ``Choose another with scheduler.name``.

    Raises:
        PluginError: If ``build`` raises something other than a ``PtychoError``.
    """
    try:
        with plugin_code():
            return factory()
    except PtychoError:
        raise
    except Exception as error:
        raise PluginError(
            f"{title} failed in build: {one_line(error)}.",
            hint=f"{remedy}, or report it to the author of its distribution.",
        ) from error


def plugin_of_module(module: str, plugins: Iterable[PluginRecord]) -> PluginRecord | None:
    """The plugin that a module belongs to, by its top-level package; None for built-ins and other modules."""
    package = module.partition(".")[0]
    for record in plugins:
        if record.status == "loaded" and record.value.partition(":")[0].strip().partition(".")[0] == package:
            return None if package == __name__.partition(".")[0] else record
    return None


def error_of_a_plugin(error: BaseException) -> PluginError | None:
    """The error that names the plugin whose code raised one that nobody handled; None if no plugin was running."""
    records = [PluginRecord(*plugin[:4], status="loaded") for plugin in find_installed()]
    found = plugin_that_raised(error, records)
    if found is None:
        return None
    plugin, line = found
    return PluginError(
        f"plugin {plugin.distribution} {plugin.version} failed at {line}: {one_line(error)}.",
        hint=f"Leave it out with --no-plugin {plugin.distribution}, or report the error to its author.",
    )


def plugin_that_raised(error: BaseException, plugins: Iterable[PluginRecord]) -> tuple[PluginRecord, str] | None:
    """The plugin that was running when an error was raised, and the line, such as ``mine.py:12``.

    If several plugins are on the call stack, it is the innermost one. Errors in torch or numpy are attributed to
    the plugin that called them.
    """
    known = tuple(plugins)
    for frame, line in reversed(list(traceback.walk_tb(error.__traceback__))):
        record = plugin_of_module(str(frame.f_globals.get("__name__", "")), known)
        if record is not None:
            return record, f"{os.path.basename(frame.f_code.co_filename)}:{line}"
    return None
