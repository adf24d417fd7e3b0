"""Find installed plugins by reading metadata files, without importing any of them.

``importlib.metadata.entry_points`` parses every entry point of every distribution. This module reads
one small file per distribution and skips those that do not name the group, which is four times
faster. Items of ``sys.path`` that are not folders, and import hooks that find distributions of their own,
are left to ``importlib.metadata``.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

from ptycho_cli.errors import PluginError

GROUP = "ptycho_cli"
COMMAND_GROUP = "ptycho_cli.commands"
NO_PLUGINS = "PTYCHO_NO_PLUGINS"
_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_METADATA_SUFFIXES = (".dist-info", ".egg-info")


class InstalledPlugin(NamedTuple):
    """One entry point of the group, as written in its distribution's metadata.

    Attributes:
        distribution: Name of the distribution, such as ``ptycho-wsd``.
        version: Its version.
        entry_point: Name of the entry point.
        value: Object that it loads, ``module`` or ``module:attribute``.
        problem: Reason why the metadata cannot be used; None if it can.
    """

    distribution: str
    version: str
    entry_point: str
    value: str
    problem: str | None = None


class DeclaredCommand(NamedTuple):
    """A command that a plugin declares in its metadata, so that ``ptycho --help`` need not import it.

    Attributes:
        name: Name that users type.
        distribution: Name of the distribution.
        summary: Summary of the distribution.
    """

    name: str
    distribution: str
    summary: str


def normalized_name(name: str) -> str:
    """The normalized name of a distribution: lower case, with single hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find_installed() -> tuple[InstalledPlugin, ...]:
    """All entry points of the group, in the order of ``sys.path``.

    If two copies of a distribution are on the path, the first counts, as it does when it is imported.
    """
    plugins: list[InstalledPlugin] = []
    for name, version, _, entry_points in _distributions():
        plugins += _plugins_of(name, version, entry_points)
    return tuple(plugins)


def declared_commands() -> tuple[DeclaredCommand, ...]:
    """Commands that installed plugins declare in the group ``ptycho_cli.commands``, in the order of ``sys.path``."""
    commands: list[DeclaredCommand] = []
    for name, _, summary, entry_points in _distributions():
        lines = _lines_of(COMMAND_GROUP, entry_points)
        commands += (DeclaredCommand(line.partition("=")[0].strip(), name, summary) for line in lines)
    return tuple(commands)


def plugins_are_blocked(environment: Mapping[str, str] = os.environ) -> bool:
    """True if the environment blocks every plugin.

    Raises:
        PluginError: If ``PTYCHO_NO_PLUGINS`` is neither on nor off.
    """
    text = environment.get(NO_PLUGINS, "")
    word = text.strip().lower()
    if word not in (*_ON, *_OFF):
        raise PluginError(f"${NO_PLUGINS} is {text!r}, expected 1 or 0.")
    return word in _ON


def _distributions() -> Iterator[tuple[str, str, str, str]]:
    """Name, version, summary and entry-point text of every distribution whose text names the group.

    Of those with the same name, the first on ``sys.path`` counts.
    """
    seen: set[str] = set()
    for found in _all_distributions():
        if (key := normalized_name(found[0])) not in seen:
            seen.add(key)
            yield found


def _all_distributions() -> Iterator[tuple[str, str, str, str]]:
    """The same, also those that others hide."""
    others: list[str] = []
    for item in dict.fromkeys(sys.path):
        path = item or os.curdir
        if os.path.isdir(path):
            yield from _in_folder(path)
        elif os.path.exists(path):
            others.append(path)
    yield from _with_importlib(others)


def _in_folder(folder: str) -> Iterator[tuple[str, str, str, str]]:
    try:
        with os.scandir(folder) as entries:
            candidates = sorted(entry.path for entry in entries if entry.name.endswith(_METADATA_SUFFIXES))
    except OSError:
        return  # Python skips unreadable folders of sys.path as well
    for path in candidates:
        text = _read(os.path.join(path, "entry_points.txt"))
        if f"[{GROUP}]" not in text.replace(" ", ""):
            continue
        metadata = _read(os.path.join(path, "METADATA")) or _read(os.path.join(path, "PKG-INFO"))
        yield *_headers(metadata, os.path.basename(path)), text


def _with_importlib(paths: list[str]) -> Iterator[tuple[str, str, str, str]]:
    """The same for archives on the path and for import hooks that find distributions of their own."""
    from importlib.machinery import PathFinder

    finders = [finder for finder in sys.meta_path if finder is not PathFinder and hasattr(finder, "find_distributions")]
    if not paths and not finders:
        return
    from importlib.metadata import Distribution, distributions

    found: Iterable[Distribution] = distributions(path=paths)
    for distribution in [*found, *(found for finder in finders for found in finder.find_distributions())]:
        text = distribution.read_text("entry_points.txt") or ""
        if f"[{GROUP}]" in text.replace(" ", ""):
            yield distribution.name, distribution.version, distribution.metadata.get("Summary", ""), text


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _headers(metadata: str, folder_name: str) -> tuple[str, str, str]:
    """Name, version and summary from the headers of METADATA; the folder's name replaces the first two."""
    headers = metadata.split("\n\n", 1)[0]
    found = (re.search(rf"^{name}:[ \t]*(\S.*?)\s*$", headers, re.MULTILINE) for name in ("Name", "Version", "Summary"))
    name, version, summary = (match[1] if match else "" for match in found)
    stem = folder_name.rsplit(".", 1)[0].split("-")
    return name or stem[0], version or (stem[1] if len(stem) > 1 else "unknown"), summary


def _plugins_of(distribution: str, version: str, text: str) -> Iterator[InstalledPlugin]:
    """One plugin for each line of the group's section in an ``entry_points.txt``."""
    for line in _lines_of(GROUP, text):
        name, equals, value = (part.strip() for part in line.partition("="))
        value = value.split("[", 1)[0].strip()
        is_valid = equals and name and re.fullmatch(r"[\w.]+(\s*:\s*[\w.]+)?", value)
        problem = None if is_valid else f"its entry point {line!r} is not of the form 'name = module'"
        yield InstalledPlugin(distribution, version, name or line, value, problem)


def _lines_of(group: str, text: str) -> Iterator[str]:
    """Lines of a group's section in an ``entry_points.txt``, without comments."""
    in_group = False
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            in_group = line[1:].rstrip("]").strip() == group
        elif in_group:
            yield line
