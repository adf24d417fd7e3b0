"""Check one plugin before it is used: contract version, hooks, and every entry that it offers."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, get_args, get_origin

import pluggy
from pydantic import BaseModel, ValidationError

from ptycho_cli.config.settings_group import Options
from ptycho_cli.extend.hooks import HOOKS, Hook
from ptycho_cli.extend.specs import API_VERSION, PROJECT, CommandEntry, ConfigurableEntry, Entry
from ptycho_cli.plugin_code import one_line

API_LITERAL = "ptycho_plugin_api"
_HOOK_NAMES = tuple(hook.name for hook in HOOKS)
_NAME = r"[A-Za-z][A-Za-z0-9_-]*"
_COMMAND = r"[a-z][a-z0-9-]*"
_MUTABLE = (list, dict, set, bytearray)


class Rejection(Exception):  # noqa: N818 - not an error of the program; it becomes a line of the plugin's record
    """The reason why a plugin is left out, one line, and the way out."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def check_api(plugin: object, module: str) -> None:
    """Refuse a plugin that was written for another version of the contract, or declares none."""
    declared = getattr(plugin, API_LITERAL, None)
    if declared is None:
        declared = getattr(sys.modules.get(module), API_LITERAL, None)
    require_api(declared)


def require_api(declared: object) -> None:
    """Raise ``Rejection`` unless ``declared`` is this program's contract version."""
    if declared is None:
        raise Rejection(f"it does not state '{API_LITERAL}'", f"Write '{API_LITERAL} = {API_VERSION}' in its module.")
    if type(declared) is not int:
        raise Rejection(f"its '{API_LITERAL}' is {declared!r}, expected the whole number {API_VERSION}")
    if declared != API_VERSION:
        side = "ptycho-cli" if declared > API_VERSION else "the plugin"
        raise Rejection(f"it was written for plugin API {declared}, this program has {API_VERSION}", f"Upgrade {side}.")


def declared_api(module: str) -> object:
    """The contract version in a module's source, read without running it; None if it cannot be read."""
    import ast
    from importlib.util import find_spec

    try:
        spec = find_spec(module)
        if spec is None or spec.origin is None:
            return None
        with open(spec.origin, encoding="utf-8") as file:
            tree = ast.parse(file.read())
    except (ImportError, OSError, SyntaxError, ValueError):
        return None
    for node in tree.body:
        targets = node.targets if isinstance(node, ast.Assign) else ()
        is_literal = any(isinstance(target, ast.Name) and target.id == API_LITERAL for target in targets)
        if is_literal and isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
            return node.value.value
    return None


def check_hooks(manager: pluggy.PluginManager, plugin: object) -> None:
    """Refuse misspelt hooks, hooks that lack the ``hookimpl`` mark, and plugins without any hook."""
    callers = manager.get_hookcallers(plugin) or []
    for caller in callers:
        if not caller.has_spec():
            raise Rejection(f"it implements the unknown hook '{caller.name}'", _hook_hint(caller.name))
    implemented = {caller.name for caller in callers}
    for name in dir(plugin):
        unmarked = name.startswith("ptycho_") and name not in (*implemented, API_LITERAL)
        value = getattr(plugin, name) if unmarked else None
        if callable(value) and not hasattr(value, f"{PROJECT}_impl") and name in _HOOK_NAMES:
            raise Rejection(f"its '{name}' is not marked as a hook", f"Write '@hookimpl' above 'def {name}'.")
    if not implemented:
        raise Rejection("it implements no hook", _all_hooks())


def _hook_hint(name: str) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, _HOOK_NAMES, n=1, cutoff=0.5)
    return f"Did you mean '{nearest[0]}'?" if nearest else _all_hooks()


def _all_hooks() -> str:
    return f"The hooks are {', '.join(_HOOK_NAMES[:-1])} and {_HOOK_NAMES[-1]}."


def check_entries(hook: Hook, returned: object) -> tuple[Entry, ...]:
    """Check the value that a hook returned and make it a tuple; runs a generator to its end."""
    expected = hook.entry.__name__
    if not isinstance(returned, Iterable) or isinstance(returned, str | bytes):
        raise Rejection(f"its hook '{hook.name}' returned {_describe(returned)}, expected a list of {expected}")
    entries = tuple(returned)
    names: set[str] = set()
    for entry in entries:
        if not isinstance(entry, hook.entry):
            raise Rejection(f"its hook '{hook.name}' offers {_describe(entry)}, expected a {expected}")
        check_entry(entry)
        if entry.name.casefold() in names:
            raise Rejection(f"its hook '{hook.name}' offers {entry.name!r} twice")
        names.add(entry.name.casefold())
    return entries


def check_entry(entry: Entry) -> None:
    """Refuse an entry whose name, summary, functions or option model cannot be used."""
    if not isinstance(entry.name, str) or not re.fullmatch(_NAME, entry.name):
        raise Rejection(f"it offers the name {entry.name!r}", "Use letters, digits, '-' and '_', a letter first.")
    if not isinstance(entry.summary, str) or not entry.summary.strip() or "\n" in entry.summary:
        raise Rejection(f"{entry.name}: its summary must be one line of text, found {_describe(entry.summary)}")
    if isinstance(entry, CommandEntry) and not re.fullmatch(_COMMAND, entry.name):
        raise Rejection(f"it offers the command {entry.name!r}", "Use lower-case letters, digits and '-'.")
    for field in entry.functions:
        if not callable(function := getattr(entry, field)):
            raise Rejection(f"{entry.name}: its '{field}' is {_describe(function)}, expected a function")
    if isinstance(entry, ConfigurableEntry):
        _check_options(entry.options, f"{entry.name}:")


def _check_options(model: type[BaseModel], prefix: str) -> None:
    """Refuse an option model that is not frozen, or that has a field of a mutable type."""
    if not isinstance(model, type) or not issubclass(model, Options):
        raise Rejection(
            f"{prefix} its options are {_describe(model)}, expected a subclass of ptycho_cli.extend.Options"
        )
    if not model.model_config.get("frozen") or model.model_config.get("extra") != "forbid":
        raise Rejection(
            f"{prefix} {model.__name__} is not frozen or accepts unknown names",
            "Leave 'frozen' and 'extra' as ptycho_cli.extend.Options sets them.",
        )
    for field, info in model.model_fields.items():
        if mutable := _mutable_in(info.annotation):
            raise Rejection(
                f"{prefix} option '{field}' of {model.__name__} is a {mutable.__name__}, which can be changed",
                "Use a tuple, a frozenset or a frozen model.",
            )
    _check_defaults(model, prefix)


def _check_defaults(model: type[BaseModel], prefix: str) -> None:
    """Refuse an option model whose defaults violate its own bounds, or that cannot be hashed."""
    try:
        hash(model())
    except ValidationError as error:
        wrong = [part for part in error.errors() if part["type"] != "missing"]
        if wrong:
            option = ".".join(str(step) for step in wrong[0]["loc"])
            raise Rejection(f"{prefix} the default of option '{option}' is refused: {wrong[0]['msg']}") from error
    except Exception as error:
        raise Rejection(f"{prefix} {model.__name__} cannot be used: {one_line(error)}") from error


def _mutable_in(annotation: Any) -> type | None:
    """The first list, dict or set inside an annotation."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, _MUTABLE):
        return origin
    for argument in get_args(annotation):
        if found := _mutable_in(argument):
            return found
    return None


def _describe(value: object) -> str:
    kind = "a module" if isinstance(value, ModuleType) else type(value).__name__
    text = repr(value)
    return f"{kind} {text}" if len(text) <= 60 else kind
