"""Where settings come from: one function per layer, each giving raw values with their places.

Nothing is converted and nothing wins here; that is ``resolve``. Files have a module of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ptycho_cli.config.inherit import INIT_FROM, USES
from ptycho_cli.config.keys import CALLBACKS_PREFIX, CHOICES, ENV_PREFIX, choice_of, did_you_mean, keys
from ptycho_cli.config.provenance import Layer, Problem, Setting, Source
from ptycho_cli.config.values import parse_text, show

USER_FILE_NAME = "PTYCHO_USER_FILE"
RESERVED_NAMES = ("PTYCHO_NO_PLUGINS", "PTYCHO_TEST_DATA", USER_FILE_NAME)


def default_layer() -> Layer:
    """The built-in defaults of all core settings."""
    settings = ((key.name, Setting(key.default, Source.DEFAULT, "default")) for key in keys().values())
    return Layer(Source.DEFAULT, tuple(settings))


def flatten(config: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    """Dotted keys and values of a nested config, callbacks and options of plugins included."""
    for group, fields in config.items():
        if group == CALLBACKS_PREFIX.rstrip("."):
            for name, options in fields.items():
                yield CALLBACKS_PREFIX + name, True
                yield from ((f"{CALLBACKS_PREFIX}{name}.{option}", value) for option, value in options.items())
        elif not isinstance(fields, Mapping):
            yield group, fields
        else:
            for field, value in fields.items():
                if choice_of(f"{group}.{field}.") is not None and isinstance(value, Mapping):
                    yield from ((f"{group}.{field}.{option}", item) for option, item in value.items())
                else:
                    yield f"{group}.{field}", value


def config_layer(
    config: Mapping[str, Any], origin: str, source: Source = Source.CHECKPOINT, *, leave_out: Iterable[str] = ()
) -> Layer:
    """A layer from a nested config, such as the one in ``run.json``.

    Args:
        config: Nested settings, as ``serialize.config_to_json`` writes them.
        origin: Place for all of them, such as ``checkpoint runs/star`` or ``run runs/star``.
        source: Rank of the layer.
        leave_out: Keys, or groups such as ``execution.``, that are not taken over.
    """
    skipped = tuple(leave_out)
    settings = tuple(
        (key, Setting(tuple(value) if isinstance(value, list) else value, source, origin, inherited=True))
        for key, value in flatten(config)
        if not key.startswith(skipped)
    )
    return Layer(source, settings)


def checkpoint_layer(config: Mapping[str, Any], name: str, *, command: str = "train") -> Layer:
    """The settings of an earlier run, as far as ``command`` inherits them."""
    return config_layer(config, f"checkpoint {name}", leave_out=USES[command].left_out)


def start_layer(record: Mapping[str, Any], name: str) -> Layer:
    """What a training that starts from an earlier run takes over: its network and physics, and a tenth of its length.

    Args:
        record: What ``run.json`` of that run holds.
        name: What to call it, its folder.
    """
    layer = checkpoint_layer(record["config"], name, command=INIT_FROM)
    training = record["config"].get("training", {})
    groups = record.get("applied_steps", 0) * training.get("batch_size", 1)
    execution = record["config"].get("execution", {})
    groups *= training.get("accumulate_grad_batches", 1) * execution.get("devices", 1) * execution.get("num_nodes", 1)
    share = 1 if record.get("init_from") else 10  # a run that was itself fine-tuned was short already
    origin = f"as long as {name}" if share == 1 else f"a tenth of {name}"
    length = {"training.epochs": 1, "training.n_groups": max(1, -(-groups // share))}
    more = tuple((key, Setting(value, Source.CHECKPOINT, origin)) for key, value in length.items())
    return replace(layer, settings=(*layer.settings, *more))


def kept_schedule_layer(config: Mapping[str, Any]) -> Layer:
    """The learning-rate schedule of an earlier run, which ``--resume-schedule checkpoint`` puts above all else."""
    layer = config_layer(config, "--resume-schedule checkpoint", Source.COMMAND_LINE)
    kept = tuple(item for item in layer.settings if item[0].startswith(("optimizer.", "scheduler.")))
    return Layer(Source.COMMAND_LINE, kept)


def run_layer(config: Mapping[str, Any], name: str) -> Layer:
    """All settings of an earlier run (``--from-run``) but its folder, with the rank of a run file."""
    return config_layer(config, f"run {name}", Source.RUN_FILE, leave_out=("training.output_dir",))


def environment_layer(environ: Mapping[str, str] = os.environ) -> Layer:
    """Variables such as ``PTYCHO_TRAINING__BATCH_SIZE``; other ``PTYCHO_`` names get a warning."""
    settings: list[tuple[str, Setting]] = []
    warnings: list[str] = []
    for name in sorted(environ):
        if not name.startswith(ENV_PREFIX) or name in RESERVED_NAMES:
            continue
        if "__" not in name:
            warnings.append(_no_variable(name))
            continue
        key = _key_of_variable(name)
        text = environ[name]
        value = parse_text(known, text) if (known := keys().get(key)) else text
        settings.append((key, Setting(value, Source.ENVIRONMENT, f"${name}")))
    return Layer(Source.ENVIRONMENT, tuple(settings), warnings=tuple(warnings))


def _no_variable(name: str) -> str:
    """A warning of a name that is none of ours, with the names it may stand for."""
    inside = [key.env for key in keys().values() if key.env.startswith(f"{name}__")]
    if inside:
        return f"${name} names a group of settings and has no effect. It has {', '.join(inside)}."
    near = did_you_mean(name, (*RESERVED_NAMES, *(key.env for key in keys().values())))
    return f"${name} is not a setting and has no effect." + (f" {near}" if near else "")


def _key_of_variable(name: str) -> str:
    return name.removeprefix(ENV_PREFIX).lower().replace("__", ".")


def library_layer(settings: Mapping[str, Any]) -> Layer:
    """Settings given by a Python caller.

    Names are dotted keys (``"training.epochs"``) or flags written as identifiers (``epochs``,
    ``learning_rate``); ``scheduler_options``, ``network_options`` and ``callbacks`` take dicts.
    """
    by_flag = {flag.lstrip("-").replace("-", "_"): key.name for key in keys().values() for flag in key.flags}
    prefixes = {name: choice.prefix for choice in CHOICES for name in (choice.argument, choice.prefix.rstrip("."))}
    found: list[tuple[str, Setting]] = []

    def add(key: str, value: Any, name: str) -> None:
        value = tuple(value) if isinstance(value, list) else value
        value = os.fspath(value) if isinstance(value, os.PathLike) else value
        found.append((key, Setting(value, Source.LIBRARY, f"argument {name}")))

    for name, value in settings.items():
        if name in prefixes:
            for option, item in value.items():
                add(prefixes[name] + option, item, name)
        elif name == CALLBACKS_PREFIX.rstrip("."):
            for callback in value:
                add(CALLBACKS_PREFIX + callback, True, name)
                for option, item in (value[callback] if isinstance(value, Mapping) else {}).items():
                    add(f"{CALLBACKS_PREFIX}{callback}.{option}", item, name)
        else:
            add(by_flag.get(name, name), value, name)
    return Layer(Source.LIBRARY, tuple(found))


def split_assignment(text: str, what: str, origin: str) -> tuple[str, str] | Problem:
    """Split ``KEY=VALUE`` as given to ``what``, such as ``--set``."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        return Problem(text, origin, f"{what} {show(text)} has no value", f"Write {what} NAME=VALUE, without spaces.")
    return name.strip(), value
