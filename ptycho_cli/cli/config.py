"""``ptycho config``: explain a setting, start a settings file, print the schema that editors read."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from ptycho_cli.errors import ConfigError, OutputError

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Write a settings file, or explain a setting.")


@app.command()
def explain(key: Annotated[str, typer.Argument(metavar="KEY", help="Dotted key or group, such as training.")]) -> None:
    """Tell what a setting means, what it may be, and how to set it."""
    from ptycho_cli.config.keys import did_you_mean, keys, known_names
    from ptycho_cli.config.record import Decision, Setting, Source
    from ptycho_cli.render.precedence import explain

    found = [item for item in keys().values() if item.name == key or item.group == key]
    if not found:
        raise ConfigError(f"There is no setting {key!r}.", hint=did_you_mean(key, known_names(), n=3))
    stories = [explain(Decision(item.name, Setting(item.default, Source.DEFAULT, "default"))) for item in found]
    typer.echo("\n\n".join(stories))


@app.command()
def init(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", metavar="FILE", help="Write here instead of to the terminal.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", metavar="", help="All settings, not only the usual ones.")
    ] = False,
    force: Annotated[bool, typer.Option("--force", metavar="", help="Replace the file.")] = False,
) -> None:
    """Write a settings file with comments; every line is commented out until you edit it."""
    from ptycho_cli.config.reference import settings_file

    text = settings_file(everything=everything)
    if output is None:
        typer.echo(text, nl=False)
        return
    from ptycho_cli.cli.output import refuse_unwritable

    refuse_unwritable(output, force=force)
    temporary = output.with_name(output.name + ".tmp")
    try:
        temporary.write_text(text, encoding="utf-8")
        os.replace(temporary, output)
    except OSError as error:
        raise OutputError(f"{output}: cannot be written ({error.strerror}).", hint="Check the folder.") from None


@app.command()
def schema() -> None:
    """Print the JSON schema of settings files, for editors that complete and check."""
    import json

    from ptycho_cli.config.reference import json_schema

    typer.echo(json.dumps(json_schema(), indent=2))
