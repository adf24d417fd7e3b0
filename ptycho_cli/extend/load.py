"""Load plugins one at a time and keep a record of each, so that the failure of one touches no other."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import redirect_stdout
from importlib import import_module
from typing import Any, Literal, NamedTuple, TypeVar

import pluggy

from ptycho_cli.config.catalogue import Offer
from ptycho_cli.extend import specs
from ptycho_cli.extend.discover import Advert
from ptycho_cli.extend.specs import CallbackEntry, Entry, NetworkEntry, SchedulerEntry
from ptycho_cli.extend.validate import (
    Rejection,
    check_api,
    check_entries,
    check_hooks,
    judge_api,
    one_line,
    stated_api,
)

_Result = TypeVar("_Result")


class PluginRecord(NamedTuple):
    """One plugin, for listings and for the record of a run.

    Attributes:
        distribution: Who ships it.
        version: Version of that distribution.
        entry_point: Name of its entry point.
        value: What the entry point loads.
        status: ``loaded``; ``blocked`` by the user, and never imported; or ``failed``, and left out.
        schedulers: Names of the schedulers that it offers.
        callbacks: Names of the callbacks that it offers.
        networks: Names of the networks that it offers.
        error: Why it failed, in one line without its name; None otherwise.
        hint: The way out, if one is known.
    """

    distribution: str
    version: str
    entry_point: str
    value: str
    status: Literal["loaded", "blocked", "failed"]
    schedulers: tuple[str, ...] = ()
    callbacks: tuple[str, ...] = ()
    networks: tuple[str, ...] = ()
    error: str | None = None
    hint: str | None = None

    @property
    def title(self) -> str:
        """Distribution, version and entry point."""
        return f"{self.distribution} {self.version} ({self.entry_point})"

    @property
    def line(self) -> str:
        """Title and, if it failed, why: one line for warnings and errors."""
        who = f"plugin {self.title}"
        if self.status == "failed":
            return f"{who} was left out: {self.error}.{f' {self.hint}' if self.hint else ''}"
        return f"{who} is {self.status}"

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``plugins list --json`` and ``run.json``."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in self._asdict().items()}


class Offered(NamedTuple):
    """A scheduler, callback or network together with the plugin that brought it."""

    offer: Offer
    entry: Entry


# Shelf -> hook that fills it, and what the hook returns.
_SHELVES: dict[str, tuple[str, type[Entry]]] = {
    "schedulers": ("ptycho_schedulers", SchedulerEntry),
    "callbacks": ("ptycho_callbacks", CallbackEntry),
    "networks": ("ptycho_networks", NetworkEntry),
}


class Loader:
    """Registers plugins one at a time, so that the failure of one touches no other."""

    def __init__(self) -> None:
        self.records: list[PluginRecord] = []
        self.shelves: dict[str, list[Offered]] = {shelf: [] for shelf in _SHELVES}
        self._manager = pluggy.PluginManager(specs.PROJECT)
        self._manager.add_hookspecs(specs)

    def skip(self, advert: Advert) -> None:
        """List a plugin that the user does not want, without importing it."""
        self._record(advert, "blocked")

    def load(self, advert: Advert, *, built_in: bool = False) -> None:
        """Import a plugin and take in all it offers, or nothing of it and the reason."""
        try:
            offered = _guarded("loading it", lambda: self._take_in(advert, built_in))
        except Rejection as rejection:
            self._record(advert, "failed", error=rejection.reason, hint=rejection.hint)
            return
        for shelf, entries in offered.items():
            for entry in entries:
                staged = isinstance(entry, SchedulerEntry) and entry.staged
                offer = Offer(entry.name, entry.options, advert.distribution, advert.version, entry.summary, staged)
                self.shelves[shelf].append(Offered(offer, entry))
        self._record(advert, "loaded", **{shelf: tuple(e.name for e in entries) for shelf, entries in offered.items()})

    def _take_in(self, advert: Advert, built_in: bool) -> dict[str, tuple[Entry, ...]]:
        plugin = self._register(advert)
        try:
            return self._ask(plugin, defaults=not built_in)
        except BaseException:
            self._manager.unregister(plugin)
            raise

    def _register(self, advert: Advert) -> object:
        if advert.problem is not None:
            raise Rejection(advert.problem)
        module, _, attribute = (part.strip() for part in advert.value.partition(":"))
        plugin: object = _guarded("importing it", lambda: import_module(module), module)
        for name in attribute.split(".") if attribute else ():
            if not hasattr(plugin, name):
                raise Rejection(f"{module} has no '{attribute}'")
            plugin = getattr(plugin, name)
        check_api(plugin, module)
        # The value is part of the name: two entry points of one name are two plugins, and neither is skipped.
        label = f"{advert.distribution}:{advert.entry_point}={advert.value}"
        try:
            self._manager.register(plugin, name=label)
        except ValueError as error:
            raise Rejection(f"another entry point has already loaded {advert.value}") from error
        except pluggy.PluginValidationError as error:
            raise Rejection(f"a hook does not fit its specification: {' '.join(str(error).split())}") from error
        return plugin

    def _ask(self, plugin: object, *, defaults: bool) -> dict[str, tuple[Entry, ...]]:
        """Call the plugin's own hook implementations, not the whole relay: one that raises would stop the rest."""
        check_hooks(self._manager, plugin)
        return {shelf: self._entries(plugin, hook, kind, defaults) for shelf, (hook, kind) in _SHELVES.items()}

    def _entries(self, plugin: object, hook: str, kind: type[Entry], defaults: bool) -> tuple[Entry, ...]:
        caller: pluggy.HookCaller = getattr(self._manager.hook, hook)
        for implementation in caller.get_hookimpls():
            if implementation.plugin is plugin:
                call = implementation.function
                return _guarded(f"its hook '{hook}'", lambda: check_entries(hook, call(), kind, defaults=defaults))  # noqa: B023
        return ()

    def _record(self, advert: Advert, status: Literal["loaded", "blocked", "failed"], **more: Any) -> None:
        self.records.append(
            PluginRecord(advert.distribution, advert.version, advert.entry_point, advert.value, status, **more)
        )


def _guarded(doing: str, act: Callable[[], _Result], module: str | None = None) -> _Result:
    """Run a plugin's code; whatever it raises, a call to ``sys.exit`` too, becomes the reason to leave it out.

    What it prints goes to standard error: standard output belongs to the command, which may print JSON.
    """
    try:
        with redirect_stdout(sys.stderr):
            return act()
    except Rejection:
        raise
    except (Exception, SystemExit) as error:
        if module is not None and (stated := stated_api(module)) is not None:
            judge_api(stated)  # an import that failed because the contract has moved on says so
        raise Rejection(f"{doing} failed: {one_line(error)}") from error
