"""Table of reconstructions of one scan side by side, on the terminal and as a CSV file."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ptycho_cli.config.values import printable
from ptycho_cli.render.console import print_folded, results_console
from ptycho_cli.whole_file import new_output

# Key -> heading and digits, in the order of the table.
_COLUMNS = {
    "stages": ("stages", 0),
    "cpu_s": ("CPU s", 2),
    "r_factor": ("R", 3),
    "held_out_deviance": ("held out", 3),
    "half_frc_half_bit_nyquist": ("halves FRC", 2),
    "amplitude_ssim": ("SSIM ampl.", 3),
    "phase_ssim": ("SSIM phase", 3),
    "complex_snr_db": ("SNR dB", 1),
}
_CORRELATION = "phase_correlation "
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def print_comparison(rows: Sequence[Mapping[str, Any]], title: str) -> None:
    """Print a table of reconstructions and a legend; columns that are empty are left out."""
    from rich import box
    from rich.table import Table

    correlations = list(dict.fromkeys(key for row in rows for key in row if key.startswith(_CORRELATION)))
    columns = {key: column for key, column in _COLUMNS.items() if any(row.get(key) is not None for row in rows)}
    columns |= {key: (f"corr. {letter}", 3) for key, letter in zip(correlations, _LETTERS, strict=False)}
    table = Table(title=printable(title), box=box.SIMPLE, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", min_width=14)
    for heading, _ in columns.values():
        table.add_column(heading.replace(" ", "\n"), justify="right")
    for row in rows:
        cells = ("" if row.get(key) is None else f"{row[key]:.{digits}f}" for key, (_, digits) in columns.items())
        table.add_row("  + polish" if row.get("polish") else printable(row["name"]), *cells)
    console = results_console()
    console.print(table)
    print_folded(console, *_legend(rows, columns, correlations))


def _legend(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], correlations: list[str]) -> Iterator[str]:
    polish = next((row["polish"] for row in rows if row.get("polish")), 0)
    if polish:
        yield f"+ polish: followed by {polish} iterations of the physics alone"
    yield "CPU s: one reconstruction, without imports and reading"
    for row in rows:
        if row.get("ranking") and not row.get("polish"):
            criterion = "complex SNR in dB" if row["name"].endswith("truth") else "deviance of held-out frames"
            yield f"{row['name']}: the first of these, ranked by {criterion} around the middle of the scan:"
            yield from (f"  {kind}" for kind in row["ranking"].split("; "))
    if "held_out_deviance" in columns:
        yield "R: R-factor; held out: deviance of held-out frames, nats per pixel"
    if "half_frc_half_bit_nyquist" in columns:
        yield "halves FRC: half-bit cut of the Fourier ring correlation of two halves of the data, in units of Nyquist"
    for key, letter in zip(correlations, _LETTERS, strict=False):
        yield f"corr. {letter}: phase correlation with {key.removeprefix(_CORRELATION)}"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all scores, one row for each reconstruction; the file appears whole or not at all.

    Raises:
        OutputError: If the file cannot be written.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    with new_output(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(rows)
