"""``ptycho tune``: read settings and search, run the trials, and write the best settings."""

from __future__ import annotations

import shlex
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Quiet
from ptycho_cli.cli.options import settings_options
from ptycho_cli.cli.output import print_json
from ptycho_cli.cli.typer_command import all_arguments
from ptycho_cli.errors import ConfigError, InterruptedRunError
from ptycho_cli.whole_file import replacing
from ptycho_tune.search_space import EXAMPLE, Searched, parse_searches, value_of, with_values

if TYPE_CHECKING:
    from optuna.trial import FrozenTrial

    from ptycho_cli.config.provenance import Resolved
    from ptycho_tune.study import Plan

_NOT_SAVED = ("data.paths", "training.output_dir")


@settings_options("train", without=("training.output_dir",))
def command(
    ctx: typer.Context,
    output: Annotated[
        Path,
        typer.Option("-o", "--output-dir", metavar="FOLDER", help="Folder of the study; one that exists is continued."),
    ],
    search: Annotated[
        list[str],
        typer.Option(
            "--search", metavar="KEY=RANGE", help="Setting to search: LOW..HIGH, LOW..HIGH:log, or A,B,C; repeatable."
        ),
    ],
    trials: Annotated[
        int, typer.Option("--trials", min=1, help="Finished trials of the study, those of earlier calls included.")
    ] = 20,
    minutes: Annotated[
        float | None, typer.Option("--time-limit", metavar="MINUTES", help="Begin no trial after this time.")
    ] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", min=1, help="Trials that are trained at the same time.")] = 1,
    no_pruning: Annotated[bool, typer.Option("--no-pruning", help="Train every trial to its end.")] = False,
    quiet: Quiet = False,
    as_json: AsJson = False,
    **settings: Any,
) -> None:
    """Search for the settings of a training that explain held-out frames best.

    Each trial is a training with other values of the searched settings, judged by val_loss, the deviance of frames that
    it does not train on. All other settings are given as for `ptycho train`. Type the same command again to continue,
    also at the same time in another terminal or on another machine.
    """
    plan = _plan(ctx, output, search, trials, minutes, pruning=not no_pruning)
    from ptycho_cli.render.console import messages_console, print_folded, print_text
    from ptycho_cli.render.live_display import LiveDisplay
    from ptycho_tune.study import open_study, run
    from ptycho_tune.workers import run_workers

    study = open_study(plan)
    try:
        with LiveDisplay(quiet=quiet or as_json) as display:

            def told(trial: FrozenTrial) -> None:
                display.result(trial_line(trial))

            if jobs > 1:
                run_workers(study, plan, all_arguments(ctx), jobs, told, display.progress)
            else:
                run(study, plan, told, display.progress)
    except InterruptedRunError:
        print_folded(messages_console(), "Stopped. Finished trials are kept; type the same command to continue.")
        raise typer.Exit(InterruptedRunError.exit_code) from None
    report = finished(study, plan)
    if as_json:
        print_json(report)
    else:
        for line in best_lines(report, plan):
            print_text(line)


def _plan(
    ctx: typer.Context, output: Path, search: list[str], trials: int, minutes: float | None, *, pruning: bool
) -> Plan:
    from ptycho_cli.cli.settings import read_settings
    from ptycho_tune.study import Plan

    if not search:
        raise ConfigError("--search: expected at least one setting to search.", hint=f"Try --search {EXAMPLE}.")
    found = read_settings(ctx, command="train")
    folder_of_run = "training.output_dir"  # each trial has its own
    problems = tuple(item for item in found.problems if item.key != folder_of_run)
    base, host = found._replace(problems=problems).accepted()
    if base.config.execution.devices > 1 or base.config.execution.num_nodes > 1:
        raise ConfigError("execution.devices: `ptycho tune` trains on one device.", hint="Leave out --devices.")
    searches: tuple[Searched, ...] = parse_searches(search, base, host.catalogue())
    return Plan(base, host, searches, output, trials, pruning, None if minutes is None else 60 * minutes)


def trial_line(trial: FrozenTrial) -> str:
    """One line on a trial that ended."""
    values = " ".join(f"{key}={_short(value)}" for key, value in trial.params.items())
    if trial.state.name == "FAIL":
        return f"trial {trial.number}  failed: {trial.user_attrs.get('error', 'interrupted')}  {values}"
    losses = trial.intermediate_values
    ended = f"pruned after epoch {len(losses)}" if trial.state.name == "PRUNED" else f"{len(losses)} epochs"
    return f"trial {trial.number}  val_loss {min(losses.values()):.5g}  {ended}  {values}"


def finished(study: Any, plan: Plan) -> dict[str, Any]:
    """The report on the study, after the best settings are written; ``best`` is None if no trial was completed."""
    from ptycho_tune.study import BEST

    trials = [_as_json(trial) for trial in study.trials]
    done = [trial for trial in trials if trial["state"] == "complete"]
    if not done:
        return {"study": str(plan.folder), "trials": trials, "best": None}
    best = min(done, key=lambda trial: trial["val_loss"])
    resolved = with_values(plan.base, plan.host.catalogue(), best["settings"], "ptycho tune")
    path = plan.folder / BEST
    with replacing(path) as temporary:  # another process may write it too
        temporary.write_text(_settings_file(resolved, best, len(done)), encoding="utf-8")
    return {"study": str(plan.folder), "trials": trials, "best": best, "settings_file": str(path)}


def _settings_file(resolved: Resolved, best: dict[str, Any], n_trials: int) -> str:
    """All settings that were decided, the best ones among them, for ``-c``."""
    from ptycho_cli.config.serialize import to_yaml

    kept = tuple(item for item in resolved.decisions if item.key not in _NOT_SAVED)
    about = f"# Trial {best['number']} of `ptycho tune`, the best of {n_trials}: val_loss {best['val_loss']:.6g}.\n"
    return about + to_yaml(replace(resolved, decisions=kept))


def _as_json(trial: FrozenTrial) -> dict[str, Any]:
    losses = list(trial.intermediate_values.values())
    return {
        "number": trial.number,
        "state": trial.state.name.lower(),
        "val_loss": min(losses) if losses else None,
        "epochs": len(losses),
        "settings": dict(trial.params),
    }


def best_lines(report: dict[str, Any], plan: Plan) -> list[str]:
    """What to print at the end."""
    best = report["best"]
    if best is None:
        return ["No trial was completed."]
    first = report["trials"][0]
    given = {item.key: value_of(plan.base, item.key) for item in plan.searches}
    beside = ""
    if first["number"] != best["number"] and first["settings"] == given and first["val_loss"] is not None:
        beside = f" (the settings as given: {first['val_loss']:.5g})"
    scans = shlex.join(plan.base.config.data.paths)
    return [
        f"best: trial {best['number']}, val_loss {best['val_loss']:.5g}{beside}",
        *(f"  {key} = {_short(value)}" for key, value in best["settings"].items()),
        f"Train with them: ptycho train {scans} -c {shlex.quote(report['settings_file'])} -o RUN",
    ]


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
