"""Printed settings can be read back, and resolved settings cannot be changed."""

from __future__ import annotations

import json
import pickle
import shlex
from collections.abc import Callable
from dataclasses import fields, is_dataclass, replace
from pathlib import Path
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel

from ptycho_cli.config.catalogue import Catalogue
from ptycho_cli.config.command_line import Typed, command_line_layer
from ptycho_cli.config.earlier_run import config_layer, run_layer
from ptycho_cli.config.files import file_layer
from ptycho_cli.config.keys import Key, keys
from ptycho_cli.config.presets import PRESETS, preset_layer
from ptycho_cli.config.provenance import Decision, Layer, Resolved, Setting, Source
from ptycho_cli.config.resolve import examine, resolve
from ptycho_cli.config.schema import Config
from ptycho_cli.config.serialize import config_to_json, report, to_command_line, to_json_text, to_yaml
from ptycho_cli.config.values import convert, parse_text, write_text
from ptycho_cli.extend.host import load_plugins

FREE_TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [
        "null",
        '"null"',
        "none",
        "off",
        "1:30",
        "1e-3",
        "[a]",
        "~",
        "- x",
        "a: b",
        "#",
        "'",
        "-o",
        "",
        "--",
        "\x85",
        "\u2028",
    ]
)


# Values within the bounds of a setting that clash with the defaults of others.
WITHOUT_CLASH = {
    "data.validation_fraction": st.floats(0.01, 0.49),
    "checkpoint.save_top_k": st.sampled_from([-1, 1, 7]),
}


def values_of(key: Key) -> st.SearchStrategy[Any]:
    """Values that a setting may have, by the type and the bounds in the schema."""
    info = Config.model_fields[key.group].annotation.model_fields[key.field]  # type: ignore[union-attr]
    return WITHOUT_CLASH[key.name] if key.name in WITHOUT_CLASH else values_of_type(key.annotation, info.metadata)


def values_of_type(annotation: Any, bounds: list[Any]) -> st.SearchStrategy[Any]:
    """Values of a type within pydantic's bounds."""
    origin, args = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return values_of_type(args[0], [*bounds, *(bound for item in args[1:] for bound in item.metadata)])
    if origin in (Union, UnionType):
        return st.one_of(*(values_of_type(arg, bounds) for arg in args))
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple and get_origin(args[0]) is Literal:
        return st.lists(st.sampled_from(get_args(args[0])), max_size=3, unique=True).map(tuple)
    if origin is tuple:
        return st.lists(FREE_TEXT, max_size=3).map(tuple)
    if annotation in (int, float):
        return numbers(annotation, bounds)
    shortest = max((getattr(bound, "min_length", 0) for bound in bounds), default=0)
    text = FREE_TEXT.filter(lambda item: len(item) >= shortest)
    if any(getattr(bound, "pattern", None) for bound in bounds):  # a path, which is no number
        text = FREE_TEXT.map(lambda item: f"/{item}")
    return {NoneType: st.none(), bool: st.booleans(), str: text}[annotation]


def numbers(kind: type, bounds: list[Any]) -> st.SearchStrategy[Any]:
    """Whole or other numbers within bounds."""
    limits = {
        name: getattr(bound, name) for bound in bounds for name in ("gt", "ge", "lt", "le") if hasattr(bound, name)
    }
    low, high = limits.get("ge", limits.get("gt", 0)), limits.get("le", limits.get("lt", 10**6))
    if kind is int:
        return st.integers(low + ("gt" in limits), high - ("lt" in limits))
    return st.floats(low, high, exclude_min="gt" in limits, exclude_max="lt" in limits)


OFTEN = ("training.epochs", "checkpoint.enabled", "physics.refine_probe", "data.validation_paths", "scheduler.name")


@st.composite
def random_settings(draw: st.DrawFn, make: Callable[[str, Any], Setting]) -> list[tuple[str, Setting]]:
    """A few settings with random values, often with a scheduler, its options, and callbacks among them."""
    names = draw(st.lists(st.sampled_from([*keys(), *OFTEN]), unique=True, max_size=8))
    found = [(name, draw(values_of(keys()[name]))) for name in names if name not in ("scheduler.name", "model.name")]
    if draw(st.booleans()):
        name, option = draw(
            st.sampled_from([("Default", None), ("exponential", "gamma"), ("WarmupCosine", "min_ratio")])
        )
        found += [("scheduler.name", name)]
        if option is not None and draw(st.booleans()):
            found += [(f"scheduler.options.{option}", draw(st.floats(0.01, 1)))]
    if draw(st.booleans()):
        found += [("model.name", "scatter"), ("model.options.gain", draw(st.floats(0.01, 1)))]
    if draw(st.booleans()):
        found += [("callbacks.ema", True), ("callbacks.ema.decay", draw(st.floats(0, 1)))]
    if draw(st.booleans()):
        found += [("callbacks.live-preview", draw(st.booleans()))]
    return [(key, make(key, value)) for key, value in found]


@st.composite
def layers(draw: st.DrawFn) -> list[Layer]:
    """Layers of every kind, some of them inherited, several presets and files, in a random order."""
    made: list[Layer] = [preset_layer(name, "typed") for name in draw(st.lists(st.sampled_from(NAMES), max_size=2))]
    for number, source in enumerate(draw(st.lists(st.sampled_from(SPOKEN), max_size=4))):
        inherited = source is Source.RUN_FILE and draw(st.booleans())
        origin = f"{source.label} {number}"

        def make(key: str, value: Any, source: Source = source, origin: str = origin, old: bool = inherited) -> Setting:
            return Setting(value, source, origin, old)

        made.append(Layer(source, tuple(draw(random_settings(make)))))
    return made


NAMES = [preset.name for preset in PRESETS]
SPOKEN = [Source.USER_FILE, Source.RUN_FILE, Source.ENVIRONMENT, Source.LIBRARY, Source.COMMAND_LINE]


def without_contradictions(drawn: list[Layer], catalogue: Catalogue) -> tuple[list[Layer], Resolved]:
    """The layers without contradicting settings, and the resolved settings."""
    while True:
        resolved, problems = examine(drawn, catalogue)
        if not problems:
            return drawn, resolved
        refused = {problem.key for problem in problems}
        drawn = [replace(item, settings=tuple(s for s in item.settings if s[0] not in refused)) for item in drawn]


def without_callbacks(layer: Layer) -> Layer:
    """The layer without its callbacks: their order depends on the order of layers, which printing changes."""
    return replace(layer, settings=tuple(item for item in layer.settings if not item[0].startswith("callbacks.")))


@pytest.fixture(scope="module")
def built_in(catalogue: Catalogue) -> Catalogue:
    """The program's own schedulers, as presets name them, and the test's callbacks."""
    host = load_plugins((), environment={"PTYCHO_NO_PLUGINS": "1"})
    others = tuple(entry for entry in catalogue.entries if entry.kind != "scheduler")
    return replace(catalogue, entries=(*host.catalogue().of("scheduler"), *others))


def parsed_arguments(line: str) -> list[Typed]:
    """The arguments of a printed command line, as the program parses them."""
    from ptycho_cli.cli.commands import load_command
    from ptycho_cli.cli.typer_command import typed_settings

    return list(typed_settings(load_command("inspect-config").make_context("ptycho", shlex.split(line)[2:])))


many = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@many
@given(drawn=layers())
def test_the_printed_file_resolves_to_the_same_config(built_in: Catalogue, drawn: list[Layer], tmp_path: Path) -> None:
    """Alone, and with the user's file."""
    drawn, resolved = without_contradictions(drawn, built_in)
    path = tmp_path / "printed.yaml"
    own = [layer for layer in drawn if layer.source is Source.USER_FILE]
    for everything in (False, True):
        path.write_text(to_yaml(resolved, everything=everything), encoding="utf-8", newline="")
        printed = file_layer(path, Source.RUN_FILE if path.read_text().strip() != "{}" else Source.USER_FILE)

        assert resolve([printed], built_in).config == resolved.config
        assert resolve([*own, printed], built_in).config == resolved.config


@many
@given(drawn=layers())
def test_the_printed_json_resolves_to_the_same_config(built_in: Catalogue, drawn: list[Layer], tmp_path: Path) -> None:
    drawn, resolved = without_contradictions(drawn, built_in)
    path = tmp_path / "printed.json"
    path.write_text(to_json_text(report(resolved)), encoding="utf-8", newline="")
    own = [without_callbacks(layer) for layer in drawn if layer.source is Source.USER_FILE]

    assert resolve([file_layer(path)], built_in).config == resolved.config
    assert resolve([*own, file_layer(path)], built_in).config == resolved.config
    record = json.loads(path.read_text())["config"]
    assert resolve([config_layer(record, "run")], built_in).config == resolved.config
    again = resolve([run_layer(record, "run")], built_in).config
    assert again.training.output_dir is None
    assert again.model_copy(update={"training": resolved.config.training}) == resolved.config


@many
@given(drawn=layers())
def test_the_printed_command_line_resolves_to_the_same_config(built_in: Catalogue, drawn: list[Layer]) -> None:
    drawn, resolved = without_contradictions(drawn, built_in)
    around = [without_callbacks(layer) for layer in drawn if layer.source in (Source.USER_FILE, Source.ENVIRONMENT)]
    typed = command_line_layer(parsed_arguments(to_command_line(resolved)))

    assert resolve([typed], built_in).config == resolved.config
    assert resolve([*around, typed], built_in).config == resolved.config


@many
@given(st.data())
def test_text_of_a_value_reads_back_as_the_value(data: st.DataObject) -> None:
    key = data.draw(st.sampled_from(list(keys().values())))
    if key.name in ("scheduler.name", "model.name"):
        return
    value = data.draw(values_of(key))

    assert convert(key, parse_text(key, write_text(key, value))) == value


@pytest.fixture
def resolved(catalogue: Catalogue) -> Resolved:
    found = {"scheduler.name": "Exponential", "callbacks.ema": True, "data.paths": ("a.h5",)}
    settings = tuple((key, Setting(value, Source.LIBRARY, "here")) for key, value in found.items())
    return resolve([Layer(Source.LIBRARY, settings)], catalogue)


def members_of(thing: object) -> dict[str, Any]:
    """The members of a model or a dataclass, by name."""
    if isinstance(thing, BaseModel):
        return {name: getattr(thing, name) for name in type(thing).model_fields}
    return {field.name: getattr(thing, field.name) for field in fields(thing)} if is_dataclass(thing) else {}


def everything_in(thing: object) -> list[object]:
    """A thing and all things inside it."""
    inside = thing if isinstance(thing, tuple) else members_of(thing).values()
    return [thing, *(deeper for item in inside for deeper in everything_in(item))]


def test_resolved_settings_are_immutable(resolved: Resolved) -> None:
    """Config, options of plugins, decisions and overridden settings."""
    everything = everything_in(resolved)

    groups = len(Config.model_fields) - 1  # callbacks are a list
    plugins = 3  # options of network, scheduler and callback; the callback has a model of its own around them
    assert len({id(item) for item in everything if isinstance(item, BaseModel)}) == 1 + groups + plugins + 1
    assert sum(isinstance(item, Decision) for item in everything) == len(resolved.decisions)
    for thing in everything:
        members = members_of(thing)
        if not members and not isinstance(thing, BaseModel):
            assert isinstance(thing, (tuple, str, int, float, complex, NoneType)), type(thing)
        for name in members:
            with pytest.raises((ValueError, AttributeError), match=r"frozen|cannot assign"):
                setattr(thing, name, None)
            with pytest.raises((ValueError, AttributeError), match=r"frozen|cannot delete"):
                delattr(thing, name)
        if isinstance(thing, tuple):
            with pytest.raises(TypeError):
                thing[0] = None  # type: ignore[index]
        hash(thing)
    copy = pickle.loads(pickle.dumps(resolved))
    assert copy == resolved
    assert hash(copy) == hash(resolved)


def test_the_config_hashes_pickles_and_equals_a_validated_one(resolved: Resolved) -> None:
    copy = pickle.loads(pickle.dumps(resolved.config))

    assert copy == resolved.config
    assert hash(copy) == hash(resolved.config)
    again = Config.model_validate(dict(resolved.config))
    assert again == resolved.config
    assert config_to_json(resolved.config)["callbacks"] == {"ema": {"decay": 0.99, "steps": [1, 2]}}


def test_every_default_is_valid_for_its_setting() -> None:
    for key in keys().values():
        assert convert(key, key.default) == key.default
    assert Config.model_validate({}) == Config()


def test_the_json_report_has_the_promised_form(resolved: Resolved) -> None:
    printed = report(resolved)

    assert list(printed) == ["config", "decisions", "problems"]
    assert printed["config"]["scheduler"] == {"name": "Exponential", "options": {"gamma": 0.95, "every": "1ep"}}
    name = next(item for item in printed["decisions"] if item["key"] == "scheduler.name")
    assert name == {
        "key": "scheduler.name",
        "value": "Exponential",
        "source": "library",
        "origin": "here",
        "overridden": [{"value": "Default", "source": "default", "origin": "default"}],
    }
    assert [source.label for source in Source] == [
        "default", "scan", "checkpoint", "preset", "user-file", "run file", "environment", "library", "command-line",
    ]  # fmt: skip
