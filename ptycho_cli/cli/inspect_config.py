"""``ptycho inspect-config``: print every setting, its origin and what it overrides, without loading torch."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Quiet
from ptycho_cli.cli.completion import setting_keys
from ptycho_cli.cli.options import settings_options
from ptycho_cli.cli.report_stream import print_report
from ptycho_cli.errors import ConfigError

if TYPE_CHECKING:
    from ptycho_cli.config.catalogue import Catalogue
    from ptycho_cli.config.earlier_run import Difference
    from ptycho_cli.config.provenance import Problem, Resolved

_SHOW = ("decided", "overridden", "all", "none")


@settings_options("train")
def command(
    ctx: typer.Context,
    as_json: AsJson = False,
    as_yaml: Annotated[bool, typer.Option("--yaml", help="Print a settings file.")] = False,
    as_cli: Annotated[bool, typer.Option("--cli", help="Print a command line.")] = False,
    explain: Annotated[
        str | None,
        typer.Option(
            "--explain",
            metavar="KEY",
            help="Explain one setting: its meaning, its origin and what it overrides.",
            autocompletion=setting_keys,
        ),
    ] = None,
    diff: Annotated[
        Path | None,
        typer.Option("--diff", metavar="RUN", help="Print the differences from another run."),
    ] = None,
    which: Annotated[
        str,
        typer.Option(
            "--show",
            metavar="WHICH",
            help="Settings to print: decided (those set), overridden (those set more than once), all or none.",
        ),
    ] = "decided",
    resume: Annotated[
        Path | None,
        typer.Option("--resume", metavar="RUN", help="Print the settings of `train --resume RUN`."),
    ] = None,
    init_from: Annotated[
        Path | None,
        typer.Option("--init-from", metavar="RUN", help="Print the settings of `train --init-from RUN`."),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Accept an output folder that is not empty.")] = False,
    quiet: Quiet = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Accepted as in `train`; has no effect here.")] = False,
    resume_schedule: Annotated[
        str | None, typer.Option("--resume-schedule", hidden=True, help="Accepted as in `train`; has no effect here.")
    ] = None,
    **settings: Any,
) -> None:
    """Show every setting, its origin, and what it overrides.

    Takes the same arguments as `ptycho train`, but does not train and writes nothing.

    Exit code 2 if `train` would refuse the settings or their paths.
    """
    if which not in _SHOW:
        raise ConfigError(f"--show is {which!r}, expected {', '.join(_SHOW[:-1])} or {_SHOW[-1]}.")
    _one_form({"--json": as_json, "--yaml": as_yaml, "--cli": as_cli, "--explain": explain, "--diff": diff})
    from ptycho_cli.cli.settings import read_settings

    other = None if diff is None else _record(diff)
    resolved, problems, host, _ = read_settings(
        ctx,
        command="inspect-config",
        checkpoint=None if resume is None else (_record(resume)["config"], str(resume)),
        init_from=init_from,
        force=force or dry_run or resume is not None,
    )
    from ptycho_cli.render.diagnostics import print_problems, print_warnings

    print_warnings(resolved.warnings)
    if resume is not None and resume_schedule is None:
        print_warnings(_schedule_warning(resolved))
    if explain is not None and not quiet:
        _explain(resolved, explain, host.catalogue())
    elif not quiet:
        found = None if other is None or diff is None else (_differences(resolved, other, host.catalogue()), str(diff))
        _print(resolved, problems, as_json, as_yaml, as_cli, found, which)
    print_problems(problems)
    if problems:
        raise typer.Exit(ConfigError.exit_code)


def _one_form(asked: dict[str, Any]) -> None:
    """Refuse two forms of output, except for differences as JSON."""
    forms = [flag for flag, value in asked.items() if value]
    if len(forms) > 1 and forms != ["--json", "--diff"]:
        raise ConfigError(f"{' and '.join(forms)} request different outputs.", hint="Give one of them.")


def _record(folder: Path) -> dict[str, Any]:
    """Read the record of an earlier run, without loading torch."""
    from ptycho_cli.training.run_record import read_record

    return read_record(folder)


def _schedule_warning(resolved: Resolved) -> list[str]:
    """Warn of changes after which `train` requires --resume-schedule; only `train` can compare the rates."""
    from ptycho_cli.config.earlier_run import SCHEDULE_KEYS

    differing = [item.key for item in resolved.decisions if item.differs_from_checkpoint]
    changed = [key for key in differing if key.startswith(SCHEDULE_KEYS)]
    if not changed:
        return []
    line = f"{', '.join(changed)} may change the learning rates: if so, `train` requires --resume-schedule"
    return [f"{line} checkpoint (keep the schedule of the run) or config (use the new settings)."]


def _differences(resolved: Resolved, record: dict[str, Any], catalogue: Catalogue) -> tuple[Difference, ...]:
    """Settings that differ from an earlier run."""
    from ptycho_cli.config.earlier_run import differences
    from ptycho_cli.config.serialize import record_to_config

    return differences(resolved, {**record, "config": record_to_config(record["config"], catalogue)})


def _print(
    resolved: Resolved,
    problems: tuple[Problem, ...],
    as_json: bool,
    as_yaml: bool,
    as_cli: bool,
    found: tuple[tuple[Difference, ...], str] | None,
    which: str,
) -> None:
    """Print the table, or one of the forms that resolve to the same settings again."""
    if as_json or as_yaml or as_cli:
        from ptycho_cli.config import serialize
    if as_json:
        report = serialize.report(resolved, problems)
        if found is not None:
            report["differences"] = [item.as_json() for item in found[0]]
        print_report(serialize.to_json_text(report))
    elif as_yaml:
        typer.echo(serialize.to_yaml(resolved, everything=which == "all"), nl=False)
    elif as_cli:
        typer.echo(serialize.to_command_line(resolved))
    elif found is not None:
        from ptycho_cli.render.settings_table import print_differences

        print_differences(*found)
    else:
        from ptycho_cli.render.settings_table import print_settings

        print_settings(resolved, which=which, problems=problems)  # type: ignore[arg-type]


def _explain(resolved: Resolved, name: str, catalogue: Catalogue) -> None:
    """Print meaning, origin and overridden values of a setting, or of every setting of a group."""
    from ptycho_cli.config.nearest import nearest
    from ptycho_cli.render.setting_description import describe
    from ptycho_cli.render.settings_table import provenance_lines

    found = [item for item in resolved.decisions if item.key == name or item.key.startswith(f"{name}.")]
    if not found:
        known = [item.key for item in resolved.decisions]
        near = nearest(name, known, n=3)
        hint = f"Did you mean {' or '.join(near)}?" if near else None
        raise ConfigError(f"there is no setting {name!r} here.", hint=hint)
    explanations = [
        "\n".join([*provenance_lines(item), "", *(f"  {line}" for line in describe(item.key, catalogue))])
        for item in found
    ]
    from ptycho_cli.render.console import print_folded, results_console

    print_folded(results_console(), *"\n\n".join(explanations).split("\n"))
