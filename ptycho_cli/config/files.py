"""Settings in YAML files: every value with its line, and without YAML's implicit conversions.

PyYAML keeps the last of two equal keys, reads ``off`` as False, ``1:30`` as 90 and ``1e-3`` as text. Here the text
of a plain value is converted by the schema, as it is written, and everything ambiguous is refused with its line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ptycho_cli.config.keys import CALLBACKS_PREFIX, CHOICES, FINDINGS_PREFIX, find_key, groups, is_plugin_key
from ptycho_cli.config.provenance import Layer, Problem, Setting, Source
from ptycho_cli.errors import ConfigError

if TYPE_CHECKING:
    import yaml

_PLAIN = ("null", "bool", "int", "float", "str", "timestamp", "seq", "map", "value")
_PLAIN_TAGS = {f"tag:yaml.org,2002:{name}" for name in _PLAIN}
_LONGEST, _DEEPEST = 2**22, 32  # characters of a file, and its lists and mappings inside each other
_NULL = "tag:yaml.org,2002:null"
_MERGE = "tag:yaml.org,2002:merge"


def file_layer(path: str | os.PathLike[str], source: Source = Source.RUN_FILE, *, shown_as: str | None = None) -> Layer:
    """Read one YAML (or JSON) file of settings.

    The output of ``inspect-config --json`` and the ``run.json`` of a run can be read, too: only their ``config`` is
    used.

    Args:
        path: The file.
        source: Rank of the layer. In the user's file, all lines may be commented out.
        shown_as: Name of the file in origins; by default the path.
    """
    name = shown_as or os.fspath(path)
    root, problem = _compose(os.fspath(path), name)
    if root is None and problem is None and source is Source.USER_FILE:  # all of it commented out
        return Layer(source)
    if root is None and problem is None:
        hint = "Write `group:` with `key: value` below it, or leave it out."
        problem = Problem(name, name, "the file has no settings", hint)
    if problem is not None:
        return Layer(source, problems=(problem,))
    reader = _Reader(name, source)
    reader.read(root)
    return Layer(source, tuple(reader.settings), tuple(reader.problems))


def plain_values(path: str) -> dict[str, Any]:
    """The values of a YAML file that holds no settings, with the types that YAML's core schema gives them.

    Raises:
        ConfigError: If it cannot be read, or holds what is refused in settings files.
    """
    root, problem = _compose(path, path)
    if problem is not None:
        raise ConfigError(f"{problem.origin}: {problem.message}.", hint=problem.hint)
    import yaml

    keys = [key.value for key, _ in root.value] if root is not None else []
    if (twice := next((key for key in keys if keys.count(key) > 1), None)) is not None:
        raise ConfigError(f"{path}: {twice} stands there twice.", hint="Keep one.")
    return {} if root is None else dict(yaml.SafeLoader("").construct_document(root))


def _files_beside(path: Path) -> list[str]:
    """Names of the settings files in the folder of a path."""
    try:
        return [found.name for found in path.parent.iterdir() if found.suffix in (".yaml", ".yml")]
    except OSError:
        return []


def _compose(path: str, name: str) -> tuple[Any, Problem | None]:
    """Parse a file into nodes with line numbers."""
    try:
        with open(path, encoding="utf-8-sig") as file:
            text = file.read(_LONGEST + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or "not text in UTF-8"
        from ptycho_cli.config.nearest import did_you_mean

        near = (
            did_you_mean(Path(path).name, _files_beside(Path(path))) if isinstance(error, FileNotFoundError) else None
        )
        return None, Problem(name, name, f"cannot read the settings: {reason}", near or "Expected a YAML file.")
    if len(text) > _LONGEST:
        return None, Problem(name, name, f"longer than {_LONGEST} characters, expected a YAML file of settings")
    import yaml

    loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        if (problem := _refused_event(yaml.parse(text, Loader=loader), name)) is not None:
            return None, problem
        root = yaml.compose(text, Loader=loader)
    except yaml.MarkedYAMLError as error:
        line = f":{error.problem_mark.line + 1}" if error.problem_mark else ""
        return None, Problem(name, f"{name}{line}", f"not valid YAML: {error.problem or error.context}")
    except yaml.YAMLError as error:
        return None, Problem(name, name, f"not valid YAML: {str(error).splitlines()[0]}")
    if root is not None and not isinstance(root, yaml.MappingNode):
        return None, Problem(
            name, f"{name}:{root.start_mark.line + 1}", "expected `key: value` lines, found something else"
        )
    return root, None


def _refused_event(events: Iterable[yaml.Event], name: str) -> Problem | None:
    """The first alias, which can stand for any amount of values, or the first list or mapping that is too deep."""
    import yaml

    depth = 0
    for event in events:
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > _DEEPEST or isinstance(event, yaml.AliasEvent):
            what = f"more than {_DEEPEST} lists or mappings inside each other" if depth > _DEEPEST else "aliases (*)"
            mark: Any = event.start_mark
            return Problem(name, f"{name}:{mark.line + 1}", f"{what} are not read", "Write the settings out.")
    return None


class _Reader:
    """Collects settings and problems from the nodes of a file."""

    def __init__(self, name: str, source: Source) -> None:
        self.name = name
        self.source = source
        self.inherited = False
        self.settings: list[tuple[str, Setting]] = []
        self.problems: list[Problem] = []
        self.seen: dict[str, str] = {}

    def read(self, root: yaml.MappingNode) -> None:
        """Read the top of the file."""
        entries = {str(key.value): value for key, value in root.value}
        if "config" in entries and "decisions" in entries and entries["config"].id == "mapping":
            root, self.inherited = entries["config"], True
        self._mapping("", root)

    def _mapping(self, prefix: str, node: yaml.MappingNode) -> None:
        for key_node, value_node in node.value:
            origin = self._place(key_node)
            if key_node.tag == _MERGE:
                self._refuse(prefix + "<<", origin, "merge keys (<<) are not read", "Write the settings out.")
                continue
            if not isinstance(key_node.value, str):
                self._refuse(prefix, origin, "expected a name before the colon, found a list or mapping")
                continue
            key = prefix + key_node.value
            if key in self.seen:
                self._refuse(key, origin, f"{key} is given twice, first at {self.seen[key]}", "Keep one of the two.")
                continue
            self.seen[key] = origin
            self._entry(key, value_node, origin)

    def _entry(self, key: str, node: yaml.Node, origin: str) -> None:
        """Read one ``key: value``, or the group below a key."""
        if node.tag not in _PLAIN_TAGS:
            self._refuse(key, origin, f"{key} has the YAML tag {node.tag}, which is not read")
        elif key == CALLBACKS_PREFIX.rstrip("."):
            self._callbacks(node, origin)
        elif key in groups() or f"{key}." in (FINDINGS_PREFIX, *(choice.prefix for choice in CHOICES)):
            self._group(key, node, origin)
        else:
            self._leaf(key, node, origin)

    def _group(self, key: str, node: yaml.Node, origin: str) -> None:
        if isinstance(node.value, list) and node.tag.endswith(":map"):
            self._mapping(key + ".", node)  # type: ignore[arg-type]
        elif node.tag != _NULL:
            self._refuse(key, origin, f"{key} is a group of settings, expected `key: value` lines below it")

    def _callbacks(self, node: yaml.Node, origin: str) -> None:
        """Read the callbacks: a mapping of names to options, or a list of names."""
        if node.tag.endswith(":seq"):
            for item in node.value:
                if not isinstance(item.value, str):
                    self._refuse("callbacks", self._place(item), "expected the name of a callback")
                    continue
                self._add(CALLBACKS_PREFIX + item.value, True, self._place(item))
            return
        if not node.tag.endswith(":map"):
            if node.tag != _NULL:
                self._refuse("callbacks", origin, "expected callback names with their options below them")
            return
        for key_node, value_node in node.value:
            key = CALLBACKS_PREFIX + str(key_node.value)
            place = self._place(key_node)
            if key in self.seen:
                self._refuse(key, place, f"{key} is given twice, first at {self.seen[key]}", "Keep one of the two.")
                continue
            self.seen[key] = place
            if value_node.tag.endswith(":map"):
                self._add(key, True, place)
                self._mapping(key + ".", value_node)
            elif value_node.tag == _NULL:
                self._add(key, True, place)
            else:
                self._leaf(key, value_node, place)

    def _leaf(self, key: str, node: yaml.Node, origin: str) -> None:
        known = find_key(key)
        value = self._value(node)
        if value is _Unreadable and (known is not None or is_plugin_key(key)):
            self._refuse(key, origin, f"{key} has settings below it, expected one value or a list of values")
            return
        quoted = getattr(node, "style", None) in ('"', "'")
        if known is not None and quoted and not known.takes_text:
            self._refuse(
                key, origin, f"{key} is the text '{node.value}', expected {known.expects}", "Remove the quotes."
            )
            return
        self._add(key, None if value is _Unreadable else value, origin)

    def _value(self, node: Any) -> Any:
        """Text as written, None for null, a tuple of these for a list."""
        if node.tag.endswith(":seq"):
            items = tuple(self._value(item) for item in node.value)
            return _Unreadable if any(isinstance(item, tuple) or item is _Unreadable for item in items) else items
        if node.tag not in _PLAIN_TAGS or node.tag.endswith(":map"):
            return _Unreadable
        return None if node.tag == _NULL else node.value

    def _place(self, node: Any) -> str:
        return f"{self.name}:{node.start_mark.line + 1}"

    def _add(self, key: str, value: Any, origin: str) -> None:
        self.settings.append((key, Setting(value, self.source, origin, self.inherited)))

    def _refuse(self, key: str, origin: str, message: str, hint: str | None = None) -> None:
        self.problems.append(Problem(key, origin, message, hint))


class _Unreadable:
    """Marker for a node that is neither a value nor a list of values."""
