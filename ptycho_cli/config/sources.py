"""Layers of the defaults, the environment, Python callers and the user's settings file: raw values with their places.

Values are converted and ranked in ``resolve``. ``files``, ``command_line``, ``presets`` and ``earlier_run`` make the
other layers.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from ptycho_cli.config.keys import CALLBACKS_PREFIX, CHOICES, ENV_PREFIX, FINDINGS_PREFIX, find_key, keys
from ptycho_cli.config.provenance import Layer, Problem, Setting, Source
from ptycho_cli.config.suggestions import unknown_variable
from ptycho_cli.config.values import parse_text, show

USER_FILE_NAME = "PTYCHO_USER_FILE"
RESERVED_NAMES = ("PTYCHO_NO_PLUGINS", "PTYCHO_PLUGIN_TIME_LIMIT", "PTYCHO_TEST_DATA", USER_FILE_NAME)


def default_layer() -> Layer:
    """The built-in defaults of all core settings."""
    settings = ((key.name, Setting(key.default, Source.DEFAULT, "default")) for key in keys().values())
    return Layer(Source.DEFAULT, tuple(settings))


def environment_layer(environ: Mapping[str, str] = os.environ) -> Layer:
    """Settings in variables such as ``PTYCHO_TRAINING__BATCH_SIZE``; other ``PTYCHO_`` names get a warning."""
    settings: list[tuple[str, Setting]] = []
    warnings: list[str] = []
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name in RESERVED_NAMES:
            continue
        if "__" not in name:
            warnings.append(unknown_variable(name, RESERVED_NAMES))
            continue
        key = name.removeprefix(ENV_PREFIX).lower().replace("__", ".")
        if key.startswith(FINDINGS_PREFIX):
            key = key.replace("_", "-")
        text = environ[name]
        value = parse_text(known, text) if (known := find_key(key)) else text
        settings.append((key, Setting(value, Source.ENVIRONMENT, f"${name}")))
    return Layer(Source.ENVIRONMENT, tuple(settings), warnings=tuple(warnings))


def library_layer(settings: Mapping[str, Any]) -> Layer:
    """Settings of a Python caller.

    Names are dotted keys (``"training.epochs"``) or flags written as identifiers (``epochs``,
    ``learning_rate``); ``scheduler_options``, ``network_options`` and ``callbacks`` take dicts.
    """
    by_flag = {flag.lstrip("-").replace("-", "_"): key.name for key in keys().values() for flag in key.flags}
    prefixes = {name: choice.prefix for choice in CHOICES for name in (choice.argument, choice.prefix.rstrip("."))}
    prefixes[FINDINGS_PREFIX.rstrip(".")] = FINDINGS_PREFIX
    found: list[tuple[str, Setting]] = []
    problems: list[Problem] = []
    for name, value in settings.items():
        origin = f"argument {name}"
        if name in prefixes and isinstance(value, Mapping):
            items = [(prefixes[name] + option, item) for option, item in value.items()]
        elif name in prefixes:
            key, items = prefixes[name].rstrip("."), []
            problems.append(Problem(key, origin, f"{key} is {show(value)}, expected a dict of options."))
        elif name == CALLBACKS_PREFIX.rstrip("."):
            items = list(_callbacks(value))
            if not items and value not in ((), [], {}):
                expected = "expected names, or a dict of names and their options."
                problems.append(Problem(name, origin, f"{name} is {show(value)}, {expected}"))
        else:
            items = [(by_flag.get(name, name), value)]
        found += [(key, Setting(_plain(item), Source.LIBRARY, origin)) for key, item in items]
    return Layer(Source.LIBRARY, tuple(found), tuple(problems))


def _callbacks(value: Any) -> Iterable[tuple[str, Any]]:
    """Keys and values of the callbacks of a Python caller: a name, a list of names, or a dict with their options."""
    if isinstance(value, Mapping):
        for name, options in value.items():
            yield CALLBACKS_PREFIX + name, True if options is None or isinstance(options, Mapping) else options
            if isinstance(options, Mapping):
                yield from ((f"{CALLBACKS_PREFIX}{name}.{option}", item) for option, item in options.items())
    elif isinstance(value, (str, list, tuple)):
        yield from ((f"{CALLBACKS_PREFIX}{name}", True) for name in ([value] if isinstance(value, str) else value))


def _plain(value: Any) -> Any:
    """A value as layers hold it: a tuple for a list, text for a path."""
    if isinstance(value, list):
        return tuple(value)
    return os.fspath(value) if isinstance(value, os.PathLike) else value


class UserFile(NamedTuple):
    """The user's own settings file, which every command reads.

    Attributes:
        path: The file; None if the environment switches it off.
        named: ``$PTYCHO_USER_FILE`` names it, so it must exist.
    """

    path: str | None
    named: bool

    @property
    def shown(self) -> str:
        """The path for tables, with ``~`` for the home folder."""
        home = os.path.expanduser("~")
        path = self.path or ""
        return f"~{path[len(home) :]}" if home != os.sep and path.startswith(home + os.sep) else path

    @property
    def exists(self) -> bool:
        """True if there is a file to read, or one that must exist."""
        return self.path is not None and (self.named or os.path.exists(self.path))


def user_file(environ: Mapping[str, str] = os.environ) -> UserFile:
    """Find the user's file: ``$PTYCHO_USER_FILE``, or ``ptycho/config.yaml`` in ``$XDG_CONFIG_HOME`` or ``~/.config``.

    An empty ``$PTYCHO_USER_FILE`` switches it off.
    """
    named = environ.get(USER_FILE_NAME)
    if named is not None:
        return UserFile(named or None, named=True)
    folder = environ.get("XDG_CONFIG_HOME", "")
    if not os.path.isabs(folder):  # the XDG specification ignores relative ones
        folder = os.path.join(os.path.expanduser("~"), ".config")
    return UserFile(os.path.join(folder, "ptycho", "config.yaml"), named=False)


def user_file_layer(environ: Mapping[str, str] = os.environ) -> Layer | None:
    """Settings in the user's file; None if there is no file."""
    found = user_file(environ)
    if not found.exists or found.path is None:
        return None
    from ptycho_cli.config.files import file_layer

    return file_layer(found.path, Source.USER_FILE, shown_as=found.shown)
