"""Installed schedulers, networks and callbacks as data, so that settings are resolved without loading a plugin."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from pydantic import BaseModel

from ptycho_cli.config.nearest import nearest
from ptycho_cli.installed_plugins import normalized_name

CORE_DISTRIBUTION = "ptycho-cli"  # a plugin cannot take over one of its names


@dataclass(frozen=True, slots=True)
class EntryInfo:
    """A scheduler, network or callback that a user may choose.

    Attributes:
        kind: ``scheduler``, ``network`` or ``callback``.
        name: Name as users type it; case does not matter.
        options: Frozen pydantic model of its options.
        distribution: Distribution that offers it, such as ``ptycho-cli``; ``distribution:name`` chooses it where two
            offer one name.
        version: Version of that distribution.
        summary: One sentence.
        staged: Its schedule moves the loss through stages, which not every loss has.
    """

    kind: str
    name: str
    options: type[BaseModel]
    distribution: str
    version: str
    summary: str = ""
    staged: bool = False

    @property
    def origin(self) -> str:
        """Distribution and version, for messages."""
        return f"{self.distribution} {self.version}"


@dataclass(frozen=True, slots=True)
class Catalogue:
    """Everything that users may choose, and the plugins that were left out.

    Attributes:
        entries: All entries, of every kind.
        broken: One line for each plugin that failed to load, with its name and the reason.
        blocked: Names of the plugins that the user switched off.
    """

    entries: tuple[EntryInfo, ...] = ()
    broken: tuple[str, ...] = ()
    blocked: tuple[str, ...] = ()

    def of(self, kind: str) -> tuple[EntryInfo, ...]:
        """Entries of one kind, such as ``scheduler``."""
        return tuple(entry for entry in self.entries if entry.kind == kind)


def matching(entries: Iterable[EntryInfo], name: str) -> list[EntryInfo]:
    """Entries that ``name`` or ``distribution:name`` can mean; a built-in one is preferred to a plugin's."""
    distribution, _, bare = name.rpartition(":")
    found = [
        entry
        for entry in entries
        if entry.name.casefold() == bare.casefold()
        and (not distribution or normalized_name(entry.distribution) == normalized_name(distribution))
    ]
    built_in = [entry for entry in found if entry.distribution == CORE_DISTRIBUTION]
    return built_in if built_in and len(found) > len(built_in) else found


def unique_name(entries: Sequence[EntryInfo], entry: EntryInfo) -> str:
    """The shortest name that means ``entry`` alone: bare, or with its distribution."""
    return entry.name if matching(entries, entry.name) == [entry] else f"{entry.distribution}:{entry.name}"


def lasting_name(entries: Sequence[EntryInfo], name: str) -> str:
    """A name that means the same entry whatever else is installed later: that of a plugin has its distribution."""
    entry = entry_named(entries, name)
    if entry is None:
        return name
    return entry.name if entry.distribution == CORE_DISTRIBUTION else f"{entry.distribution}:{entry.name}"


def entry_named(entries: Iterable[EntryInfo], name: str) -> EntryInfo | None:
    """The entry that a name means; None if there is none, or more than one."""
    found = matching(entries, name)
    return found[0] if len(found) == 1 else None


def ambiguous_name(kind: str, found: Sequence[EntryInfo]) -> tuple[str, str]:
    """Message and hint for a name that several distributions offer."""
    sides = " and ".join(entry.origin for entry in found)
    choices = " or ".join(f"{entry.distribution}:{entry.name}" for entry in found)
    every = "both" if len(found) == 2 else "all"
    return f"{sides} {every} offer the {kind} {found[0].name}.", f"Choose {choices}."


def unknown_name_hint(kind: str, name: str, catalogue: Catalogue) -> str:
    """The nearest names, or all of them, with their distributions, and the plugins that were left out."""
    lines = [*catalogue.broken, *([f"blocked: {', '.join(catalogue.blocked)}"] if catalogue.blocked else [])]
    left_out = " ".join(f"{line[:1].upper()}{line[1:]}{'' if line.endswith(('.', '?')) else '.'}" for line in lines)
    distributions: dict[str, list[str]] = {}
    for entry in catalogue.of(kind):
        distributions.setdefault(entry.name, []).append(entry.distribution)
    if near := nearest(name.rpartition(":")[2], distributions, n=3):
        return f"Did you mean {_listed(near, distributions, ' or ')}? {left_out}".rstrip()
    known = (
        f"There are {_listed(distributions, distributions, ', ')}."
        if distributions
        else f"No {kind} is installed; install a plugin that offers one."
    )
    return f"{left_out} {known}".lstrip()


def _listed(names: Iterable[str], distributions: Mapping[str, list[str]], link: str) -> str:
    """``A, B (from ptycho-cli), C (from ptycho-wsd)``."""
    by_source: dict[str, list[str]] = {}
    for name in names:
        by_source.setdefault(" and ".join(distributions[name]), []).append(name)
    return link.join(f"{link.join(items)} (from {source})" for source, items in by_source.items())
