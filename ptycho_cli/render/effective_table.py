"""Table of effective values: what was built, and where a requested value differs, that value and the reason."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ptycho_cli.config.values import unit_after
from ptycho_cli.render.console import results_console

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

_UNITS = {
    "batch_size": "groups",
    "accumulate_grad_batches": "batches",
    "effective_batch": "groups",
    "num_workers": "processes",
    "steps_per_epoch": "steps",
    "total_steps": "steps",
    "scheduler_lengths": "steps",
}


def print_effective(
    requested: Mapping[str, Any],
    effective: Mapping[str, Any],
    why: Mapping[str, str],
    *,
    console: Console | None = None,
) -> None:
    """Print the table of effective values; to standard output by default."""
    (console or results_console()).print(effective_table(requested, effective, why))


def effective_table(requested: Mapping[str, Any], effective: Mapping[str, Any], why: Mapping[str, str]) -> Table:
    """One row for each key that has a value; the requested value is shown only where it differs."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_edge=False, collapse_padding=True, header_style="bold")
    table.add_column("effective", no_wrap=True, style="cyan")
    for name in ("value", "requested", "why"):
        table.add_column(name, overflow="fold")
    for row in effective_rows(requested, effective, why):
        table.add_row(row["key"], row["value"], row["requested"], row["why"])
    return table


def effective_rows(
    requested: Mapping[str, Any], effective: Mapping[str, Any], why: Mapping[str, str]
) -> list[dict[str, str]]:
    """Rows as text: ``key``, ``value``, ``requested``, ``why``; the last two are empty where nothing differs."""
    rows = []
    for key, value in effective.items():
        if value is None or value == {}:
            continue
        request = requested.get(key)
        differs = key in why and request != value
        texts = (key, _show(value, _UNITS.get(key)), _show(request) if differs else "", why.get(key, ""))
        rows.append(dict(zip(("key", "value", "requested", "why"), texts, strict=True)))
    return rows


def _show(value: Any, unit: str | None = None) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_show(item, unit)}" for name, item in value.items())
    return (f"{value:.6g}" if isinstance(value, float) else str(value)) + unit_after(value, unit)
