"""Settings and their provenance as JSON, YAML and a command line, which can all be read back."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ptycho_cli.config.catalogue import Catalogue, entry_named, lasting_name, unique_name
from ptycho_cli.config.keys import CALLBACKS_PREFIX, CHOICES, FINDINGS_PREFIX, Key, choice_of, find_key, keys
from ptycho_cli.config.provenance import Decision, Problem, Resolved, Setting
from ptycho_cli.config.schema import Config
from ptycho_cli.config.values import jsonable, show, write_text
from ptycho_cli.shell_line import shell_line

# The settings that people change; `config init` writes these, and all with --all.
COMMON = (
    *("data.paths", "data.group_size", "loss.name", "optimizer.learning_rate", "scheduler.name"),
    *("training.output_dir", "training.epochs", "training.batch_size", "training.accumulate_grad_batches"),
    *("training.seed", "execution.accelerator"),
)
SCHEMA_FILE = "ptycho.schema.json"


def json_text(report: Any) -> str:
    """A report as indented JSON. Numbers that are not finite become null, since JSON has none.

    In texts, characters that are not printable are escaped.
    """
    text = json.dumps(_finite(report), indent=2, ensure_ascii=False, allow_nan=False)
    return "".join(map(_escaped, text)) if _needs_escapes(text) else text


def _needs_escapes(text: str) -> bool:
    return not text.replace("\n", "").isprintable()


def _escaped(char: str) -> str:
    """A character as JSON shows it; YAML cannot read escapes of those beyond 16 bits, which no terminal obeys."""
    return char if char.isprintable() or char == "\n" or ord(char) > 0xFFFF else json.dumps(char)[1:-1]


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def config_to_json(config: Config) -> dict[str, Any]:
    """The config as nested dicts; callbacks as ``{name: {options}}`` in their order."""
    nested = {name: jsonable(getattr(config, name)) for name in Config.model_fields if name != "callbacks"}
    callbacks = {entry.name: jsonable(entry.options) for entry in config.callbacks}
    nested["data"]["findings"] = dict(config.data.findings)
    return {name: nested.get(name, callbacks) for name in Config.model_fields}


def config_to_record(config: Config, catalogue: Catalogue) -> dict[str, Any]:
    """The config as in ``run.json``, where names of plugins' entries last: they contain the distribution."""
    return with_names(config_to_json(config), lambda kind, name: lasting_name(catalogue.of(kind), name))


def record_to_config(config: Mapping[str, Any], catalogue: Catalogue) -> dict[str, Any]:
    """The config of a ``run.json`` with the names that settings have now: without distribution, where they suffice."""

    def shortest(kind: str, name: str) -> str:
        entries = catalogue.of(kind)
        entry = entry_named(entries, name)
        return name if entry is None else unique_name(entries, entry)

    return with_names(config, shortest)


def with_names(config: Mapping[str, Any], rename: Callable[[str, str], str]) -> dict[str, Any]:
    """A nested config in which scheduler, network and callbacks have other names.

    Args:
        config: The config.
        rename: Gives the new name for a kind of entry and the name that it has.
    """
    renamed = dict(config)
    for choice in CHOICES:
        group = renamed.get(choice.group)
        if isinstance(group, Mapping) and isinstance(group.get("name"), str):
            renamed[choice.group] = {**group, "name": rename(choice.kind, group["name"])}
    callbacks = renamed.get("callbacks")
    if isinstance(callbacks, Mapping):
        renamed["callbacks"] = {rename("callback", name): options for name, options in callbacks.items()}
    return renamed


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """A decision as a dict: the setting in force, those that it overrides, and ``fixed`` if a checkpoint fixes it."""
    return {
        "key": decision.key,
        **_setting_to_json(decision.winner),
        "overridden": [_setting_to_json(setting) for setting in decision.overridden],
        **({"fixed": True} if decision.fixed else {}),
    }


def _setting_to_json(setting: Setting) -> dict[str, Any]:
    return {"value": jsonable(setting.value), "source": setting.source.label, "origin": setting.origin}


def decisions_to_json(decisions: Iterable[Decision]) -> list[dict[str, Any]]:
    """All decisions, as in ``run.json``."""
    return [decision_to_json(decision) for decision in decisions]


def resolved_to_json(resolved: Resolved) -> dict[str, Any]:
    """Settings and their provenance."""
    return {"config": config_to_json(resolved.config), "decisions": decisions_to_json(resolved.decisions)}


def problems_to_json(problems: Iterable[Problem]) -> list[dict[str, Any]]:
    """All problems with their places."""
    return [{"key": item.key, "origin": item.origin, "message": item.message, "hint": item.hint} for item in problems]


def report(resolved: Resolved, problems: Iterable[Problem] = ()) -> dict[str, Any]:
    """The report of ``inspect-config --json``."""
    return {**resolved_to_json(resolved), "problems": problems_to_json(problems)}


def to_json_text(report: Mapping[str, Any]) -> str:
    """JSON that is YAML, too: characters that are not printable, some of which YAML folds or refuses, are escaped."""
    return "".join(map(_escaped, json.dumps(report, indent=2, ensure_ascii=False)))


def decided(resolved: Resolved) -> tuple[Decision, ...]:
    """Decisions that some layer made: neither defaults, nor values of an earlier run that equal them."""
    return tuple(decision for decision in resolved.decisions if decision.is_decided)


def to_yaml(resolved: Resolved, *, everything: bool = False) -> str:
    """A settings file that resolves to the same config, with only the decided keys unless ``everything``."""
    import yaml

    nested: dict[str, Any] = {}
    for decision in resolved.decisions if everything else decided(resolved):
        value = jsonable(decision.winner.value)
        if (choice := choice_of(decision.key)) is not None:
            options = nested.setdefault(choice.group, {}).setdefault("options", {})
            options[decision.key.removeprefix(choice.prefix)] = value
        elif decision.key.startswith(FINDINGS_PREFIX):
            severities = nested.setdefault("data", {}).setdefault("findings", {})
            severities[decision.key.removeprefix(FINDINGS_PREFIX)] = value
        elif decision.key.startswith(CALLBACKS_PREFIX):
            _put_callback(nested.setdefault("callbacks", {}), decision, value)
        else:
            group, _, field = decision.key.partition(".")
            nested.setdefault(group, {})[field] = value
    if not nested:
        return "{}\n"
    text: str = yaml.safe_dump(nested, sort_keys=False, allow_unicode=True, width=2**16)
    if _needs_escapes(text):  # PyYAML would print some, and fold some line breaks
        text = yaml.safe_dump(nested, sort_keys=False, allow_unicode=False, width=2**16)
    return text


def _put_callback(callbacks: dict[str, Any], decision: Decision, value: Any) -> None:
    name, _, option = decision.key.removeprefix(CALLBACKS_PREFIX).partition(".")
    if option:
        if isinstance(callbacks.get(name), dict):
            callbacks[name][option] = value
    else:
        callbacks[name] = {} if value is True else value


def to_command_line(resolved: Resolved, command: str = "train") -> str:
    """A command line that resolves to the same config, quoted for a shell."""
    return shell_line(command_words(decided(resolved), command))


def command_words(decisions: Iterable[Decision], command: str = "train") -> list[str]:
    """Words of a command line that makes these decisions."""
    arguments: list[str] = []
    positional: list[str] = []
    for decision in decisions:
        value = decision.winner.value
        key = find_key(decision.key)
        if key is not None and not all(map(str.isprintable, _texts(value))):
            arguments += ["--set", f"{key.name}={json.dumps(jsonable(value))}"]
        elif key is not None and key.positional and value:
            positional += value
        elif key is not None:
            arguments += _flag_arguments(key, value, flags=key.group != "inference" or command == "infer")
        elif (choice := choice_of(decision.key)) is not None:
            arguments += [choice.flag, f"{decision.key.removeprefix(choice.prefix)}={_option_text(value)}"]
        else:
            arguments += _callback_arguments(decision.key.removeprefix(CALLBACKS_PREFIX), value)
    if any(word.startswith("-") for word in positional):
        positional.insert(0, "--")
    return ["ptycho", command, *arguments, *positional]


def _texts(value: Any) -> list[str]:
    """The texts of a setting that is text or a list of texts."""
    items = value if isinstance(value, tuple) else (value,)
    return [item for item in items if isinstance(item, str)]


def _flag_arguments(key: Key, value: Any, *, flags: bool) -> list[str]:
    """The flag of a core setting with its value, or ``--set`` where the command has no flag for it."""
    if not flags:
        return ["--set", f"{key.name}={write_text(key, value)}"]
    if isinstance(value, bool) and (spellings := key.flags if value else key.negative_flags):
        return [spellings[-1]]
    if key.is_list and value and key.flags:
        return [word for item in value for word in (key.flags[-1], item)]
    if key.flags and not key.is_list and not key.is_switch and isinstance(value, (str, int, float)):
        return [key.flags[-1], str(value)]
    return ["--set", f"{key.name}={write_text(key, value)}"]


def _callback_arguments(rest: str, value: Any) -> list[str]:
    name, _, option = rest.partition(".")
    if option:
        return ["--callback-option", f"{name}.{option}={_option_text(value)}"]
    return ["--callback", name] if value else ["--set", f"{CALLBACKS_PREFIX}{name}=false"]


def _option_text(value: Any) -> str:
    plain = jsonable(value)  # lengths are text, too
    return plain if isinstance(plain, str) else json.dumps(plain, ensure_ascii=False)


def settings_file(*, everything: bool = False) -> str:
    """A settings file to start from: every setting with its help, all lines commented out."""
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        f"# With this line and `ptycho config schema -o {SCHEMA_FILE}`, editors complete and check this file.",
        "# Remove a '#' to set a value. All settings with their values: ptycho inspect-config --show all",
    ]
    group = ""
    for key in keys().values():
        if not everything and key.name not in COMMON:
            continue
        if key.group != group:
            group = key.group
            lines += ["", f"# {group}:"]
        unit = f" ({key.unit})" if key.unit else ""
        lines += [f"#   # {key.help} Value: {key.expects}{unit}.", f"#   {key.field}: {_yaml(key.default)}"]
    return "\n".join(lines) + "\n"


def _yaml(value: Any) -> str:
    if isinstance(value, tuple):
        return f"[{show(value) if value else ''}]"
    return show(value)
