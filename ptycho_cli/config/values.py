"""Conversion of settings from text to values and back, the same for files, environment, command line and Python.

Layers hold text as it was written. Pydantic converts it here, one setting at a time, so that each error has one place.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo

from ptycho_cli.config.keys import FINDINGS_PREFIX, Key, bounds_in_words, type_in_words
from ptycho_cli.config.nearest import nearest
from ptycho_cli.config.schema import Config
from ptycho_cli.config.settings_group import Group
from ptycho_cli.plugin_code import LOADING_S, one_line, plugin_code


class BadValueError(ValueError):
    """A value that is not valid for a setting; the message has what was found and what was expected."""

    def __init__(self, message: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint


def parse_text(key: Key, text: str) -> Any:
    """Read a value from the environment or from ``--set``, which have no types.

    ``null`` unsets an optional setting, ``[a, b]`` is a list, as is one word alone for a setting that is a list.
    Text in double quotes is taken literally, for example for a folder named null.
    """
    if key.optional and (text == "null" or (text.lower() in ("none", "") and not key.is_free_text)):
        return None
    if key.is_list:
        return _parse_list(text) if text.startswith("[") else (text,)
    if key.is_free_text and len(text) > 1 and text[0] == text[-1] == '"':
        try:
            return json.loads(text, strict=False)
        except ValueError:
            return text
    return text


def _parse_list(text: str) -> Any:
    """Read a list in JSON (``["a", "b"]``) or YAML (``[a, b]``)."""
    try:
        items = json.loads(text, strict=False)
    except ValueError:
        import yaml

        try:
            items = yaml.load(text, Loader=yaml.BaseLoader)
        except yaml.YAMLError:
            return (text,)
    return tuple(items) if isinstance(items, list) else (text,)


def write_text(key: Key, value: Any) -> str:
    """Write a value as text that ``parse_text`` reads back."""
    if isinstance(value, tuple):
        return json.dumps(list(value), ensure_ascii=False)
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    text = str(value)
    if key.is_free_text and (text == "null" or text[:1] == '"'):
        return json.dumps(text, ensure_ascii=False)
    return text


def convert(key: Key, raw: Any) -> Any:
    """Convert the value of a core setting.

    Raises:
        BadValueError: If ``raw`` is not valid for this setting.
    """
    model: Any = Config.model_fields[key.group].annotation
    if key.name.startswith(FINDINGS_PREFIX):
        if raw not in key.choices:
            near = nearest(str(raw), key.choices)
            raise BadValueError(_found(raw, key.expects), f"Did you mean {near[0]}?" if near else None)
        return raw
    if key.is_list and isinstance(raw, (list, tuple, str)):
        raw = (raw,) if isinstance(raw, str) else tuple(raw)
        if key.choices and all(isinstance(item, str) for item in raw):  # a,b is two words, but one path
            raw = tuple(word.strip() for item in raw for word in item.split(","))
    if isinstance(raw, bool) and not key.takes_bool:
        raise BadValueError(_found(raw, key.expects))  # pydantic would read true as 1
    try:
        return getattr(model.model_validate({key.field: raw}), key.field)
    except ValidationError:
        items = raw if isinstance(raw, tuple) else (raw,)
        words = [item for item in items if isinstance(item, str) and item not in key.choices]
        near = nearest(words[0], key.choices) if words else []
        raise BadValueError(_found(raw, key.expects), f"Did you mean {near[0]}?" if near else None) from None


def convert_option(model: type[BaseModel], name: str, raw: Any, *, origin: str) -> Any:
    """Convert the value of a plugin's option; its model may have validators.

    Args:
        model: The options.
        name: Name of the option.
        raw: The value as it was given.
        origin: Distribution and version of the plugin, for messages.

    Raises:
        BadValueError: If ``raw`` is not valid for this option.
    """
    info = model.model_fields[name]
    label = info.alias or name
    raw = _read_option(info.annotation, raw)
    try:
        return getattr(validate_options(model, {label: raw}, origin=origin), name)
    except ValidationError as error:
        errors = [item for item in error.errors() if item["loc"][:1] == (label,)]
    if errors:
        raise BadValueError(_found(raw, option_expects(info), errors[0]))
    # Another option is missing, or two contradict each other: the model is validated once all options are known.
    try:
        return TypeAdapter[Any](info.annotation or Any).validate_python(raw)
    except ValidationError:
        return raw


def validate_options(model: type[BaseModel], values: Mapping[str, Any], *, origin: str) -> BaseModel:
    """Validate the options of an entry; its validators are code of a plugin, of ``origin``.

    Raises:
        ValidationError: If the values are not valid.
        BadValueError: If a validator fails in another way than to refuse them.
    """
    try:
        with plugin_code(LOADING_S):
            return model.model_validate(dict(values))
    except ValidationError:
        raise
    except Exception as error:
        raise BadValueError(f"cannot be checked: a validator of {origin} failed: {one_line(error)}") from error


def _read_option(annotation: Any, raw: Any) -> Any:
    """Read the text of an option that is a list or optional: ``[a, b]``, ``a, b`` as in tables, ``null``."""
    parts = get_args(annotation) if get_origin(annotation) in (Union, UnionType) else (annotation,)
    kinds = {get_origin(part) or part for part in parts}
    if not isinstance(raw, str):
        return raw
    if raw == "null" and NoneType in kinds:
        return None
    if kinds.isdisjoint((tuple, frozenset)) or str in kinds:
        return raw
    return _parse_list(raw) if raw.startswith("[") else tuple(item.strip() for item in raw.split(","))


def option_expects(info: FieldInfo) -> str:
    """Type and bounds of an option, for messages and tables."""
    return ", ".join((type_in_words(info.annotation), *bounds_in_words(info.metadata)))


def problem_of(error: Any) -> str:
    """The message of a pydantic error; for a plugin's validator, as its author wrote it."""
    context = error.get("ctx") or {}
    text = str(context.get("error") or error["msg"])
    return text[:1].lower() + text[1:].rstrip(".")


def _found(raw: Any, expected: str, error: Any = None) -> str:
    shown = show(raw)
    if error is not None and error["type"] in ("value_error", "assertion_error"):
        return f"is {shown}: {problem_of(error)}"
    return f"is {shown}, expected {expected}"


def show(value: Any) -> str:
    """A value for tables and messages: ``null``, ``true``, ``0.002``, ``a.h5, b.h5``; empty text in quotes."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, frozenset):
        return show(sorted(value, key=str))
    if isinstance(value, (tuple, list)):
        return ", ".join(show(item) for item in value) if value else "[]"
    if isinstance(value, float):
        return f"{value:.12g}"
    text = printable(str(value))
    return repr(text) if text != text.strip() or not text else text


def printable(text: str) -> str:
    """Text with escaped control characters, which could move the cursor or break a line."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def jsonable(value: Any) -> Any:
    """A value in the types of JSON."""
    if isinstance(value, Group):  # like model_dump, but without building a serializer
        return {name: jsonable(getattr(value, name)) for name in type(value).model_fields}
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    if isinstance(value, frozenset):
        return jsonable(sorted(value, key=str))
    if isinstance(value, (list, tuple)):
        return [jsonable(item) for item in value]
    if isinstance(value, dict):
        return {str(name): jsonable(item) for name, item in value.items()}
    return value if value is None or isinstance(value, (bool, int, float, str)) else str(value)


def unit_after(value: Any, unit: str | None) -> str:
    """The unit after a space, singular for 1; empty after words such as auto."""
    if unit is None or isinstance(value, (str, bool)) or value is None:
        return ""
    if value == 1 and unit.endswith("s"):
        return f" {unit[:-2] if unit.endswith(('ches', 'sses')) else unit[:-1]}"
    return f" {unit}"


def finite_number(text: str | None) -> float | None:
    """A number of a table; None for an empty cell, or one that is no finite number."""
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if abs(value) < float("inf") else None
