"""Load plugins one at a time and record the result of each, so that one failure affects no other plugin."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from importlib import import_module
from typing import Any, Generic, Literal, NamedTuple, TypeVar

import pluggy

from ptycho_cli.config.catalogue import EntryInfo
from ptycho_cli.config.settings_group import Options
from ptycho_cli.extend import hooks
from ptycho_cli.extend.hooks import HOOKS
from ptycho_cli.extend.specs import PROJECT, ConfigurableEntry, Entry, SchedulerEntry
from ptycho_cli.extend.validate import (
    Rejection,
    check_api,
    check_entries,
    check_hooks,
    declared_api,
    require_api,
)
from ptycho_cli.installed_plugins import InstalledPlugin
from ptycho_cli.plugin_code import LOADING_S, one_line, plugin_code

E = TypeVar("E", bound=Entry)


class PluginRecord(NamedTuple):
    """One plugin, for listings and for the record of a run.

    Attributes:
        distribution: Distribution that contains it.
        version: Version of that distribution.
        entry_point: Name of its entry point.
        value: Module, or ``module:attribute``, that the entry point loads.
        status: ``loaded``; ``blocked`` by the user, so never imported; or ``failed``.
        offered: Kind and name of each entry that it offers.
        error: Reason of a failure, one line without the plugin's name; None otherwise.
        hint: The way out, if one is known.
    """

    distribution: str
    version: str
    entry_point: str
    value: str
    status: Literal["loaded", "blocked", "failed"]
    offered: tuple[tuple[str, str], ...] = ()
    error: str | None = None
    hint: str | None = None

    @property
    def title(self) -> str:
        """Distribution, version and entry point."""
        return f"{self.distribution} {self.version} ({self.entry_point})"

    @property
    def line(self) -> str:
        """Title, status and the reason of a failure: one line for warnings and errors."""
        title = f"plugin {self.title}"
        if self.status == "failed":
            return f"{title} was left out: {self.error}.{f' {self.hint}' if self.hint else ''}"
        return f"{title} is {self.status}"

    def names(self) -> dict[str, list[str]]:
        """Names that it offers, by kind in the plural; every kind is present."""
        return {hook.plural: [name for kind, name in self.offered if kind == hook.kind] for hook in HOOKS}

    def as_json(self) -> dict[str, Any]:
        """Plain values for ``plugins list --json`` and ``run.json``."""
        plain = self._asdict()
        del plain["offered"]
        reasons = {name: plain.pop(name) for name in ("error", "hint")}
        return {**plain, **self.names(), **reasons}


class RegisteredEntry(NamedTuple, Generic[E]):
    """An entry, and what the settings need to know of it, such as its distribution."""

    info: EntryInfo
    entry: E

    @property
    def title(self) -> str:
        """Kind, name, distribution and version, for messages."""
        return f"{self.entry.kind} '{self.entry.name}' ({self.info.origin})"


class Loader:
    """Registers plugins one at a time.

    Attributes:
        records: One record for each plugin, in the order of loading.
        registered: Every entry that the loaded plugins offer.
    """

    def __init__(self) -> None:
        self.records: list[PluginRecord] = []
        self.registered: list[RegisteredEntry[Entry]] = []
        self._manager = pluggy.PluginManager(PROJECT)
        self._manager.add_hookspecs(hooks)

    def skip(self, plugin: InstalledPlugin) -> None:
        """Record a plugin that the user blocked, without importing it."""
        self._record(plugin, "blocked")

    def load(self, plugin: InstalledPlugin, *, built_in: bool = False) -> None:
        """Import a plugin and register all of its entries, or none of them and record why."""
        try:
            with _plugin_code("loading it"):
                entries = self._collect(plugin, built_in)
        except Rejection as rejection:
            self._record(plugin, "failed", error=rejection.reason, hint=rejection.hint)
            return
        for entry in entries:
            options = entry.options if isinstance(entry, ConfigurableEntry) else Options
            staged = isinstance(entry, SchedulerEntry) and entry.staged
            source = (plugin.distribution, plugin.version)
            info = EntryInfo(entry.kind, entry.name, options, *source, entry.summary, staged)
            self.registered.append(RegisteredEntry(info, entry))
        self._record(plugin, "loaded", offered=tuple((entry.kind, entry.name) for entry in entries))

    def _collect(self, plugin: InstalledPlugin, built_in: bool) -> list[Entry]:
        """Import and register a plugin, and call its own hook implementations one by one.

        Calling a hook through pluggy would call it on all plugins, and the first that raises would stop the others.
        """
        module = self._register(plugin)
        try:
            check_hooks(self._manager, module)
            return self._entries(module, built_in=built_in)
        except BaseException:
            self._manager.unregister(module)
            raise

    def _register(self, plugin: InstalledPlugin) -> object:
        if plugin.problem is not None:
            raise Rejection(plugin.problem)
        module, _, attribute = (part.strip() for part in plugin.value.partition(":"))
        with _plugin_code("importing it", module):
            loaded: object = import_module(module)
        for name in attribute.split(".") if attribute else ():
            if not hasattr(loaded, name):
                raise Rejection(f"{module} has no '{attribute}'")
            loaded = getattr(loaded, name)
        check_api(loaded, module)
        # pluggy skips a second plugin of the same name, so the name contains the value of the entry point
        label = f"{plugin.distribution}:{plugin.entry_point}={plugin.value}"
        try:
            self._manager.register(loaded, name=label)
        except ValueError as error:
            raise Rejection(f"another entry point has already loaded {plugin.value}") from error
        except pluggy.PluginValidationError as error:
            raise Rejection(f"a hook does not fit its specification: {' '.join(str(error).split())}") from error
        return loaded

    def _entries(self, module: object, *, built_in: bool) -> list[Entry]:
        """Entries that the plugin's hooks return; a test checks the built-ins, which every command loads."""
        entries: list[Entry] = []
        for hook in HOOKS:
            caller: pluggy.HookCaller = getattr(self._manager.hook, hook.name)
            for implementation in caller.get_hookimpls():
                if implementation.plugin is module:
                    with _plugin_code(f"its hook '{hook.name}'"):
                        offered: Any = implementation.function()
                        entries += offered if built_in else check_entries(hook, offered)
        return entries

    def _record(self, plugin: InstalledPlugin, status: Literal["loaded", "blocked", "failed"], **more: Any) -> None:
        self.records.append(
            PluginRecord(plugin.distribution, plugin.version, plugin.entry_point, plugin.value, status, **more)
        )


@contextmanager
def _plugin_code(action: str, module: str | None = None) -> Iterator[None]:
    """Run a plugin's code and turn whatever it raises into a ``Rejection``.

    Its standard output goes to standard error, because the command itself may print JSON.

    Args:
        action: Description of the code, for the message.
        module: Module that is being imported; if it fails and was written for another version of the contract, the
            rejection names that version.
    """
    try:
        with redirect_stdout(sys.stderr), plugin_code(LOADING_S):
            yield
    except Rejection:
        raise
    except Exception as error:
        if module is not None and (declared := declared_api(module)) is not None:
            require_api(declared)
        raise Rejection(f"{action} failed: {one_line(error)}") from error
