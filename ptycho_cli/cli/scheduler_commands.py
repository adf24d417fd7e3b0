"""``ptycho schedulers``: which learning-rate schedulers there are, and the curve that one would follow."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.completion import offers, plugins
from ptycho_cli.cli.output import print_json, refuse_unwritable
from ptycho_cli.cli.typer_command import CommandGroup
from ptycho_cli.errors import ConfigError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from ptycho_cli.config.catalogue import EntryInfo
    from ptycho_cli.config.provenance import Decision, Resolved
    from ptycho_cli.extend.host import Host
    from ptycho_cli.extend.load import RegisteredEntry
    from ptycho_cli.extend.specs import Schedule, SchedulerEntry, Span

app = CommandGroup()

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
NoPlugin = Annotated[
    list[str] | None,
    typer.Option(
        "--no-plugin",
        metavar="NAME",
        help="Leave out a plugin before it is imported; repeatable.",
        show_default=False,
        autocompletion=plugins,
    ),
]


@app.command("list")
def list_schedulers(as_json: AsJson = False, no_plugin: NoPlugin = None) -> None:
    """List every scheduler, its options with their defaults, and who offers it."""
    host = _host(no_plugin)
    from ptycho_cli.render.plugin_tables import options_as_json, print_offers

    offers = host.catalogue().of("scheduler")
    if not as_json:
        print_offers(offers, "scheduler")
        return
    print_json([{**_identity(entry), "options": options_as_json(entry.options)} for entry in offers])


@app.command("show")
def show_scheduler(
    name: Annotated[
        str,
        typer.Argument(
            metavar="NAME",
            help="Scheduler, or distribution:name.",
            autocompletion=offers("scheduler"),
            show_default=False,
        ),
    ],
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Number of epochs.")] = 50,
    steps_per_epoch: Annotated[
        int,
        typer.Option(
            "--steps-per-epoch",
            min=1,
            help="Batches in an epoch; N accumulated batches make one optimizer step.",
        ),
    ] = 20,
    accumulate: Annotated[
        int,
        typer.Option("--accumulate-grad-batches", min=1, help="Batches accumulated for one optimizer step."),
    ] = 1,
    scheduler_option: Annotated[
        list[str] | None,
        typer.Option("--scheduler-option", metavar="KEY=VALUE", help="One option; repeatable.", show_default=False),
    ] = None,
    learning_rate: Annotated[
        float | None,
        typer.Option("--learning-rate", help="Base learning rate.", show_default=False),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Write the curve as PNG.", show_default=False)
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Overwrite that file.")] = False,
    as_json: AsJson = False,
    no_plugin: NoPlugin = None,
) -> None:
    """Show a scheduler's options and the learning rate at every optimizer step.

    Steps are counted from 0. A scheduler that monitors a loss is shown with a loss that never improves. Only the
    options of this command count; environment, presets and settings files are ignored.
    """
    if save is not None:
        refuse_unwritable(save, force=force)
    host = _host(no_plugin)
    resolved = _resolve(host, name, scheduler_option or [], learning_rate)
    chosen = resolved.config.scheduler
    from ptycho_cli.extend.learning_rates import span_of
    from ptycho_cli.extend.lengths import lengths_in_steps
    from ptycho_cli.extend.specs import SchedulerEntry

    found, span = host.find(SchedulerEntry, chosen.name), span_of(steps_per_epoch, epochs, accumulate)
    entry, (rates, schedule) = found.info, _rates(found, resolved, span)
    weights = None if schedule.loss_weight is None else [schedule.loss_weight(t) for t in range(span.total_steps)]
    if save is not None:
        from ptycho_cli.render.schedule_curve import save_curve_png

        save_curve_png(save, rates, steps_per_epoch=span.steps_per_epoch, loss_weights=weights, title=entry.name)
    lengths = lengths_in_steps(chosen.options, span)
    if as_json:
        print_json(_report(entry, resolved, span, lengths, schedule, rates, weights))
        return
    typed = [decision.key.rpartition(".")[2] for decision in resolved.decisions if _is_typed_option(decision)]
    _print_curve(entry, chosen.options, typed, span, lengths, schedule, rates, weights, steps_per_epoch)
    if save is not None:
        typer.echo(f"wrote {save}")


def _host(no_plugin: list[str] | None) -> Host:
    from ptycho_cli.extend.host import load_plugins
    from ptycho_cli.render.diagnostics import print_warnings

    host = load_plugins(no_plugin or ())
    print_warnings((*host.warnings, *host.catalogue().broken))
    return host


def _resolve(host: Host, name: str, options: list[str], learning_rate: float | None) -> Resolved:
    """Through the resolver, so that names, options and messages are those of ``ptycho train``."""
    from ptycho_cli.config.provenance import Layer, Setting, Source
    from ptycho_cli.config.resolve import resolve

    settings = [("scheduler.name", Setting(name, Source.COMMAND_LINE, "NAME"))]
    for text in options:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise ConfigError(f"--scheduler-option {text!r}: expected KEY=VALUE, such as gamma=0.9.")
        origin = f"--scheduler-option {text}"
        settings.append((f"scheduler.options.{key.strip()}", Setting(value, Source.COMMAND_LINE, origin)))
    if learning_rate is not None:
        rate = Setting(learning_rate, Source.COMMAND_LINE, "--learning-rate")
        settings.append(("optimizer.learning_rate", rate))
    return resolve([Layer(Source.COMMAND_LINE, tuple(settings))], host.catalogue())


def _is_typed_option(decision: Decision) -> bool:
    return decision.key.startswith("scheduler.options.") and decision.winner.source.name == "COMMAND_LINE"


def _rates(found: RegisteredEntry[SchedulerEntry], resolved: Resolved, span: Span) -> tuple[list[float], Schedule]:
    """The rate at every optimizer step, from the scheduler itself."""
    from ptycho_cli.assembly.schedule import build_schedule
    from ptycho_cli.extend.learning_rates import RunningSchedule, run_steps, small_optimizer

    config = resolved.config
    optimizer = small_optimizer([config.optimizer.learning_rate])
    schedule = build_schedule(found, config.scheduler.options, optimizer, span)
    rates = run_steps(RunningSchedule(optimizer, schedule), span, range(span.total_steps))
    return [row[0] for row in rates], schedule


def _identity(entry: EntryInfo) -> dict[str, Any]:
    return {
        "name": entry.name,
        "summary": entry.summary,
        "distribution": entry.distribution,
        "version": entry.version,
        "staged": entry.staged,
    }


def _report(
    entry: EntryInfo,
    resolved: Resolved,
    span: Span,
    lengths: dict[str, int | list[int]],
    schedule: Schedule,
    rates: list[float],
    weights: list[float] | None,
) -> dict[str, Any]:
    from ptycho_cli.config.values import jsonable

    return {
        **_identity(entry),
        "options": jsonable(resolved.config.scheduler.options),
        "option_steps": lengths,
        "base_learning_rate": resolved.config.optimizer.learning_rate,
        "total_steps": span.total_steps,
        "steps_per_epoch": span.steps_per_epoch,
        "epochs": span.epochs,
        "interval": schedule.interval,
        "monitor": schedule.monitor,
        "learning_rate": rates,
        "loss_weight": weights,
    }


def _print_curve(
    entry: EntryInfo,
    options: BaseModel,
    typed: list[str],
    span: Span,
    lengths: dict[str, int | list[int]],
    schedule: Schedule,
    rates: list[float],
    weights: list[float] | None,
    batches: int,
) -> None:
    from ptycho_cli.render.console import results_console
    from ptycho_cli.render.plugin_tables import print_options
    from ptycho_cli.render.schedule_curve import curve_lines

    console = results_console()
    width = min(100, console.width)
    console.print(f"{entry.name} ({entry.origin}): {entry.summary}\n")
    print_options(options, typed, lengths)
    per_epoch = f"{_count(span.steps_per_epoch, 'optimizer step')} from {_count(batches, 'batch', 'batches')}"
    typer.echo(f"\n{_count(span.total_steps, 'optimizer step')}: {_count(span.epochs, 'epoch')} of {per_epoch}.")
    typer.echo("\nlearning rate at each optimizer step")
    for line in curve_lines(rates, width=width):
        typer.echo(line)
    typer.echo(f"first step {rates[0]:.6g}, last step {rates[-1]:.6g}")
    if weights is not None:
        typer.echo("\nweight of the Poisson likelihood in the loss")
        for line in curve_lines(weights, width=width, height=7):
            typer.echo(line)
    if schedule.monitor is not None:
        typer.echo(f"Drawn for a {schedule.monitor} that does not improve after the first epoch.")


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"
