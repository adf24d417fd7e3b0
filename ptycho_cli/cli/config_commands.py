"""``ptycho config``: explain settings, list presets, write settings files and their JSON schema."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ptycho_cli.cli.common_options import AsJson, Force
from ptycho_cli.cli.completion import setting_keys
from ptycho_cli.cli.typer_command import CommandGroup
from ptycho_cli.errors import ConfigError
from ptycho_cli.render.console import print_text
from ptycho_cli.whole_file import new_output

app = CommandGroup()
OutputFile = Annotated[
    Path | None, typer.Option("-o", "--output", metavar="FILE", help="File to write, in place of the terminal.")
]


@app.command()
def explain(
    key: Annotated[
        str,
        typer.Argument(metavar="KEY", help="Dotted key or group, such as training.", autocompletion=setting_keys),
    ],
) -> None:
    """Explain a setting: its meaning, its allowed values, and how to set it."""
    from ptycho_cli.config.keys import keys
    from ptycho_cli.config.suggestions import ALL_SETTINGS, nearest_keys
    from ptycho_cli.extend.host import load_plugins
    from ptycho_cli.render.setting_description import describe

    catalogue = load_plugins().catalogue()
    names = [item.name for item in keys().values() if key in (item.name, item.group)] or [key]
    found = {name: describe(name, catalogue) for name in names}
    if not any(found.values()):
        near = nearest_keys(key, catalogue, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else ALL_SETTINGS
        raise ConfigError(f"there is no setting {key!r}.", hint=hint)
    text = "\n\n".join("\n".join([name, *(f"  {line}" for line in lines)]) for name, lines in found.items())
    print_text(*text.split("\n"))


@app.command()
def init(
    output: OutputFile = None,
    everything: Annotated[bool, typer.Option("--all", help="All settings, not only the most common ones.")] = False,
    user: Annotated[bool, typer.Option("--user", help="Write your own file, which every command reads.")] = False,
    force: Force = False,
) -> None:
    """Write a settings file with comments, in which every setting is commented out."""
    from ptycho_cli.config.serialize import settings_file

    text = settings_file(everything=everything)
    if user:
        if output is not None:
            raise ConfigError("--output and --user both name a file.", hint="Give one of the two.")
        output = _user_file()
    if output is None:
        typer.echo(text, nl=False)
        return
    _write(output, text, force=force)


def _write(output: Path, text: str, *, force: bool) -> None:
    from ptycho_cli.cli.output import refuse_unwritable

    refuse_unwritable(output, force=force)
    with new_output(output) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _user_file() -> Path:
    from ptycho_cli.config.sources import user_file

    path = user_file().path
    if path is None:
        raise ConfigError("$PTYCHO_USER_FILE is empty: your settings file is off.", hint="Unset it, or name a file.")
    return Path(path)


@app.command()
def schema(
    output: OutputFile = None,
    force: Force = False,
) -> None:
    """Print the JSON schema of settings files, with which editors complete and check them.

    It contains the installed schedulers, networks and callbacks with their options. A file of `config init` names
    its schema ptycho.schema.json, in the same folder.
    """
    import json

    from ptycho_cli.config.json_schema import json_schema
    from ptycho_cli.extend.host import load_plugins

    text = json.dumps(json_schema(load_plugins().catalogue()), indent=2) + "\n"
    if output is None:
        typer.echo(text, nl=False)
    else:
        _write(output, text, force=force)


@app.command()
def presets(as_json: AsJson = False) -> None:
    """List the presets for `--preset`: when to use each, what it sets, its cost and its gain."""
    from ptycho_cli.config.presets import PRESETS

    if as_json:
        from ptycho_cli.cli.output import print_json

        print_json([{**preset._asdict(), "settings": dict(preset.settings)} for preset in PRESETS])
        return
    from ptycho_cli.render.preset_text import print_presets

    print_presets(PRESETS)


@app.command("user-file")
def show_user_file(as_json: AsJson = False) -> None:
    """Print the path and the settings of your own settings file, which every command reads."""
    from ptycho_cli.config.sources import user_file, user_file_layer

    found, layer = user_file(), user_file_layer()
    if as_json:
        from ptycho_cli.cli.output import print_json

        settings = [] if layer is None else [{"key": key, "origin": item.origin} for key, item in layer.settings]
        print_json({"path": found.path, "read": found.exists, "settings": settings})
        return
    if found.path is None:
        print_text("$PTYCHO_USER_FILE is empty: your settings file is off.")
        return
    state = "read by every command" if found.exists else "does not exist; `ptycho config init --user` writes it"
    print_text(f"{found.path}: {state}.")
    if layer is not None:
        from ptycho_cli.config.values import show
        from ptycho_cli.render.diagnostics import print_problems

        for key, item in layer.settings:
            print_text(f"  {key} = {show(item.value)} (line {item.origin.rpartition(':')[2]})")
        print_problems(layer.problems)
    print_text("Switch it off once with --no-user-file, or always with an empty $PTYCHO_USER_FILE.")
