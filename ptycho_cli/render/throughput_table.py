"""Table of the throughput with one or two sets of settings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from ptycho_cli.render.console import results_console


def print_throughput(found: Mapping[str, Any]) -> None:
    """Print a column for each set of settings; values are ``throughput.Throughput``."""
    table = Table(box=None, pad_edge=False)
    first = next(iter(found.values()))
    table.add_column(f"measured on {first.device}")
    for title in found:
        table.add_column(title, justify="right")
    columns = list(found.values())

    def row(name: str, *values: str) -> None:
        table.add_row(name, *values)

    row("training step, ms", *(f"{each.step_ms:.1f}" for each in columns))
    for part in first.parts_ms:
        shares = ((each.parts_ms[part], 100 * each.parts_ms[part] / each.step_ms) for each in columns)
        row(f"  {part}", *(f"{spent:.1f} ({share:.0f} %)" for spent, share in shares))
    row("step over its FFTs alone", *(f"{each.times_fft:.1f}" for each in columns))
    row("frames/s in training", *(f"{each.train_frames_per_s:.0f}" for each in columns))
    row("frames/s in inference, no polish", *(f"{each.infer_frames_per_s:.0f}" for each in columns))
    row("frames/s read from a file", *(f"{each.read_frames_per_s:.0f}" for each in columns))
    row("peak memory, MiB", *(f"{each.peak_memory_mib:.0f}" for each in columns))
    results_console().print(table)
