"""``ptycho schedulers``: list the learning-rate schedulers, and show the curve of one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ptycho_cli.cli.common_options import AsJson, Force, NoPlugin, load_plugins_without
from ptycho_cli.cli.completion import offers
from ptycho_cli.cli.output import print_json, refuse_unwritable
from ptycho_cli.cli.typer_command import CommandGroup
from ptycho_cli.errors import ConfigError, PluginError, TrainingError
from ptycho_cli.render.console import print_text

if TYPE_CHECKING:
    from ptycho_cli.config.catalogue import EntryInfo
    from ptycho_cli.config.provenance import Resolved
    from ptycho_cli.extend.host import Host
    from ptycho_cli.extend.specs import Schedule, Span

app = CommandGroup()


@dataclass(frozen=True)
class _Curve:
    """A scheduler, its settings and its rates.

    Attributes:
        entry: The scheduler.
        resolved: Its options and the base rate.
        span: Length of the training.
        schedule: The schedule that it built.
        rates: Learning rate of the network at each optimizer step.
        weights: Weight of the Poisson likelihood in the loss at each step; None if the schedule has none.
    """

    entry: EntryInfo
    resolved: Resolved
    span: Span
    schedule: Schedule
    rates: list[float]
    weights: list[float] | None

    @property
    def lengths(self) -> dict[str, int | list[int]]:
        """Options that are lengths, in optimizer steps."""
        from ptycho_cli.extend.lengths import lengths_in_steps

        return lengths_in_steps(self.resolved.config.scheduler.options, self.span)


@app.command("list")
def list_schedulers(as_json: AsJson = False, no_plugin: NoPlugin = None) -> None:
    """List every scheduler, its options with their defaults, and the plugin that offers it."""
    entries = _load_plugins(no_plugin).catalogue().of("scheduler")
    from ptycho_cli.render.plugin_tables import options_as_json, print_offers

    if as_json:
        print_json([{**_identity(entry), "options": options_as_json(entry.options)} for entry in entries])
    else:
        print_offers(entries, "scheduler")


@app.command("show")
def show_scheduler(
    name: Annotated[
        str,
        typer.Argument(metavar="NAME", help="Scheduler, or distribution:name.", autocompletion=offers("scheduler")),
    ],
    epochs: Annotated[int, typer.Option("--epochs", min=1, help="Number of epochs.")] = 50,
    steps_per_epoch: Annotated[
        int,
        typer.Option(
            "--steps-per-epoch", min=1, help="Batches in an epoch; N accumulated batches make one optimizer step."
        ),
    ] = 20,
    accumulate: Annotated[
        int, typer.Option("--accumulate-grad-batches", min=1, help="Batches accumulated for one optimizer step.")
    ] = 1,
    scheduler_option: Annotated[
        list[str] | None,
        typer.Option("--scheduler-option", metavar="KEY=VALUE", help="Option of the scheduler; repeatable."),
    ] = None,
    learning_rate: Annotated[float | None, typer.Option("--learning-rate", help="Base learning rate.")] = None,
    save: Annotated[Path | None, typer.Option("--save", metavar="FILE", help="Write the curve as PNG.")] = None,
    force: Force = False,
    as_json: AsJson = False,
    no_plugin: NoPlugin = None,
) -> None:
    """Show a scheduler's options and the learning rate at every optimizer step.

    Steps are counted from 0. A scheduler that monitors a loss is shown with a loss that never improves. Only the
    options of this command count; environment, presets and settings files are ignored.
    """
    if save is not None:
        refuse_unwritable(save, force=force)
    host = _load_plugins(no_plugin)
    resolved = _resolve(host, name, scheduler_option or [], learning_rate)
    from ptycho_cli.extend.learning_rates import span_of

    curve = _curve(host, resolved, span_of(steps_per_epoch, epochs, accumulate))
    if save is not None:
        from ptycho_cli.render.schedule_curve import save_curve_png

        steps = curve.span.steps_per_epoch
        save_curve_png(save, curve.rates, steps_per_epoch=steps, loss_weights=curve.weights, title=curve.entry.name)
    if as_json:
        print_json(_report(curve))
        return
    _print_curve(curve, batches=steps_per_epoch)
    if save is not None:
        print_text(f"wrote {save}")


def _load_plugins(no_plugin: list[str] | None) -> Host:
    from ptycho_cli.render.diagnostics import print_warnings

    host = load_plugins_without(no_plugin)
    print_warnings(host.catalogue().broken)
    return host


def _resolve(host: Host, name: str, options: list[str], learning_rate: float | None) -> Resolved:
    """Resolve the options as ``ptycho train`` does, with the same names and messages."""
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


def _curve(host: Host, resolved: Resolved, span: Span) -> _Curve:
    """Build the schedule, and run it over all optimizer steps."""
    from ptycho_cli.assembly.schedule import optimizer_rates
    from ptycho_cli.extend.specs import SchedulerEntry
    from ptycho_cli.training.predicted_rates import predict

    config = resolved.config
    found = host.find(SchedulerEntry, config.scheduler.name)
    bases = optimizer_rates(config.optimizer, refine_probe=config.physics.refine_probe)
    try:
        schedule, rates, weights = predict(found, config.scheduler.options, bases, span, span.total_steps)
    except TrainingError as error:
        raise PluginError(error.message, hint="Choose another scheduler, or report it to its author.") from error
    kept = None if schedule.loss_weight is None else [weight for weight in weights if weight is not None]
    return _Curve(found.info, resolved, span, schedule, [row[0] for row in rates], kept)


def _identity(entry: EntryInfo) -> dict[str, Any]:
    return {
        "name": entry.name,
        "summary": entry.summary,
        "distribution": entry.distribution,
        "version": entry.version,
        "staged": entry.staged,
    }


def _report(curve: _Curve) -> dict[str, Any]:
    from ptycho_cli.config.values import jsonable

    return {
        **_identity(curve.entry),
        "options": jsonable(curve.resolved.config.scheduler.options),
        "option_steps": curve.lengths,
        "base_learning_rate": curve.resolved.config.optimizer.learning_rate,
        "total_steps": curve.span.total_steps,
        "steps_per_epoch": curve.span.steps_per_epoch,
        "epochs": curve.span.epochs,
        "interval": curve.schedule.interval,
        "monitor": curve.schedule.monitor,
        "learning_rate": curve.rates,
        "loss_weight": curve.weights,
    }


def _print_curve(curve: _Curve, *, batches: int) -> None:
    """Print options and curves; ``batches`` is the number of batches in an epoch."""
    from ptycho_cli.config.provenance import Source
    from ptycho_cli.render.console import results_console
    from ptycho_cli.render.plugin_tables import print_options
    from ptycho_cli.render.schedule_curve import curve_lines

    console, entry, span = results_console(), curve.entry, curve.span
    width = min(100, console.width)
    console.print(f"{entry.name} ({entry.origin}): {entry.summary}\n")
    options = [item for item in curve.resolved.decisions if item.key.startswith("scheduler.options.")]
    given = [item.key.rpartition(".")[2] for item in options if item.winner.source is Source.COMMAND_LINE]
    print_options(curve.resolved.config.scheduler.options, given, curve.lengths)
    per_epoch = f"{_count(span.steps_per_epoch, 'optimizer step')} from {_count(batches, 'batch', 'batches')}"
    print_text("", f"{_count(span.total_steps, 'optimizer step')}: {_count(span.epochs, 'epoch')} of {per_epoch}.")
    print_text("", "learning rate at each optimizer step")
    for line in curve_lines(curve.rates, width=width):
        print_text(line)
    print_text(f"first step {curve.rates[0]:.6g}, last step {curve.rates[-1]:.6g}")
    if curve.weights is not None:
        print_text("", "weight of the Poisson likelihood in the loss")
        for line in curve_lines(curve.weights, width=width, height=7):
            print_text(line)
    if curve.schedule.monitor is not None:
        print_text(f"Drawn for a {curve.schedule.monitor} that does not improve after the first epoch.")


def _count(number: int, one: str, more: str = "") -> str:
    return f"{number} {one if number == 1 else more or one + 's'}"
