"""Check one plugin before anybody relies on it: contract version, hooks, and everything it offers."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from types import ModuleType
from typing import Any, get_args, get_origin

import pluggy
from pydantic import BaseModel, ValidationError

from ptycho_cli.config.schema import Options
from ptycho_cli.extend.specs import API_VERSION, PROJECT, Entry

API_LITERAL = "ptycho_plugin_api"
HOOKS = ("ptycho_schedulers", "ptycho_callbacks", "ptycho_networks")
_HOOK_NAMES = f"{', '.join(HOOKS[:-1])} and {HOOKS[-1]}"
_NAME = r"[A-Za-z][A-Za-z0-9_-]*"
_MUTABLE = (list, dict, set, bytearray)


class Rejection(Exception):  # noqa: N818 - a verdict on a plugin, turned into a line of text
    """Why a plugin is left out: one line, and the way out."""

    def __init__(self, reason: str, hint: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.hint = hint


def check_api(plugin: object, module: str) -> None:
    """Refuse a plugin that was written for another contract, or that does not say for which."""
    stated = getattr(plugin, API_LITERAL, None)
    if stated is None:
        stated = getattr(sys.modules.get(module), API_LITERAL, None)
    judge_api(stated)


def judge_api(stated: object) -> None:
    """Raise ``Rejection`` unless ``stated`` is this program's contract version."""
    if stated is None:
        raise Rejection(f"it does not state '{API_LITERAL}'", f"Write '{API_LITERAL} = {API_VERSION}' in its module.")
    if type(stated) is not int:
        raise Rejection(f"its '{API_LITERAL}' is {stated!r}, expected the whole number {API_VERSION}")
    if stated != API_VERSION:
        side = "ptycho-cli" if stated > API_VERSION else "the plugin"
        raise Rejection(f"it was written for plugin API {stated}, this program has {API_VERSION}", f"Upgrade {side}.")


def stated_api(module: str) -> object:
    """The contract version that a module's source states, read without running it; None if there is none to read."""
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
        named = any(isinstance(target, ast.Name) and target.id == API_LITERAL for target in targets)
        if named and isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
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
        if callable(value) and not hasattr(value, f"{PROJECT}_impl") and name in HOOKS:
            raise Rejection(f"its '{name}' is not marked as a hook", f"Write '@hookimpl' above 'def {name}'.")
    if not implemented:
        raise Rejection("it implements no hook", f"The hooks are {_HOOK_NAMES}.")


def _hook_hint(name: str) -> str:
    from difflib import get_close_matches

    nearest = get_close_matches(name, HOOKS, n=1, cutoff=0.5)
    return f"Did you mean '{nearest[0]}'?" if nearest else f"The hooks are {_HOOK_NAMES}."


def check_entries(hook: str, returned: object, kind: type[Entry], *, defaults: bool = True) -> tuple[Entry, ...]:
    """What a hook returned, as a tuple of valid entries; runs a generator to its end."""
    if not isinstance(returned, Iterable) or isinstance(returned, str | bytes):
        raise Rejection(f"its hook '{hook}' returned {_shown(returned)}, expected a list of {kind.__name__}")
    entries = tuple(returned)
    names: set[str] = set()
    for entry in entries:
        if not isinstance(entry, kind):
            raise Rejection(f"its hook '{hook}' offers {_shown(entry)}, expected a {kind.__name__}")
        check_entry(entry, defaults=defaults)
        if entry.name.casefold() in names:
            raise Rejection(f"its hook '{hook}' offers {entry.name!r} twice")
        names.add(entry.name.casefold())
    return entries


def check_entry(entry: Entry, *, defaults: bool = True) -> None:
    """Refuse an entry whose name, summary, factory or option model cannot be used.

    ``defaults`` tries the options' defaults too. It makes pydantic build the model's validator, which
    takes milliseconds that every command would pay for the built-ins; a test tries theirs.
    """
    if not isinstance(entry.name, str) or not re.fullmatch(_NAME, entry.name):
        raise Rejection(f"it offers the name {entry.name!r}", "Use letters, digits, '-' and '_', a letter first.")
    if not isinstance(entry.summary, str) or not entry.summary.strip() or "\n" in entry.summary:
        raise Rejection(f"{entry.name}: its summary must be one line of text, found {_shown(entry.summary)}")
    if not callable(entry.build):
        raise Rejection(f"{entry.name}: its 'build' is {_shown(entry.build)}, expected a function")
    check_options(entry.name, entry.options)
    if defaults:
        check_defaults(entry.name, entry.options)


def check_options(name: str, model: type[BaseModel]) -> None:
    """Refuse an option model that is not frozen all the way down."""
    if not isinstance(model, type) or not issubclass(model, Options):
        raise Rejection(f"{name}: its options are {_shown(model)}, expected a subclass of ptycho_cli.extend.Options")
    if not model.model_config.get("frozen") or model.model_config.get("extra") != "forbid":
        raise Rejection(
            f"{name}: {model.__name__} is not frozen or accepts unknown names",
            "Leave 'frozen' and 'extra' as ptycho_cli.extend.Options sets them.",
        )
    for field, info in model.model_fields.items():
        if mutable := _mutable_in(info.annotation):
            raise Rejection(
                f"{name}: option '{field}' of {model.__name__} is a {mutable.__name__}, which can be changed",
                "Use a tuple, a frozenset or a frozen model.",
            )


def check_defaults(name: str, model: type[BaseModel]) -> None:
    """Refuse an option model whose own bounds refuse its defaults, or that cannot be hashed."""
    try:
        hash(model())
    except ValidationError as error:
        wrong = [part for part in error.errors() if part["type"] != "missing"]
        if wrong:
            where = ".".join(str(step) for step in wrong[0]["loc"])
            raise Rejection(f"{name}: the default of option '{where}' is refused: {wrong[0]['msg']}") from error
    except Exception as error:
        raise Rejection(f"{name}: {model.__name__} cannot be used: {one_line(error)}") from error


def _mutable_in(annotation: Any) -> type | None:
    """The first list, dict or set inside an annotation."""
    origin = get_origin(annotation) or annotation
    if isinstance(origin, type) and issubclass(origin, _MUTABLE):
        return origin
    for argument in get_args(annotation):
        if found := _mutable_in(argument):
            return found
    return None


def one_line(error: BaseException) -> str:
    """An exception as one line of text: its type and the first line of its message."""
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0]}" if text else type(error).__name__


def _shown(value: object) -> str:
    kind = "a module" if isinstance(value, ModuleType) else type(value).__name__
    text = repr(value)
    return f"{kind} {text}" if len(text) <= 60 else kind
