"""Where settings come from: one function per layer, each giving raw values with their places.

Nothing is converted and nothing wins here; that is ``resolve``. Files have a module of their own.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from ptycho_cli.config.inherit import INIT_FROM, USES
from ptycho_cli.config.keys import CALLBACKS_PREFIX, CHOICES, ENV_PREFIX, choice_of, keys
from ptycho_cli.config.provenance import Layer, Problem, Setting, Source
from ptycho_cli.config.suggestions import unknown_variable
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
            warnings.append(unknown_variable(name, RESERVED_NAMES))
            continue
        key = _key_of_variable(name)
        text = environ[name]
        value = parse_text(known, text) if (known := keys().get(key)) else text
        settings.append((key, Setting(value, Source.ENVIRONMENT, f"${name}")))
    return Layer(Source.ENVIRONMENT, tuple(settings), warnings=tuple(warnings))


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
    """Keys and values of the callbacks that a Python caller names: one, a list, or a dict with their options."""
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


def split_assignment(text: str, what: str, origin: str) -> tuple[str, str] | Problem:
    """Split ``KEY=VALUE`` as given to ``what``, such as ``--set``."""
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        return Problem(text, origin, f"{what} {show(text)} has no value", f"Write {what} NAME=VALUE, without spaces.")
    return name.strip(), value
