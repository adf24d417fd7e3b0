"""The table of settings: value, where it is from, and the values that it overrides."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Literal, TextIO

from ptycho_cli.config.keys import keys
from ptycho_cli.config.provenance import Decision, Problem, Resolved, Setting
from ptycho_cli.config.values import printable, show, unit_after
from ptycho_cli.render.console import results_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from ptycho_cli.config.earlier_run import Difference

_MIN_TABLE_WIDTH = 72  # columns
Show = Literal["decided", "overridden", "all", "none"]


def print_settings(
    resolved: Resolved,
    *,
    which: Show = "decided",
    problems: Iterable[Problem] = (),
    file: TextIO | None = None,
    training: bool = True,
) -> None:
    """Print the table of settings.

    Args:
        resolved: Settings and their provenance.
        which: ``decided``: those that somebody set. ``overridden``: those that override more than the default.
            ``all``: every key. ``none``: no table.
        problems: Their keys are marked.
        file: Destination; standard output by default. Colour only where it is a terminal.
        training: Whether the settings are for a training; then the effective batch is printed below.
    """
    if which == "none":
        return
    console = results_console(file)
    rows = select(resolved, which)
    bad = {(problem.key, problem.origin) for problem in problems}
    wrong, shown = {key for key, _ in bad}, {decision.key for decision in rows}
    rows = [item for item in resolved.decisions if item.key in wrong | shown]
    if rows and console.width >= _MIN_TABLE_WIDTH:
        console.print(settings_table(rows, bad))
    elif rows:
        _print_narrow(console, rows, bad)
    if training:
        console.print(effective_batch(resolved))
    _print_footer(console, resolved, len(rows), which)


def select(resolved: Resolved, which: Show) -> list[Decision]:
    """Choose the decisions that a table shows."""
    if which == "all":
        return list(resolved.decisions)
    if which == "overridden":
        return [decision for decision in resolved.decisions if len(decision.overridden) > 1]
    return [decision for decision in resolved.decisions if decision.is_decided]


def settings_table(decisions: Sequence[Decision], bad: set[tuple[str, str]]) -> Table:
    """One row for each setting and, below it, one for each value that it overrides, strongest first.

    Args:
        decisions: Settings to show.
        bad: Key and origin of each value that was refused, which is marked.
    """
    from rich.text import Text

    table = _new_table(decision.key for decision in decisions)
    for decision in decisions:
        for setting in (decision.winner, *decision.overridden):
            wins = setting is decision.winner
            name = Text(decision.key, "cyan") if wins else Text("  overrides", "dim")
            table.add_row(name, *_cells(decision, setting, bad))
    return table


def _cells(decision: Decision, setting: Setting, bad: set[tuple[str, str]]) -> tuple[Text, Text]:
    """A value with its unit, and its origin."""
    from rich.text import Text

    wins, refused = setting is decision.winner, (decision.key, setting.origin) in bad
    style = "bold red" if refused else "" if wins else "dim"
    value = Text.assemble(
        (show(setting.value), style or "bold"),
        (_unit(decision.key, setting.value), "" if wins else "dim"),
        (" (refused)" if refused else "", style),
    )
    return value, Text(printable(setting.origin) + (" (fixed)" if setting is decision.fixed_by else ""), style)


def _print_narrow(console: Console, decisions: Sequence[Decision], bad: set[tuple[str, str]]) -> None:
    """Print the settings without columns, for terminals too narrow for the table."""
    from rich.text import Text

    for decision in decisions:
        value, origin = _cells(decision, decision.winner, bad)
        console.print(Text.assemble((decision.key, "cyan"), " = ", value), overflow="fold")
        console.print(Text.assemble("  from ", origin), overflow="fold")
        for weaker in decision.overridden:
            value, origin = _cells(decision, weaker, bad)
            console.print(Text.assemble(("  overrides ", "dim"), value, (" from ", "dim"), origin), overflow="fold")


def _new_table(names: Iterable[str]) -> Table:
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, header_style="bold")
    longest = max(map(len, names), default=0)  # not folded, unless it takes more than half of the width
    table.add_column("setting", overflow="fold", min_width=min(longest, _MIN_TABLE_WIDTH // 2))
    table.add_column("value", overflow="fold")
    table.add_column("from", overflow="fold")
    return table


def with_unit(key: str, value: Any) -> str:
    """Format a value with its unit."""
    return show(value) + _unit(key, value)


def _unit(name: str, value: Any) -> str:
    """Text that follows a value of a setting: its unit."""
    key = keys().get(name)
    return "" if key is None else unit_after(value, key.unit)


def _print_footer(console: Console, resolved: Resolved, n_rows: int, which: Show) -> None:
    """Print what an earlier run fixes, what differs from it, and how many settings the table leaves out."""
    if (line := _checkpoint_line(resolved)) is not None:
        console.print(line)
    rest = len(resolved.decisions) - n_rows
    if rest and which == "decided":
        start = "All" if not n_rows else "The other"
        console.print(f"{start} {rest} settings are defaults; --show all lists them.", style="dim")


def _checkpoint_line(resolved: Resolved) -> str | None:
    """Number of settings that the checkpoint fixes, and names of those that differ from it; None without one."""
    known = [item.checkpoint for item in resolved.decisions if item.checkpoint is not None]
    if not known:
        return None
    fixed = sum(item.fixed for item in resolved.decisions)
    changed = [item.key for item in resolved.decisions if item.differs_from_checkpoint]
    words = f"{len(changed)} of the others {'is' if len(changed) == 1 else 'are'} changed: {', '.join(changed)}"
    rest = words if changed else "the others are unchanged"
    return printable(f"{known[0].origin} fixes {fixed} setting{'s' * (fixed != 1)}; {rest}.")


def effective_batch(resolved: Resolved) -> str:
    """Sentence with the number of groups in an optimizer step."""
    training, execution = resolved.config.training, resolved.config.execution
    devices = execution.devices * execution.num_nodes
    factors = f"{training.batch_size} x {training.accumulate_grad_batches} accumulated"
    factors += f" x {devices} devices" if devices > 1 else ""
    total = training.batch_size * training.accumulate_grad_batches * devices
    return f"One optimizer step sees {total} group{'s' if total != 1 else ''} ({factors})."


def provenance_lines(decision: Decision) -> list[str]:
    """Value and origin of one setting, and the values that it overrides, in lines."""
    winner = decision.winner
    fixed = " (fixed)" if winner is decision.fixed_by else ""
    lines = [f"{decision.key} = {with_unit(decision.key, winner.value)}", f"  from {winner.origin}{fixed}"]
    return lines + [
        f"  overrides {with_unit(decision.key, weaker.value)} from {weaker.origin}" for weaker in decision.overridden
    ]


def print_differences(found: Sequence[Difference], other: str) -> None:
    """Print each setting that differs between these settings and another run, with both values."""
    from rich.text import Text

    console = results_console()
    if not found:
        console.print(printable(f"All settings equal those of {other}."))
        return
    table = _new_table(item.key for item in found)
    for item in found:
        for label, side, style in ((item.key, item.here, "cyan"), (f"  {printable(other)}", item.there, "dim")):
            value = Text("not set" if side is None else with_unit(item.key, side.value), "bold" * (style == "cyan"))
            origin = Text("" if side is None else printable(side.origin))
            if console.width >= _MIN_TABLE_WIDTH:
                table.add_row(Text(label, style), value, origin)
            else:
                place = Text.assemble(" from ", origin) if origin else origin
                console.print(Text.assemble((label, style), " = ", value, place), overflow="fold")
    if table.rows:
        console.print(table)
    n = len(found)
    console.print(
        printable(
            f"{n} setting{' differs' if n == 1 else 's differ'} from {other}; the line below each shows its value."
        )
    )
