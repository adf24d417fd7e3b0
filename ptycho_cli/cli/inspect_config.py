"""``ptycho inspect-config``: every setting, where it came from and what it beat; torch is never loaded."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.options import settings_options, switch
from ptycho_cli.errors import ConfigError

if TYPE_CHECKING:
    from ptycho_cli.config.record import Problem, Resolved

_PANEL = "What is printed"
_SHOW = ("decided", "overridden", "all", "none")


@settings_options()
def command(
    ctx: typer.Context,
    as_json: Annotated[bool, switch("--json", help="Print JSON.", panel=_PANEL)] = False,
    as_yaml: Annotated[bool, switch("--yaml", help="Print a settings file.", panel=_PANEL)] = False,
    as_cli: Annotated[bool, switch("--cli", help="Print a command line.", panel=_PANEL)] = False,
    explain: Annotated[
        str | None,
        typer.Option("--explain", metavar="KEY", help="Tell the story of one setting.", rich_help_panel=_PANEL),
    ] = None,
    which: Annotated[
        str,
        typer.Option(
            "--show",
            metavar="|".join(_SHOW),
            help="Which settings: what was set (decided), what beat more than a default, all, or none.",
            rich_help_panel=_PANEL,
            show_default=False,
        ),
    ] = "decided",
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Show the settings for going on with a run.", show_default=False),
    ] = None,
    force: Annotated[bool, switch("--force", help="Accept an output folder that is not empty.")] = False,
    quiet: Annotated[bool, switch("--quiet", help="Print only warnings and errors.")] = False,
    dry_run: Annotated[bool, switch("--dry-run", help="Understood, as `train` has it.")] = False,
    resume_schedule: Annotated[
        str | None, typer.Option("--resume-schedule", hidden=True, help="Understood, as `train` has it.")
    ] = None,
    **settings: Any,
) -> None:
    """Show every setting, where it came from, and what it beat.

    Takes all that `ptycho train` takes; trains and writes nothing.

    Exit code 2 if the settings or their paths would be refused.
    """
    if which not in _SHOW:
        raise ConfigError(f"--show is {which!r}, expected {', '.join(_SHOW[:-1])} or {_SHOW[-1]}.")
    from ptycho_cli.cli.settings import examine_from_cli

    resolved, problems = examine_from_cli(
        ctx,
        settings,
        command="inspect-config",
        checkpoint=None if resume is None else (_earlier_config(resume), str(resume)),
        force=force or dry_run or resume is not None,
    )
    from ptycho_cli.render.problems import print_problems, print_warnings

    print_warnings(resolved.warnings)
    if resume is not None and resume_schedule is None:
        print_warnings(_schedule_warning(resolved))
    if not quiet:
        typer.echo(_text(resolved, problems, as_json, as_yaml, as_cli, explain, which), nl=False)
    print_problems(problems)
    if problems:
        raise typer.Exit(ConfigError.exit_code)


def _earlier_config(folder: Path) -> dict[str, Any]:
    """The settings of an earlier run; its record is read without torch."""
    from ptycho_cli.training.record import read_record

    config: dict[str, Any] = read_record(folder)["config"]
    return config


def _schedule_warning(resolved: Resolved) -> list[str]:
    """What `train` will ask, since it alone can compare the rates themselves."""
    from ptycho_cli.config.inherit import SCHEDULE

    changed = [item.key for item in resolved.decisions if item.drifted and item.key.startswith(SCHEDULE)]
    if not changed:
        return []
    line = f"{', '.join(changed)} may change the learning rates: if so, `train` wants --resume-schedule"
    return [f"{line} checkpoint, to go on as the run began, or config, to follow the new settings."]


def _text(
    resolved: Resolved,
    problems: tuple[Problem, ...],
    as_json: bool,
    as_yaml: bool,
    as_cli: bool,
    explain: str | None,
    which: str,
) -> str:
    """What goes to standard output."""
    if as_json or as_yaml or as_cli:
        from ptycho_cli.config import serialize
    if as_json:
        return serialize.to_json_text(serialize.report(resolved, problems)) + "\n"
    if as_yaml:
        return serialize.to_yaml(resolved, everything=which == "all")
    if as_cli:
        return serialize.to_command_line(resolved) + "\n"
    if explain is not None:
        return _explanation(resolved, explain)
    from ptycho_cli.render.precedence import print_settings

    print_settings(resolved, which=which, problems=problems)  # type: ignore[arg-type]
    return ""


def _explanation(resolved: Resolved, name: str) -> str:
    from ptycho_cli.config.keys import nearest
    from ptycho_cli.render.precedence import explain

    found = [item for item in resolved.decisions if item.key == name or item.key.startswith(f"{name}.")]
    if not found:
        known = [item.key for item in resolved.decisions]
        near = nearest(name, known, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else None
        raise ConfigError(f"There is no setting {name!r} here.", hint=hint)
    return "\n\n".join(explain(item) for item in found) + "\n"
