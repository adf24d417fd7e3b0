"""The plugin host: finds plugins, loads each one on its own, and answers for what they offer.

A plugin that fails to import, raises in a hook or breaks the contract is named and left out;
everything else keeps working. Nothing here imports torch.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Literal, TypeVar

from ptycho_cli import __version__
from ptycho_cli.config.catalogue import Catalogue, Offer
from ptycho_cli.config.offered_names import canonical_name, clash, pick, way_out
from ptycho_cli.errors import PluginError
from ptycho_cli.extend.discover import Advert, find_adverts
from ptycho_cli.extend.load import Loader, Offered, PluginRecord
from ptycho_cli.extend.specs import CallbackEntry, NetworkEntry, SchedulerEntry

HOME = "ptycho-cli"
NO_PLUGINS = "PTYCHO_NO_PLUGINS"
_BUILT_IN = Advert(HOME, __version__, "built-in", "ptycho_cli.built_in")
_ON, _OFF = ("1", "true", "yes", "on"), ("", "0", "false", "no", "off")
_Entry = TypeVar("_Entry", SchedulerEntry, CallbackEntry, NetworkEntry)
Kind = Literal["scheduler", "callback", "network"]


class Host:
    """Every plugin that was found, and what those that work offer.

    Attributes:
        plugins: One record for every entry point, the built-ins first.
        warnings: What the user should know besides failed plugins, such as a ``--no-plugin`` that names none.
    """

    def __init__(
        self,
        plugins: tuple[PluginRecord, ...],
        schedulers: tuple[Offered, ...],
        callbacks: tuple[Offered, ...],
        networks: tuple[Offered, ...],
        warnings: tuple[str, ...] = (),
    ) -> None:
        self.plugins = plugins
        self.warnings = warnings
        self._offered: dict[Kind, tuple[Offered, ...]] = {
            "scheduler": schedulers,
            "callback": callbacks,
            "network": networks,
        }

    def catalogue(self) -> Catalogue:
        """Everything on offer as data for the resolver, and one line for each plugin that was left out."""
        return Catalogue(
            schedulers=tuple(item.offer for item in self._offered["scheduler"]),
            callbacks=tuple(item.offer for item in self._offered["callback"]),
            networks=tuple(item.offer for item in self._offered["network"]),
            broken=tuple(record.line for record in self.plugins if record.status == "failed"),
            blocked=tuple(record.title for record in self.plugins if record.status == "blocked"),
        )

    def scheduler(self, wanted: Offer | str) -> SchedulerEntry:
        """The scheduler behind an offer, a name, or ``distribution:name``.

        Raises:
            PluginError: If there is none, or two plugins offer it.
        """
        return self._entry("scheduler", wanted, SchedulerEntry)

    def callback(self, wanted: Offer | str) -> CallbackEntry:
        """The callback behind an offer, a name, or ``distribution:name``.

        Raises:
            PluginError: If there is none, or two plugins offer it.
        """
        return self._entry("callback", wanted, CallbackEntry)

    def network(self, wanted: Offer | str) -> NetworkEntry:
        """The network behind an offer, a name, or ``distribution:name``.

        Raises:
            PluginError: If there is none, or two plugins offer it.
        """
        return self._entry("network", wanted, NetworkEntry)

    def offer(self, kind: Kind, wanted: str) -> Offer:
        """Who offers a scheduler, callback or network; raises ``PluginError`` as the methods of these names do."""
        return self._find(kind, wanted).offer

    def _entry(self, kind: Kind, wanted: Offer | str, of: type[_Entry]) -> _Entry:
        entry = self._find(kind, wanted).entry
        assert isinstance(entry, of)
        return entry

    def _find(self, kind: Kind, wanted: Offer | str) -> Offered:
        offered = self._offered[kind]
        found = [wanted] if isinstance(wanted, Offer) else pick(tuple(item.offer for item in offered), wanted)
        for item in offered:
            if found == [item.offer]:
                return item
        name = f"{wanted.distribution}:{wanted.name}" if isinstance(wanted, Offer) else wanted
        if len(found) > 1:
            message, hint = clash(kind, found)
            raise PluginError(message, hint=hint)
        raise PluginError(f"there is no {kind} {name!r}.", hint=way_out(kind, name, self.catalogue()))


def load_plugins(blocked: Collection[str] = (), *, environment: Mapping[str, str] = os.environ) -> Host:
    """Load the built-ins and every installed plugin that is not blocked.

    Args:
        blocked: Distribution or entry-point names; what they match is listed but not imported.
        environment: ``PTYCHO_NO_PLUGINS=1`` blocks all but the built-ins.

    Raises:
        PluginError: If the built-ins are blocked, or ``PTYCHO_NO_PLUGINS`` is neither on nor off.
    """
    none_wanted = _switch(environment.get(NO_PLUGINS, ""))
    names = {canonical_name(name): name for name in blocked}
    if HOME in names:
        raise PluginError(f"--no-plugin {names[HOME]}: the built-ins cannot be blocked.")
    loader = Loader()
    loader.load(_BUILT_IN, built_in=True)
    assert loader.records[0].status == "loaded", loader.records[0].line
    matched: set[str] = set()
    for advert in find_adverts():
        keys = {canonical_name(advert.distribution), canonical_name(advert.entry_point)} & names.keys()
        matched |= keys
        if none_wanted or keys:
            loader.skip(advert)
        else:
            loader.load(advert)
    warnings = tuple(
        f"--no-plugin {typed}: no installed plugin has that name." for key, typed in names.items() if key not in matched
    )
    shelves = {shelf: tuple(offered) for shelf, offered in loader.shelves.items()}
    return Host(tuple(loader.records), **shelves, warnings=warnings)


def _switch(text: str) -> bool:
    word = text.strip().lower()
    if word not in (*_ON, *_OFF):
        raise PluginError(f"${NO_PLUGINS} is {text!r}, expected 1 or 0.")
    return word in _ON
