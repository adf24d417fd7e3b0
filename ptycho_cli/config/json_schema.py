"""JSON schema of a settings file, with which editors complete and check it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel

from ptycho_cli.config.catalogue import Catalogue, EntryInfo
from ptycho_cli.config.keys import CALLBACKS_PREFIX, CHOICES, FINDINGS_PREFIX, Choice, finding_keys, keys
from ptycho_cli.config.schema import Config


def json_schema(catalogue: Catalogue) -> dict[str, Any]:
    """The schema, with the names of schedulers, networks and callbacks, and the options of the chosen ones.

    It is stricter than the program in one way: the program ignores the case of names.
    """
    groups: dict[str, Any] = {}
    choices = {choice.group: choice for choice in CHOICES}
    for name, info in Config.model_fields.items():
        model: Any = info.annotation
        if f"{name}." == CALLBACKS_PREFIX:
            groups[name] = _callbacks(catalogue.of("callback"))
        else:
            groups[name] = _without_flags(name, model.model_json_schema())
        if name == "data":
            groups[name]["properties"]["findings"] = _findings()
        if name in choices:
            _add_entries(groups[name], choices[name], catalogue.of(choices[name].kind))
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "Settings of ptycho",
        "type": "object",
        "properties": groups,
        "patternProperties": {"^[a-z]+\\..": {}},  # training.epochs: 5 at the top of a file
        "additionalProperties": False,
    }


def _without_flags(group: str, schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a group, which may be empty, without flags."""
    schema.pop("$defs", None)
    schema["type"] = ["object", "null"]
    for field, described in schema["properties"].items():
        described.pop("flag", None)
        if described.pop("unit", None) is not None:
            described["description"] = f"{described['description']} In {keys()[f'{group}.{field}'].unit}."
        if (key := keys().get(f"{group}.{field}")) is not None and key.is_list:
            schema["properties"][field] = {
                "anyOf": [described, {"type": "string"}],
                "description": described["description"],
            }
    return schema


def _findings() -> dict[str, Any]:
    """The severities of findings."""
    severities = {
        name.removeprefix(FINDINGS_PREFIX): {"enum": list(key.choices), "description": key.help}
        for name, key in finding_keys().items()
    }
    return {
        "type": ["object", "null"],
        "description": "Severities of findings, by id.",
        "properties": severities,
        "additionalProperties": False,
    }


def _add_entries(group: dict[str, Any], choice: Choice, entries: tuple[EntryInfo, ...]) -> None:
    """Add the names to choose from, and the options of each."""
    name = group["properties"]["name"]
    name["anyOf"] = [{"enum": sorted({entry.name for entry in entries})}, {"type": "string"}]
    group["properties"]["options"] = {"type": ["object", "null"]}
    default = keys()[choice.key].default
    group["allOf"] = [
        {
            "if": {
                "properties": {"name": {"const": entry.name}},
                **({} if entry.name == default else {"required": ["name"]}),
            },
            "then": {"properties": {"options": _options(entry.options)}},
        }
        for entry in entries
        if [other.name.casefold() for other in entries].count(entry.name.casefold()) == 1
    ]


def _callbacks(entries: tuple[EntryInfo, ...]) -> dict[str, Any]:
    properties = {
        entry.name: {"anyOf": [_options(entry.options), {"type": ["boolean", "null"]}], "description": entry.summary}
        for entry in entries
    }
    names: dict[str, Any] = {"type": "array", "items": {"enum": list(properties)}}
    chosen = {"type": ["object", "null"], "properties": properties, "additionalProperties": True}
    return {"anyOf": [chosen, names], "description": "Callbacks in their order, each with its options below it."}


def _options(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a plugin's options; any value where pydantic cannot describe their types."""
    try:
        schema = model.model_json_schema()
    except Exception:  # a type of the plugin that has no JSON schema
        return {
            "type": "object",
            "properties": {name: {} for name in model.model_fields},
            "additionalProperties": False,
        }
    return schema
