"""Reference pages and settings files made from the schema, so that they cannot fall behind it.

``python -m ptycho_cli.config.reference docs`` writes the pages; a test compares them.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ptycho_cli.config.command_line import OLD_NAMES
from ptycho_cli.config.effects import SILENCES
from ptycho_cli.config.inherit import USES
from ptycho_cli.config.keys import CHOICES, Key, env_name, keys, type_and_bounds
from ptycho_cli.config.presets import PRESETS
from ptycho_cli.config.provenance import Source
from ptycho_cli.config.schema import Config
from ptycho_cli.config.sources import RESERVED_NAMES
from ptycho_cli.config.values import show

# The settings that people change; `config init` writes these, and all with --all.
COMMON = (
    *("data.paths", "data.group_size", "loss.name", "optimizer.learning_rate", "scheduler.name"),
    *("training.output_dir", "training.epochs", "training.batch_size", "training.accumulate_grad_batches"),
    *("training.seed", "execution.accelerator"),
)
SCHEMA_FILE = "ptycho.schema.json"
_MADE = "<!-- Made by `python -m ptycho_cli.config.reference docs`; change the schema instead. -->"
_LAYERS = {
    Source.COMMAND_LINE: "the command line: a flag, or `--set KEY=VALUE`; the later of the two",
    Source.LIBRARY: "an argument of a Python caller",
    Source.ENVIRONMENT: "an environment variable",
    Source.RUN_FILE: "a settings file (`-c FILE`) or an earlier run (`--from-run RUN`); the later of several",
    Source.USER_FILE: "your own settings file; see `ptycho config user-file`",
    Source.PRESET: "a preset (`--preset NAME`); the later of several",
    Source.CHECKPOINT: "the run that `infer` uses, `--init-from` starts from or `--resume` goes on with",
    Source.SCAN: "the first training scan, where it has few photons and nothing says how to train",
    Source.DEFAULT: "the built-in default",
}


def configuration_page() -> str:
    """Every setting: type, bounds, unit, default, environment name, flag and meaning."""
    lines = ["# Settings", "", _MADE, "", f"All {len(keys())} core settings. Options of networks, schedulers and"]
    lines += [
        "callbacks belong to their plugins; `ptycho inspect-config --show all` lists those of what is chosen, and",
        "`ptycho config explain KEY` tells of each what this page tells of the others. `--set` stands for",
        "`--set KEY=VALUE`, which sets every key.",
        "",
    ]
    for group, info in Config.model_fields.items():
        members = [key for key in keys().values() if key.group == group]
        if not members:
            continue
        model: Any = info.annotation
        lines += [f"## {group}", "", str(model.__doc__).strip().splitlines()[0], ""]
        lines += _table(("key", "type", "bounds", "unit", "default", "flag", "environment", "meaning"))
        lines += [_row(*_about(key)) for key in members]
        lines.append("")
    return "\n".join(lines).rstrip() + "\n"


def _table(titles: Iterable[str]) -> list[str]:
    head = tuple(titles)
    return [_row(*head), _row(*["---"] * len(head))]


def _row(*cells: str) -> str:
    return f"| {' | '.join(cells)} |"


def _about(key: Key) -> tuple[str, ...]:
    kind, bounds = type_and_bounds(key)
    silent = [f" No effect where {item.why} (`{item.by}`)." for item in SILENCES if item.key == key.name]
    flags = " ".join(f"`{flag}`" for flag in (*key.flags, *key.negative_flags))
    flag = flags or ("`DATA`" if key.positional else "`--set`")
    default = f"`{show(key.default)}`"
    return (f"`{key.name}`", kind, bounds, key.unit or "", default, flag, f"`{key.env}`", key.help + "".join(silent))


def override_matrix_page() -> str:
    """Where each setting can come from, strongest first, and what the old names became."""
    lines = ["# Where a setting can come from", "", _MADE, ""]
    lines += ["Strongest first. Each of these can set every key; only the words differ.", ""]
    lines += [f"{n}. `{source.label}`: {text}" for n, (source, text) in enumerate(_LAYERS.items(), start=1)]
    lines += ["", "A callback is chosen with `--callback NAME`, `callbacks: {NAME: {}}` in a file, or"]
    lines += ["`PTYCHO_CALLBACKS__NAME=true`; a stronger layer drops it with `--set callbacks.NAME=false`.", ""]
    lines += [
        "## Keys",
        "",
        "The columns stand in the order of rank; *file* is a settings file, an earlier run or your own file. *fixed*:",
        "the checkpoint's value cannot be changed.",
        "",
    ]
    lines += _table(("key", "command line", "Python", "environment", "file", "preset", "checkpoint", "default"))
    for key in keys().values():
        typed = [*key.flags, *key.negative_flags] or (["DATA"] if key.positional else ["--set"])
        spelled = " ".join(f"`{flag}`" for flag in typed)
        cells = (
            spelled,
            f"`{key.argument or key.name}`",
            f"`{key.env}`",
            f"`{key.name}`",
            _presets(key.name),
            _checkpoint(key.name),
            f"`{show(key.default)}`",
        )
        lines.append(_row(f"`{key.name}`", *cells))
    for name, flag, python, default in _PLUGIN_ROWS:
        where = (f"`{flag}`", f"`{python}`", f"`{env_name(name)}`", f"`{name}`")
        lines.append(_row(f"`{name}`", *where, _presets(name), _checkpoint(name), default))
    lines += ["", "## Presets", "", "Figures: [benchmarks.md](benchmarks.md).", ""]
    lines += _table(("preset", "when to use it", "sets", "effect"))
    for preset in PRESETS:
        sets = "<br>".join(f"`{key}={show(value)}`" for key, value in preset.settings)
        lines.append(_row(f"`{preset.name}`", preset.when, sets, preset.effect))
    lines += ["", "Not settings: " + ", ".join(f"`{name}`" for name in RESERVED_NAMES) + ".", ""]
    lines += ["## Old names", "", "Names of PtychoPINN's command line still work, hidden. They have the rank of the"]
    lines += ["command line; where the new name is typed too, it wins, whichever comes last. Each old"]
    lines += ["name that was typed gets one warning."]
    lines += ["", *_table(("old", "sets", "reads", "type this now"))]
    for old in OLD_NAMES:
        reads = keys()[old.key].expects if old.convert is str else old.expects
        lines.append(_row(f"`{old.flag}`", f"`{old.key}`", reads, _code(old.new)))
    return "\n".join(lines) + "\n"


_PLUGIN_ROWS = (
    *((f"{item.prefix}K", f"{item.flag} K=V", item.argument, f"the {item.kind}'s own") for item in CHOICES),
    ("callbacks.NAME", "--callback NAME", "callbacks", "not chosen"),
    ("callbacks.NAME.K", "--callback-option NAME.K=V", "callbacks", "the callback's own"),
)


def _presets(name: str) -> str:
    """The presets that set a key, with their values."""
    below = name.removesuffix("K") if name.endswith(".K") else None
    found = [
        f"{preset.name} ({show(value)})"
        for preset in PRESETS
        for key, value in preset.settings
        if key == name or (below is not None and key.startswith(below))
    ]
    return ", ".join(found)


def _checkpoint(name: str) -> str:
    """What a checkpoint does to a key: used by ``infer``, as a start (``--init-from``), and when it is resumed."""
    uses = []
    for command, use in USES.items():
        if not name.startswith((*use.left_out, *use.ignored)):
            uses.append(f"{command} (fixed)" if use.fixes(name) else command)
    return ", ".join(uses).replace("train", "resume") or "no"


def _code(text: str) -> str:
    return f"`{text}`" if text.startswith("-") else text


def settings_file(*, everything: bool = False) -> str:
    """A settings file with every line commented out, so that it changes nothing until edited."""
    lines = [
        f"# yaml-language-server: $schema={SCHEMA_FILE}",
        f"# With that line and `ptycho config schema -o {SCHEMA_FILE}` an editor completes and checks this file.",
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


PAGES = {"configuration.md": configuration_page, "override_matrix.md": override_matrix_page}


def main(folder: str) -> None:
    """Write the pages into ``folder``."""
    for name, page in PAGES.items():
        (Path(folder) / name).write_text(page(), encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1])
