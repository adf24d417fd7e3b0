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
from collections.abc import Iterable, Iterator
from typing import NamedTuple

GROUP = "ptycho_cli"
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


def normalized_name(name: str) -> str:
    """The normalized name of a distribution: lower case, with single hyphens."""
    return re.sub(r"[-_.]+", "-", name).lower()


def find_installed() -> tuple[InstalledPlugin, ...]:
    """All entry points of the group, in the order of ``sys.path``.

    If two copies of a distribution are on the path, the first counts, as it does when it is imported.
    """
    seen: set[str] = set()
    plugins: list[InstalledPlugin] = []
    for name, version, entry_points in _distributions():
        if (key := normalized_name(name)) in seen:
            continue
        seen.add(key)
        plugins += _plugins_of(name, version, entry_points)
    return tuple(plugins)


def _distributions() -> Iterator[tuple[str, str, str]]:
    """Name, version and entry-point text of every distribution whose text names the group."""
    others: list[str] = []
    for item in dict.fromkeys(sys.path):
        path = item or os.curdir
        if os.path.isdir(path):
            yield from _in_folder(path)
        elif os.path.exists(path):
            others.append(path)
    yield from _with_importlib(others)


def _in_folder(folder: str) -> Iterator[tuple[str, str, str]]:
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
        yield *_name_and_version(metadata, os.path.basename(path)), text


def _with_importlib(paths: list[str]) -> Iterator[tuple[str, str, str]]:
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
            yield distribution.name, distribution.version, text


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def _name_and_version(metadata: str, folder_name: str) -> tuple[str, str]:
    """Name and version from the headers of METADATA, or from the folder's name if a header is missing."""
    headers = metadata.split("\n\n", 1)[0]
    name = re.search(r"^Name:\s*(\S+)", headers, re.MULTILINE)
    version = re.search(r"^Version:\s*(\S+)", headers, re.MULTILINE)
    stem = folder_name.rsplit(".", 1)[0].split("-")
    return (
        name[1] if name else stem[0],
        version[1] if version else (stem[1] if len(stem) > 1 else "unknown"),
    )


def _plugins_of(distribution: str, version: str, text: str) -> Iterator[InstalledPlugin]:
    """One plugin for each line of the group's section in an ``entry_points.txt``."""
    in_group = False
    for raw in text.splitlines():
        line = raw.strip()
        if not line or line.startswith(("#", ";")):
            continue
        if line.startswith("["):
            in_group = line[1:].rstrip("]").strip() == GROUP
        elif in_group:
            name, equals, value = (part.strip() for part in line.partition("="))
            value = value.split("[", 1)[0].strip()
            is_valid = equals and name and re.fullmatch(r"[\w.]+(\s*:\s*[\w.]+)?", value)
            problem = None if is_valid else f"its entry point {line!r} is not of the form 'name = module'"
            yield InstalledPlugin(distribution, version, name or line, value, problem)
