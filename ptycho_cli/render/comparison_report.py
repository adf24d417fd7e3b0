"""Reconstructions of one scan side by side: a table, a CSV file and a picture."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ptycho_cli.errors import OutputError
from ptycho_cli.render.console import results_console
from ptycho_cli.render.pictures import BLANK, PERCENTILES, covered_window, dress, flattening, save

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Mask = NDArray[np.bool_]
Complex = NDArray[np.complexfloating[Any, Any]]

_ACROSS = 4  # pictures beside each other
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
    """Print a table of reconstructions and what its columns are; columns that nobody has are left out."""
    from rich import box
    from rich.table import Table

    correlations = list(dict.fromkeys(key for row in rows for key in row if key.startswith(_CORRELATION)))
    columns = {key: column for key, column in _COLUMNS.items() if any(row.get(key) is not None for row in rows)}
    columns |= {key: (f"corr. {letter}", 3) for key, letter in zip(correlations, _LETTERS, strict=False)}
    table = Table(title=title, box=box.SIMPLE, title_justify="left", pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("", min_width=14)
    for heading, _ in columns.values():
        table.add_column(heading.replace(" ", "\n"), justify="right")
    for row in rows:
        cells = ("" if row.get(key) is None else f"{row[key]:.{digits}f}" for key, (_, digits) in columns.items())
        table.add_row("  + polish" if row.get("polish") else row["name"], *cells)
    console = results_console()
    console.print(table)
    for line in _legend(rows, columns, correlations):
        console.print(line, soft_wrap=True)


def _legend(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, Any], correlations: list[str]) -> Iterator[str]:
    polish = next((row["polish"] for row in rows if row.get("polish")), 0)
    if polish:
        yield f"+ polish: and {polish} iterations of the physics alone"
    yield "CPU s: one reconstruction, imports and reading apart"
    for row in rows:
        if row.get("beaten") and not row.get("polish"):
            judge = "complex SNR in dB" if row["name"].endswith("truth") else "deviance of held-out frames"
            yield f"{row['name']} is the first of these, by {judge} around the middle:"
            yield from (f"  {kind}" for kind in row["beaten"].split("; "))
    if "held_out_deviance" in columns:
        yield "R: R-factor; held out: deviance of frames that are left out, nats a pixel"
    if "half_frc_half_bit_nyquist" in columns:
        yield "halves FRC: half-bit cut of the ring correlation of two halves of the data"
    for key, letter in zip(correlations, _LETTERS, strict=False):
        yield f"corr. {letter}: phase correlation with {key.removeprefix(_CORRELATION)}"


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Write all figures, one reconstruction a row; the file appears whole or not at all.

    Raises:
        OutputError: If the file cannot be written.
    """
    names = list(dict.fromkeys(name for row in rows for name in row))
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with temporary.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, names)
            writer.writeheader()
            writer.writerows(rows)
        os.replace(temporary, path)
    except OSError as problem:
        raise OutputError(f"{path}: cannot be written ({problem.strerror}).") from None
    finally:
        temporary.unlink(missing_ok=True)


def save_comparison_png(
    path: str | PathLike[str],
    images: Mapping[str, Complex],
    area: Mask,
    *,
    pixel_m: float | None = None,
    title: str = "",
) -> None:
    """Draw amplitudes and phases beside each other, all over the same area and with the same colours.

    The colours' limits are the medians over the images of each one's percentiles, so that neither a noisy image nor a
    smooth one sets them for the others. One phase plane, that of the first image, is taken from all.

    Args:
        path: PNG file; an older one is replaced.
        images: Name -> aligned object, ``(y, x)``, all of one shape.
        area: Pixels that all of them cover.
        pixel_m: Size of an object pixel in metres; the scale bars are in pixels where it is unknown.
        title: Line above the pictures.

    Raises:
        OutputError: If the file cannot be written.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    window = covered_window(area)
    shown = area[window]
    turn = flattening(next(iter(images.values()))[window], shown)
    amplitudes = {name: np.abs(image[window]) for name, image in images.items()}
    phases = {name: np.angle(image[window] * turn) for name, image in images.items()}
    bands = -(-len(images) // _ACROSS)
    across = min(len(images), _ACROSS)
    aspect = float(np.clip(shown.shape[0] / shown.shape[1], 0.4, 2.5))
    figure = Figure(figsize=(3.6 * across + 0.9, 0.6 + bands * 2 * (3.5 * aspect + 0.45)), layout="constrained")
    figure.set_facecolor("white")
    FigureCanvasAgg(figure)
    grid = figure.subplots(2 * bands, across, squeeze=False)
    if title:
        figure.suptitle(title)
    for axes in grid.flat:
        axes.set_axis_off()
    for kind, (name, unit, values) in enumerate((("Amplitude", "", amplitudes), ("Phase", "rad", phases))):
        limits = _limits(list(values.values()), shown)
        for number, (label, image) in enumerate(values.items()):
            band, column = divmod(number, _ACROSS)
            axes = grid[2 * band + kind, column]
            _draw(axes, image, shown, limits, f"{name}: {label}", pixel_m)
        for band in range(bands):
            row = grid[2 * band + kind]
            bar = figure.colorbar(row[0].images[0], ax=list(row), shrink=0.8, pad=0.01, extend="both")
            bar.set_label(f"{name.lower()}, {unit}" if unit else name.lower())
    save(figure, Path(path))


def _limits(images: list[NDArray[np.float64]], shown: Mask) -> tuple[float, float]:
    if not shown.any():
        return 0.0, 1.0
    low, high = np.median([np.percentile(image[shown], PERCENTILES) for image in images], axis=0)
    return (float(low), float(high)) if high > low else (float(low) - 0.5, float(high) + 0.5)


def _draw(
    axes: Axes, image: NDArray[np.float64], shown: Mask, limits: tuple[float, float], name: str, pixel_m: float | None
) -> None:
    axes.set_axis_on()
    axes.set_facecolor(BLANK)
    masked = np.ma.masked_array(image, ~shown)
    axes.imshow(masked, cmap="gray", vmin=limits[0], vmax=limits[1], interpolation="nearest")
    dress(axes, name, image.shape[1], pixel_m)
    axes.set_title(name, fontsize=9)
