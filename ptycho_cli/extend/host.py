"""The plugin host: loads every installed plugin and finds their entries by name.

A plugin that fails to import, raises in a hook or breaks the contract is reported and left out;
everything else keeps working. Nothing here imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import cast

from ptycho_cli import __version__
from ptycho_cli.config.catalogue import (
    CORE_DISTRIBUTION,
    Catalogue,
    ambiguous_name,
    matching,
    unknown_name_hint,
)
from ptycho_cli.errors import PluginError
from ptycho_cli.extend.load import E, Loader, PluginRecord, RegisteredEntry
from ptycho_cli.extend.specs import Entry, ReaderEntry, WeightsEntry
from ptycho_cli.installed_plugins import InstalledPlugin, find_installed, normalized_name, plugins_are_blocked

_BUILT_IN = InstalledPlugin(CORE_DISTRIBUTION, __version__, "built-in", "ptycho_cli.built_in")


class Host:
    """All installed plugins, and the entries of those that were loaded.

    Attributes:
        plugins: One record for every entry point, the built-ins first.
        registered: Every entry with its distribution, in the order of loading.
        warnings: Messages for the user, such as a ``--no-plugin`` that matches no plugin.
    """

    def __init__(
        self,
        plugins: tuple[PluginRecord, ...],
        registered: tuple[RegisteredEntry[Entry], ...],
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.plugins = plugins
        self.registered = registered
        self.warnings = warnings

    def catalogue(self) -> Catalogue:
        """Every entry as data for the resolver, and one line for each plugin that was left out."""
        return Catalogue(
            entries=tuple(item.info for item in self.registered),
            broken=tuple(record.line for record in self.plugins if record.status == "failed"),
            blocked=tuple(record.title for record in self.plugins if record.status == "blocked"),
        )

    @property
    def readers(self) -> tuple[RegisteredEntry[ReaderEntry], ...]:
        """Readers that plugins offer; the built-in ones belong to ``ptycho_cli.data.readers``."""
        return self._entries(ReaderEntry)

    @property
    def weights(self) -> tuple[RegisteredEntry[WeightsEntry], ...]:
        """Weights of networks that plugins offer."""
        return self._entries(WeightsEntry)

    def _entries(self, entry_type: type[E]) -> tuple[RegisteredEntry[E], ...]:
        found = (item for item in self.registered if isinstance(item.entry, entry_type))
        return tuple(cast("RegisteredEntry[E]", item) for item in found)

    def find(self, entry_type: type[E], name: str) -> RegisteredEntry[E]:
        """Find an entry by its name or ``distribution:name``.

        Args:
            entry_type: ``SchedulerEntry``, ``CallbackEntry``, or another type of ``HOOKS``.
            name: Compared without regard to case; a built-in is preferred to a plugin's entry of the same name.

        Raises:
            PluginError: If there is none, or if two plugins offer it.
        """
        candidates = self._entries(entry_type)
        found = matching(tuple(item.info for item in candidates), name)
        for item in candidates:
            if found == [item.info]:
                return item
        kind = entry_type.kind
        if len(found) > 1:
            message, hint = ambiguous_name(kind, found)
            raise PluginError(message, hint=hint)
        raise PluginError(f"there is no {kind} {name!r}.", hint=unknown_name_hint(kind, name, self.catalogue()))


def load_plugins(blocked: Collection[str] = (), *, environment: Mapping[str, str] = os.environ) -> Host:
    """Load the built-ins and every installed plugin that is not blocked.

    Args:
        blocked: Names of distributions or entry points; a plugin that matches is listed but not imported.
        environment: ``PTYCHO_NO_PLUGINS=1`` blocks every plugin except the built-ins.

    Raises:
        PluginError: If the built-ins are blocked, or ``PTYCHO_NO_PLUGINS`` is neither on nor off.
    """
    block_all = plugins_are_blocked(environment)
    names = {normalized_name(name): name for name in blocked}
    if CORE_DISTRIBUTION in names:
        raise PluginError(f"--no-plugin {names[CORE_DISTRIBUTION]}: the built-ins cannot be blocked.")
    loader = Loader()
    loader.load(_BUILT_IN, built_in=True)
    assert loader.records[0].status == "loaded", loader.records[0].line
    matched: set[str] = set()
    for plugin in find_installed():
        keys = {
            normalized_name(plugin.distribution),
            normalized_name(plugin.entry_point),
        } & names.keys()
        matched |= keys
        if block_all or keys:
            loader.skip(plugin)
        else:
            loader.load(plugin)
    warnings = tuple(
        f"--no-plugin {typed}: no installed plugin has that name." for key, typed in names.items() if key not in matched
    )
    return Host(tuple(loader.records), tuple(loader.registered), warnings)
